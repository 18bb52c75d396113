"""Build multiple-choice audio corpora: what a question is, how it is asked, read and graded."""
