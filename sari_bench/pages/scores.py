"""What the parts of the page ask of a board's entries alike."""

from __future__ import annotations

from collections.abc import Mapping

from sari_bench.leaderboard import Board, Entry
from sari_bench.scoring import Score


def all_scores(board: Board, entry: Entry) -> dict[str, Score]:
    """Return an entry's scores by scorer, the board's own first."""
    given: Mapping[str, Score] = getattr(entry, "scores", None) or {}
    return {board.scorer: entry.score, **{name: score for name, score in given.items() if name != board.scorer}}


def scorer_names(board: Board) -> list[str]:
    """Return the scorers of a board, its own first, the others in the order in which they were asked for."""
    return list(dict.fromkeys(name for entry in board.entries for name in all_scores(board, entry)))
