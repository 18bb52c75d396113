"""Scorers, one a file, by name; a package may register others under the entry-point group ``sari.scorers``.

A scorer is a class without arguments that follows :class:`sari_bench.scorers.base.Scorer`. ``judge`` alone needs
something besides the answer: verdicts that were stored (:mod:`sari_bench.scorers.judge`).
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from sari_bench.scorers.answer import AnswerScorer
from sari_bench.scorers.base import Scorer
from sari_bench.scorers.letter import LetterScorer
from sari_bench.scorers.official import OfficialScorer
from sari_data.errors import InputError, PluginError

if TYPE_CHECKING:
    from pathlib import Path

GROUP = "sari.scorers"
JUDGE = "judge"
JUDGE_FOLDER = "judge"  # below a run folder

SCORERS: dict[str, Scorer] = {scorer.name: scorer for scorer in (AnswerScorer(), OfficialScorer(), LetterScorer())}


def scorer_names() -> list[str]:
    """Return every scorer's name: the built-in ones in their order, ``judge``, then those of plugins."""
    own = [*SCORERS, JUDGE]
    return own + sorted({entry.name for entry in entry_points(group=GROUP)} - set(own))


def load_scorer(name: str, store: Path | None = None) -> Scorer:
    """Return a scorer by name.

    Args:
        name: One of :func:`scorer_names`.
        store: Folder with a judge's stored verdicts; only ``judge`` needs it.

    Raises:
        InputError: The name is unknown, or ``judge`` has no stored verdicts, or those of several judges.
        PluginError: The package that registers it fails to load.
    """
    if name in SCORERS:
        return SCORERS[name]
    if name == JUDGE:
        from sari_bench.scorers.judge import stored_judge

        return stored_judge(store)
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        raise InputError(f"scorer {name!r} is unknown; expected one of {scorer_names()}")
    try:
        scorer: Scorer = found[name].load()()
    except Exception as error:
        raise PluginError(
            f"scorer {name!r} ({found[name].value}) fails to load: {type(error).__name__}: {error}: "
            "repair or uninstall the package that registers it"
        ) from error
    return scorer
