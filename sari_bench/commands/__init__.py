"""The commands of ``sari-bench``, one a file; ``sari_bench.cli`` puts them together."""
