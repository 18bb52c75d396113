"""Corpus sources, one a file. A source yields questions; what it knows to be true it writes itself."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, Protocol

from sari_data.config import Table
from sari_data.errors import InputError
from sari_data.types import AudioQuestion

_MODULES = {"scenes": "sari_data.sources.scenes"}


class Source(Protocol):
    """What a source module offers: ``Options`` (its recipe table) and ``generate``."""

    Options: type[Table]

    def generate(self, options: Any, seed: int) -> Iterator[AudioQuestion]:
        """Yield questions, the same ones for the same options and seed."""
        ...


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
