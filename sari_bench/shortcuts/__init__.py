"""How much of a benchmark's score needs no listening: rules without a model, and a model that hears something else.

``audio gain`` is accuracy with the own audio minus accuracy without it (or with other audio, or with silence), paired
on the same questions. Everything is kept beside the run, in ``shortcuts/``: a run folder for each variant and
``shortcuts.json`` with the results.
"""

from sari_bench.shortcuts.results import Row, Shortcuts, read_shortcuts

__all__ = ["Row", "Shortcuts", "read_shortcuts"]
