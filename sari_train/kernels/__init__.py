"""Numerical kernels in plain PyTorch and their eager references."""
