"""Corpus sources, one a file. A source yields questions and clips; what it knows to be true it writes itself."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sari_data.errors import InputError
from sari_data.sources.base import Source

_MODULES = {
    "audiomcq": "sari_data.sources.audiomcq",
    "scenes": "sari_data.sources.scenes",
    "table": "sari_data.sources.table",
}


def source_names() -> list[str]:
    """Return the names that ``build.source`` may take."""
    return sorted(_MODULES)


def load_source(name: str) -> Source:
    """Import the source called ``name``.

    Raises:
        InputError: No source has that name.
    """
    if name not in _MODULES:
        raise InputError(f"source {name!r} is unknown; expected one of {source_names()}")
    module: Any = import_module(_MODULES[name])
    return module
