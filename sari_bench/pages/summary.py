"""What a board comes to: a sentence or two for each question that a reader brings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sari_bench.comparing.compare import Comparison, compare_scores
from sari_bench.reporting.leaderboard import Board, Entry
from sari_bench.reporting.report import cell, interval_cell
from sari_bench.scoring import Score
from sari_bench.shortcuts import Shortcuts
from sari_bench.shortcuts.results import WITHOUT
from sari_bench.statistics.metrics import Tally
from sari_bench.thoughts.diagnostics import Diagnostics
from sari_bench.thoughts.swapping import CAPTION

_DEAF = 0.1  # share of the answers in which a scorer finds a choice, below which it says little of the model


def summary(
    board: Board,
    gains: Sequence[Comparison],
    diagnosed: Sequence[Diagnostics],
    shortcuts: Sequence[Shortcuts | None],
) -> list[dict[str, Any]]:
    """Return the questions, their answers, and the part of the page that shows more.

    Args:
        board: The runs, best first.
        gains: What each run gains over the last one, in the board's order.
        diagnosed: What is known of each run's thoughts, in the board's order.
        shortcuts: What each run gets without listening, where that was measured, in the board's order.
    """
    found = [
        ("Who is best?", "table", _best(board, gains)),
        ("Where is it right?", "heat", [] if _silent(board.entries[0]) else _where(board.entries[0])),
        ("By which scorer?", "figures", [] if _silent(board.entries[0]) else _scorers(board, gains)),
        ("Does it listen?", "shortcuts" if any(shortcuts) else "", _listens(board, shortcuts)),
        ("Does it use its thoughts?", "thoughts" if _thinking(diagnosed) else "", _thinks(board, diagnosed)),
        ("Was it trained on them?", "" if board.clean is None else "clean", _trained(board)),
    ]
    return [{"asks": asks, "to": to, "says": says} for asks, to, says in found if says]


def _best(board: Board, gains: Sequence[Comparison]) -> list[str]:
    best, *others = board.entries
    overall = best.score.overall
    if all(_silent(entry) for entry in board.entries):
        return ["No run has any answer."]
    said = [f"{best.run.name}: {_share(overall)}, {overall.correct:,} of {overall.n:,} answers, scorer {board.scorer}."]
    if len(others) > 1:
        second = others[0]
        found = compare_scores(second.run.name, second.score, best.run.name, best.score)
        said.append(f"Against the next one: {found.sentence}.")
    if gains:
        said.append(f"Against the last one: {gains[0].sentence}.")
    averages = [row.average for row in board.published if row.average is not None]
    if averages and overall.accuracy is not None:
        above = sum(average > overall.accuracy * 100 for average in averages)
        said.append(f"{above} of {len(averages)} published rows have a higher average; whether by chance is not known.")
    return said


def _silent(entry: Entry) -> bool:
    """Whether a run has no answer at all."""
    return entry.score.honest.outcomes["missing"] == entry.score.honest.n


def _where(best: Entry) -> list[str]:
    """The best and the worst task of a run; which other groups stand out, a table with intervals says better."""
    tasks = [(name, part) for name, part in best.score.by.get("task", {}).items() if part.accuracy is not None]
    if len(tasks) < 2:
        return []
    tasks.sort(key=lambda pair: -(pair[1].accuracy or 0.0))
    (high, most), (low, least) = tasks[0], tasks[-1]
    if most.accuracy == least.accuracy:
        return [f"{best.run.name}: {_share(most)} in every task."]
    return [f"{best.run.name}: most in {high}, {_share(most)}; least in {low}, {_share(least)}."]


def _scorers(board: Board, gains: Sequence[Comparison]) -> list[str]:
    if len(board.scorers) < 2:
        return []
    best = board.entries[0]
    figures = ", ".join(f"{cell(best.scores[name].overall.accuracy)} % by {name}" for name in board.scorers)
    said = [f"{best.run.name}: {figures}."]
    for name in board.scorers[1:]:
        if all(_reads(entry.scores[name]) < _DEAF for entry in board.entries if not _silent(entry)):
            said.append(f"{name} finds a choice in hardly any answer, so it says nothing of these models.")
            continue
        ranked = sorted(board.entries, key=lambda entry: -(entry.scores[name].overall.accuracy or 0.0))
        if ranked[0].scores[name].overall.accuracy != best.scores[name].overall.accuracy:
            said.append(f"By {name} {ranked[0].run.name} is first.")
        if gains:
            found = compare_scores(gains[0].a, board.entries[-1].scores[name], gains[0].b, best.scores[name])
            if found.verdict != gains[0].verdict:
                said.append(f"By {name} the verdict is another: {found.sentence}.")
    return said


def _reads(score: Score) -> float:
    """The share of the answers that are there in which a scorer finds a choice."""
    return 1 - score.honest.unread / (score.honest.n - score.honest.outcomes["missing"])


def _listens(board: Board, shortcuts: Sequence[Shortcuts | None]) -> list[str]:
    measured = [(entry.run.name, one) for entry, one in zip(board.entries, shortcuts, strict=True) if one is not None]
    if not measured:
        return [f"Not measured: sari-bench shortcuts {board.entries[0].run.folder}"]
    name, found = measured[0]
    heard = [(row.gain.difference, row) for row in found.rows if row.name in WITHOUT and row.gain is not None]
    if not heard:
        return [f"{name}: only options were rotated, the audio was left as it is."]
    # The least of the gains is what the audio adds at the least.
    _, least = min(heard, key=lambda pair: pair[0])
    return [f"{name}: {least.sentence}.", *_others([other for other, _ in measured])]


def _thinking(diagnosed: Sequence[Diagnostics]) -> list[Diagnostics]:
    return [one for one in diagnosed if one.has_thoughts]


def _thinks(board: Board, diagnosed: Sequence[Diagnostics]) -> list[str]:
    thinking = _thinking(diagnosed)
    swapped = [one for one in thinking if one.swapped is not None]
    if not thinking:
        return ["No answer has a thought."]
    if swapped and swapped[0].swapped is not None:
        return [f"{swapped[0].run}: {swapped[0].swapped.sentence}.", *_others([one.run for one in swapped])]
    captioned = [one for one in thinking if CAPTION in one.sections and one.sections[CAPTION].present.n]
    if not captioned:
        return ["Not measured: no thought has a caption section that could be swapped."]
    folder = next(entry.run.folder for entry in board.entries if entry.run.name == captioned[0].run)
    return [f"Not measured: sari-bench diagnose {folder} --swap-captions"]


def _others(measured: Sequence[str]) -> list[str]:
    return [f"Also measured: {', '.join(measured[1:])}."] if len(measured) > 1 else []


def _trained(board: Board) -> list[str]:
    best = board.entries[0]
    if best.training is None:
        return ["Not compared with a training corpus (--training)."]
    return [f"{best.run.name}: {best.training.sentence}."]


def _share(part: Tally) -> str:
    return f"{cell(part.accuracy)} % ({interval_cell(part)})"
