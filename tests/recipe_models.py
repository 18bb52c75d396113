"""Which model validates each table of a recipe, for the tests of recipes and of the recipes in the guides."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

# Table to its model, as module:class.
MODELS = {
    "build": "sari_data.build:Build",
    "annotate": "sari_data.annotate:Annotate",
    "dedup": "sari_data.dedup:Dedup",
    "calibrate": "sari_data.calibrate:Calibrate",
    "tiny": "sari_train.tiny_base:Tiny",
    "sft": "sari_train.config:Sft",
    "grpo": "sari_train.config:Grpo",
    "bench": "sari_bench.config:Bench",
}


@cache
def model_of(table: str) -> Any:
    """Return a table's model."""
    module, _, name = MODELS[table].partition(":")
    return getattr(import_module(module), name)
