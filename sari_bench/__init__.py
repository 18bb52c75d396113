"""Measure audio-language models: benchmarks, runs, scores, reports and leaderboards."""
