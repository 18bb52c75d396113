"""Audio-language architectures, one a file, and the embedded default."""
