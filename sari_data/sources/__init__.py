"""Corpus sources, one a file. A source yields questions and clips; what it knows to be true it writes itself."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from sari_data.errors import InputError
from sari_data.sources.base import About, Source

_MODULES = {
    "audiomcq": "sari_data.sources.audiomcq",
    "audioset": "sari_data.sources.audioset",
    "avqa": "sari_data.sources.avqa",
    "meld": "sari_data.sources.meld",
    "musicbench": "sari_data.sources.musicbench",
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


def about_source(name: str) -> About:
    """Return what the source called ``name`` says of itself."""
    return load_source(name).ABOUT


def dataset_facts(dataset: str) -> dict[str, Any]:
    """Return what a data set's source says of it, for the manifest; empty where no source goes by that name.

    Args:
        dataset: As in a question's provenance: a source's name or title in any case; a part after ``/`` or ``:`` names
            a subset and does not count.
    """
    name = re.split(r"[/:]", dataset.lower(), maxsplit=1)[0]
    found = [about for about in map(about_source, _MODULES) if name in (about.name.lower(), about.title.lower())]
    # A table of somebody's own says nothing of the data set that it is.
    if not found or name == "table":
        return {}
    about = found[0]
    return {
        "title": about.title,
        "annotation_licence": about.licence,
        "audio_licence": about.audio_licence,
        "share_audio": about.share_audio,
        "homepage": about.homepage,
        "paper": about.paper,
    }
