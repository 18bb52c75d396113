"""The questions on which scorers disagree, of every run on a board."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from sari_bench.counting import counted
from sari_bench.disagreements import Disagreement, disagreements
from sari_bench.reporting.board_tables import TextTable
from sari_bench.reporting.leaderboard import Board, Entry
from sari_data.console import json_text

_SHOWN = 60  # characters of a question and of an answer in a table; files hold them whole


@dataclass(frozen=True, slots=True)
class Disagreeing:
    """What scorers disagree on in one run."""

    entry: Entry
    found: tuple[Disagreement, ...]


def disagreeing(board: Board) -> list[Disagreeing]:
    """Return, for each run of a board, every answer that its scorers judge differently; nothing with one scorer."""
    if len(board.scorers) < 2:
        return []
    return [Disagreeing(entry, tuple(disagreements(entry.scores))) for entry in board.entries]


def disagreement_table(board: Board, lists: Sequence[Disagreeing], most: int | None = None) -> TextTable | None:
    """Return them as a table, at most ``most`` of each run (``None``: all); ``None`` where there are none."""
    rows: list[list[str]] = []
    shown = 0
    for one in lists:
        ranked = _ranked(one.found)[:most]
        shown += len(ranked)
        rows += [[one.entry.run.name, *[""] * (len(board.scorers) + 2)]] if ranked else []
        rows += [
            [
                f"  {item.gold.id}",
                *(item.outcomes[name] for name in board.scorers),
                _cut(item.gold.answer or ""),
                _cut(item.answer.text or ""),
            ]
            for item in ranked
        ]
    if not rows:
        return None
    total = sum(len(one.found) for one in lists)
    about = sum(item.about_right for one in lists for item in one.found)
    title = (
        f"{board.title}: {counted(total, 'answer')} that {_listed(board.scorers)} judge differently, {about:,} of them "
        "on whether they are right"
    )
    note = (f"{total - shown:,} more are in the file of --disagreements or --markdown",) if shown < total else ()
    return TextTable(title, ["question", *board.scorers, "right answer", "what was said"], rows, note)


def disagreement_lines(boards: Iterable[tuple[Board, Sequence[Disagreeing]]]) -> str:
    """Return every one of them as JSON, one a line, with the full texts."""
    rows = [
        {"run": one.entry.run.name, "benchmark": board.benchmark, "version": board.version, **item.to_json()}
        for board, lists in boards
        for one in lists
        for item in one.found
    ]
    return "".join(json_text(row) + "\n" for row in rows)


def _ranked(found: Sequence[Disagreement]) -> list[Disagreement]:
    """Sort for the few that are shown.

    First whether an answer is right, which matters more than why a wrong one is; of these the rarest dispute between
    two scorers first: a scorer that disagrees everywhere, such as ``letter``, does not bury what the others dispute.
    """
    disputes = [
        [
            (a, b)
            for a, b in combinations(one.outcomes, 2)
            if (one.outcomes[a] == "correct") != (one.outcomes[b] == "correct")
        ]
        for one in found
    ]
    often = Counter(pair for pairs in disputes for pair in pairs)
    rarest = [min((often[pair] for pair in pairs), default=len(found)) for pairs in disputes]
    order = sorted(range(len(found)), key=lambda place: (not found[place].about_right, rarest[place]))
    return [found[place] for place in order]


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _cut(text: str) -> str:
    """The end of a text in one line: where a model that thinks says its answer. Control characters are replaced."""
    line = " ".join(text.split())
    end = line[-_SHOWN:]
    if not end.isprintable():
        end = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in end)
    return end if len(line) <= _SHOWN else f"…{end}"
