"""Does one run beat another: paired differences, their tables, and transcripts that show them."""
