"""Losses: pure functions, tensors in, loss and metrics out."""
