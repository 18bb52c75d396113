"""Corpus sources, one a file."""
