"""``answer``: sari's own reader and grader, with an honest denominator."""

from __future__ import annotations

from sari_bench.scorers.base import Said, Verdict, chosen, unread, unscorable


class AnswerScorer:
    """The grader that calibration and rewards use: a letter, an option's text, or prose that concludes."""

    name = "answer"
    drops_missing = False
    notes: tuple[str, ...] = ()

    def verdict(self, said: Said) -> Verdict:
        """Grade one answer by the option that it gives."""
        beforehand = unscorable(said)
        if beforehand is not None:
            return beforehand
        reading = said.reading
        return unread(said, reading.reason) if reading.choice is None else chosen(said.gold, reading.choice)
