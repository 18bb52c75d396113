"""Running one of our own functions as a module's forward pass, so that whoever hooks into the module takes part."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from torch import nn

from sari_train.kernels.prepacked import has_hooks

T = TypeVar("T")
# Set on a module whose weights are there already: its hooks have nothing to do.
WHOLE = "sari_whole"


def within(module: nn.Module, function: Callable[..., T], *args: Any, **options: Any) -> T:
    """Return ``function(module, *args, **options)``, run inside the module's call where the module has hooks.

    FSDP2 gathers a module's weights before its forward pass, and shards them and their gradients afterwards, through
    hooks of the module's call. For one thread: the module's ``forward`` is replaced meanwhile.
    """
    if not has_hooks(module) or getattr(module, WHOLE, False):
        return function(module, *args, **options)
    if "forward" in vars(module):  # called from inside itself
        return function(module, *args, **options)
    module.forward = partial(function, module)
    try:
        found: T = module(*args, **options)
        return found
    finally:
        del module.forward
