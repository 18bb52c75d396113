"""Counts, intervals, tests and votes: pure functions over outcomes."""
