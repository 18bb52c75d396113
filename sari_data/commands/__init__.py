"""The commands of ``sari-data``, one a file; ``sari_data.cli`` puts them together."""
