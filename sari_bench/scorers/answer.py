"""``answer``: sari's own reader and grader, with an honest denominator."""

from __future__ import annotations

from sari_bench.scorers.base import GradingScorer, Said, Verdict, chosen, unread


class AnswerScorer(GradingScorer):
    """The grader that calibration and rewards use: a letter, an option's text, or prose that concludes."""

    name = "answer"

    def grade(self, said: Said) -> Verdict:
        """Grade one answer by the option that it gives."""
        reading = said.reading
        return unread(said, reading.reason) if reading.choice is None else chosen(said.gold, reading.choice)
