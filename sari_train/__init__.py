"""Train audio-language models: supervised fine-tuning and group relative policy optimisation."""
