"""``sari-data sources``: what a corpus can be built from."""

from __future__ import annotations

from sari_data.commands.arguments import JsonOption
from sari_data.console import print_json, say


def sources(as_json: JsonOption = False) -> None:
    """List the sources that a corpus can be built from."""
    from sari_data.sources import load_source, source_names

    about = {name: (load_source(name).__doc__ or "").strip().split("\n")[0] for name in source_names()}
    if as_json:
        print_json({"sources": [{"name": name, "about": text} for name, text in about.items()]})
        return
    for name, text in about.items():
        say(f"{name}  {text}")
