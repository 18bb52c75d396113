"""Reasoning diagnostics as tables and sentences for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from sari_bench.comparing.compare import format_p
from sari_bench.reporting.report import INTERVAL, cell, interval_cell
from sari_bench.statistics.metrics import Tally
from sari_bench.thoughts.diagnostics import Diagnostics
from sari_bench.thoughts.swapping import Swapped

Table = tuple[str, list[str], list[list[str]]]


def diagnosis_tables(found: Diagnostics) -> Iterator[Table]:
    """Yield (title, header, rows) of each table that has something to say."""
    if found.has_thoughts:
        header = ["words of the thought", "n", "acc. %", INTERVAL, "cut"]
        rows = [[_span(b.low, b.high), *_figures(b.tally), str(b.truncated)] for b in found.bins]
        yield f"{found.run}: thought length against accuracy, scorer {found.scorer}", header, rows
        header = ["section", "present", "acc. with %", "absent", "acc. without %"]
        yield (
            "sections",
            header,
            [
                [name, str(s.present.n), cell(s.present.accuracy), str(s.absent.n), cell(s.absent.accuracy)]
                for name, s in found.sections.items()
            ],
        )
        header = ["the summary names", "n", "acc. %", INTERVAL]
        rows = [[_AGREES[name], *_figures(part)] for name, part in found.agreement.items()]
        yield "does the answer agree with the summary (else the thought's last sentence)?", header, rows
    if found.reasons:
        unread = [(o, why, str(n)) for o, counts in found.reasons.items() for why, n in counts.items()]
        yield "why no option was read", ["outcome", "reason", "n"], [list(row) for row in unread]
    if found.swapped is not None:
        yield _swapped(found.swapped)


def diagnosis_sentences(found: Diagnostics) -> Iterator[str]:
    """Yield what the tables do not say, a sentence each."""
    shown = ", ".join(f"{name} {count:,}" for name, count in found.outcomes.items())
    if found.has_thoughts:
        yield (
            f"{found.thoughts:,} of {found.answers:,} answers have a thought, "
            f"of {found.words or 0:.1f} words on average"
        )
    else:
        yield f"{found.run} has no thoughts: none of its {found.answers:,} answers has text in a section but the answer"
    if found.trend is not None:
        p_value = "" if found.trend.p_value is None else f" (p {format_p(found.trend.p_value)})"
        share = f"{found.trend.right_longer * 100:.1f} %"
        yield (
            f"in {share} of all pairs of a right and a wrong answer the right one has the longer thought{p_value}; "
            f"50 % would be no trend; from {found.trend.n:,} thoughts that were not cut"
        )
    cut = f"{found.truncated / max(found.answers, 1) * 100:.1f} %"
    yield f"{found.truncated:,} of {found.answers:,} answers ({cut}) ended at the length limit; outcomes: {shown}"
    if found.swapped is not None:
        yield found.swapped.sentence
        left = ", ".join(f"{count:,} {_LEFT_OUT[why]}" for why, count in found.swapped.left_out.items())
        if left:
            yield f"responses in which no caption was swapped: {left}"


_AGREES = {
    "agree": "the option that is answered",
    "disagree": "another option",
    "silent": "no option, or several",
    "unread": "(no answer was read)",
}


_LEFT_OUT = {
    "no caption": "have no caption",
    "no other caption": "have no other caption to get",
    "limit": "are beyond the limit",
}


def _swapped(found: Swapped) -> Table:
    title = f"captions swapped in {found.rows[0].n:,} of {found.responses:,} responses"
    rows = []
    for row in found.rows:
        changed = "–" if row.name == "original" else f"{row.changed / row.n * 100:.2f}"
        rows.append([row.name, str(row.n), f"{row.correct / row.n * 100:.2f}", changed])
    return title, ["the model goes on from", "n", "acc. %", "changed %"], rows


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}–{high}"


def _figures(part: Tally) -> list[str]:
    return [str(part.n), cell(part.accuracy), interval_cell(part)]
