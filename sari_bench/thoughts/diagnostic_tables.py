"""Reasoning diagnostics as tables and sentences for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from sari_bench.comparing.compare import format_p
from sari_bench.counting import counted
from sari_bench.reporting.report import INTERVAL, cell, interval_cell
from sari_bench.statistics.metrics import Tally
from sari_bench.thoughts.diagnostics import Diagnostics
from sari_bench.thoughts.lengths import TOKENS, WORDS, Lengths, Trend
from sari_bench.thoughts.swapping import Swapped

Table = tuple[str, list[str], list[list[str]]]


def diagnosis_tables(found: Diagnostics) -> Iterator[Table]:
    """Yield (title, header, rows) of each table that has something to say."""
    if found.has_thoughts:
        yield f"{found.run}: thought length against accuracy, scorer {found.scorer}", *_lengths(found.words)
        if found.tokens is not None:
            yield "length of the whole response against accuracy", *_lengths(found.tokens)
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
        by = "" if found.scorer == "answer" else f" by sari's reader; outcomes are those of scorer {found.scorer}"
        yield f"why no option was read{by}", ["outcome", "reason", "n"], [list(row) for row in unread]
    if found.swapped is not None:
        yield _swapped(found.swapped)


def diagnosis_sentences(found: Diagnostics) -> Iterator[str]:
    """Yield what the tables do not say, a sentence each."""
    shown = ", ".join(f"{name} {count:,}" for name, count in found.outcomes.items())
    if found.has_thoughts:
        yield (
            f"{found.thoughts:,} of {found.answers:,} answers have a thought, "
            f"of {found.words.mean or 0:.1f} words on average"
        )
        if found.tokens is not None:
            known = "" if found.tokens.n == found.thoughts else f" ({found.tokens.n:,} of them were counted)"
            yield (
                f"the whole responses that have these thoughts{known} take {found.tokens.mean or 0:.1f} tokens on "
                "average, answer and tags included"
            )
    else:
        answers = counted(found.answers, "answer")
        yield f"{found.run} has no thoughts: none of its {answers} has text in a section but the answer"
    for lengths in (found.words, found.tokens):
        if lengths is not None and lengths.trend is not None:
            yield _trend(lengths.unit, lengths.trend)
    cut = f"{found.truncated / max(found.answers, 1) * 100:.1f} %"
    yield f"{found.truncated:,} of {found.answers:,} answers ({cut}) ended at the length limit; outcomes: {shown}"
    if found.swapped is not None:
        yield found.swapped.sentence
        left = ", ".join(f"{count:,} {_LEFT_OUT[why]}" for why, count in found.swapped.left_out.items())
        if left:
            yield f"responses in which no caption was swapped: {left}"


def _trend(unit: str, trend: Trend) -> str:
    what, one = ("longer thought", "thought") if unit == WORDS else ("longer response, in tokens", "response")
    p_value = "" if trend.p_value is None else f" (p {format_p(trend.p_value)})"
    return (
        f"in {trend.right_longer * 100:.1f} % of all pairs of a right and a wrong answer the right one has the "
        f"{what}{p_value}; 50 % would be no trend; from {counted(trend.n, one)} that were not cut"
    )


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
    title = f"captions swapped in {found.rows[0].n:,} of {counted(found.responses, 'response')}"
    rows = []
    for row in found.rows:
        changed = "–" if row.name == "original" else f"{row.changed / row.n * 100:.2f}"
        rows.append([row.name, str(row.n), f"{row.correct / row.n * 100:.2f}", changed])
    return title, ["the model goes on from", "n", "acc. %", "changed %"], rows


def _lengths(found: Lengths) -> tuple[list[str], list[list[str]]]:
    rows = [[_span(b.low, b.high), *_figures(b.tally), str(b.truncated)] for b in found.bins]
    return [_UNITS[found.unit], "n", "acc. %", INTERVAL, "cut"], rows


_UNITS = {WORDS: "words of the thought", TOKENS: "tokens of the response"}


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}–{high}"


def _figures(part: Tally) -> list[str]:
    return [str(part.n), cell(part.accuracy), interval_cell(part)]
