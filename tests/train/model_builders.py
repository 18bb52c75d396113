"""Small models of the published architectures with random weights, and their processors from real classes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor


def stay_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no tensor in float64 go through float32: transformers' norms and routers do, which hides errors of 1e-8."""
    to, softmax = Tensor.to, torch.nn.functional.softmax

    def kept(self: Tensor, *args: Any, **options: Any) -> Tensor:
        narrows = self.dtype == torch.float64 and torch.float32 in args
        return self if narrows else to(self, *args, **options)

    def wide(x: Tensor, *args: Any, **options: Any) -> Tensor:
        if x.dtype == torch.float64:
            options.pop("dtype", None)
        return softmax(x, *args, **options)

    monkeypatch.setattr(Tensor, "to", kept)
    monkeypatch.setattr(torch.nn.functional, "softmax", wide)
