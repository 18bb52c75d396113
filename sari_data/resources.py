"""Where the files that ship with sari are: ``templates/`` and ``recipes/``.

A wheel carries them inside ``sari_data/_resources``; a checkout has them at its top.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


@cache  # the reader of responses asks for each of them
def _resource(name: str) -> Path:
    installed = _PACKAGE / "_resources" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


def templates_dir() -> Path:
    """Return the folder with all text that a model or a reader sees."""
    return _resource("templates")


def recipes_dir() -> Path:
    """Return the folder with the recipes that ship with sari."""
    return _resource("recipes")


def cache_folder() -> Path:
    """Return where answers, fingerprints and unpacked archives are kept: ``$SARI_CACHE``, else ``~/.cache/sari``."""
    return Path(os.environ.get("SARI_CACHE") or Path.home() / ".cache" / "sari")
