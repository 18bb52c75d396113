"""What the thoughts of a run have to do with its answers: length, sections, summary, truncation.

All of it is computed from the stored responses. What a response is not asked for it is not blamed for: answers without
a thought stand in no figure about thoughts, and missing answers in none at all but ``outcomes``.

A thought is the text of all outermost sections but the answer. Its length is in words, which white space separates: a
run stores the tokens of a response as a whole, not those of its parts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sari_bench.running.runs import Run
from sari_bench.scorers.answer import AnswerScorer
from sari_bench.scoring import Score, Scored
from sari_bench.statistics.metrics import Tally, percent, tally
from sari_bench.thoughts.swapping import Swapped, read_swapped
from sari_data.answers import Reading, read_response, sections_of
from sari_data.options import options_of
from sari_data.prompting import ANSWER, list_modes, load_mode
from sari_data.thoughts import count_words, last_sentence, named_options

BINS = 5


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers whose thoughts have ``low`` to ``high`` words; ``truncated`` of them ended at the length limit."""

    low: int
    high: int
    tally: Tally
    truncated: int

    def to_json(self) -> dict[str, Any]:
        """Return the bin with its accuracy and interval in percent."""
        body = {"from_words": self.low, "to_words": self.high, **_figures(self.tally)}
        return {**body, "truncated": self.truncated}


@dataclass(frozen=True, slots=True)
class Trend:
    """Whether longer thoughts go with right answers.

    Args:
        n: Answers with a thought that were not cut at the length limit: a cut thought's length is not known.
        right_longer: How often the thought of a right answer is longer than that of a wrong one, over all such pairs; a
            tie is half. 0.5: length says nothing. It is the Mann-Whitney U over the number of pairs.
        p_value: Two-sided p of 0.5, by the normal approximation with the correction for ties (Mann and Whitney 1947);
            ``None`` where questions were answered several times or clips repeat: such answers are not independent.
    """

    n: int
    right_longer: float
    p_value: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the trend as a JSON object; ``right_longer`` is in percent."""
        return {"n": self.n, "right_longer": percent(self.right_longer), "p_value": self.p_value}


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the mode's grammar: answers in which it has text, and the others."""

    present: Tally
    absent: Tally

    def to_json(self) -> dict[str, Any]:
        """Return counts and both accuracies in percent."""
        return {
            "present": self.present.n,
            "absent": self.absent.n,
            "accuracy_with": percent(self.present.accuracy),
            "accuracy_without": percent(self.absent.accuracy),
        }


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """What can be said of a run's thoughts.

    Args:
        run: The run's name.
        scorer: What judged the answers.
        answers: Answers that were given.
        thoughts: Those with a thought.
        words: Mean length of the thoughts in words; ``None`` where there are none.
        bins: Thought length against accuracy, shortest first.
        trend: The same in one figure; ``None`` where all such answers are right, or all wrong.
        sections: Each section of the mode, and what else was found, by its own name.
        agreement: Answers with a thought, by what its summary (else its last sentence) names: ``agree``: the option
            that was answered and no other; ``disagree``: one other option; ``silent``: none or several; ``unread``: no
            option could be read out of the answer.
        truncated: Answers that ended at the length limit, whatever could be read of them.
        outcomes: As in the run's score, missing answers included.
        reasons: Outcome to why nothing was read, each with how often.
        swapped: What swapping captions showed, where that was tried.
    """

    run: str
    scorer: str
    answers: int
    thoughts: int
    words: float | None
    bins: tuple[Bin, ...]
    trend: Trend | None
    sections: Mapping[str, Section]
    agreement: Mapping[str, Tally]
    truncated: int
    outcomes: Mapping[str, int]
    reasons: Mapping[str, Mapping[str, int]]
    swapped: Swapped | None = None

    @property
    def has_thoughts(self) -> bool:
        """Whether there is any thought to say something of."""
        return self.thoughts > 0

    def to_json(self) -> dict[str, Any]:
        """Return everything as one JSON object; shares are in percent."""
        agrees: dict[str, Any] = {name: part.n for name, part in self.agreement.items()}
        agrees |= {f"accuracy_{name}": percent(part.accuracy) for name, part in self.agreement.items()}
        return {
            "run": self.run,
            "scorer": self.scorer,
            "answers": self.answers,
            "thoughts": self.thoughts,
            "unit": "words",
            "mean_words": None if self.words is None else round(self.words, 1),
            "bins": [part.to_json() for part in self.bins],
            "trend": None if self.trend is None else self.trend.to_json(),
            "sections": {name: part.to_json() for name, part in self.sections.items()},
            "agrees": agrees,
            "truncated": self.truncated,
            "outcomes": dict(self.outcomes),
            "reasons": {outcome: dict(counts) for outcome, counts in self.reasons.items()},
            "swapped": None if self.swapped is None else self.swapped.to_json(),
        }


def diagnose(run: Run, scorer: str = "answer", score: Score | None = None, read: Score | None = None) -> Diagnostics:
    """Say what the thoughts of a run have to do with its answers, from its stored responses alone.

    Args:
        run: The run.
        scorer: What judges the answers.
        score: What ``run.score(scorer)`` returns, where it is there already.
        read: The same of the scorer ``answer``: what it read is not read again.

    Raises:
        InputError: The scorer is unknown.
        BenchmarkError: What swapping captions left beside the run is not as it was written.
    """
    score = score if score is not None else run.score(scorer)
    if read is None and score.scorer == AnswerScorer.name:
        read = score
    given = [item for item in score.items if item.answer.text is not None]
    readings = (
        [_reading(item) for item in given]
        if read is None
        else [_read(item) for item in read.items if item.answer.text is not None]
    )
    lengths = [count_words(reading.sections, _outermost(reading)) for reading in readings]
    thinking = [(item, words) for item, words in zip(given, lengths, strict=True) if words]
    reasons: dict[str, Counter[str]] = {}
    for item, reading in zip(given, readings, strict=True):
        if reading.reason is not None:
            reasons.setdefault(item.outcome, Counter())[reading.reason] += 1
    return Diagnostics(
        run=run.name,
        scorer=score.scorer,
        answers=len(given),
        thoughts=len(thinking),
        words=sum(words for _, words in thinking) / len(thinking) if thinking else None,
        bins=tuple(_bins(thinking)),
        trend=_trend(thinking, run.samples),
        sections=_sections(run.mode, given, readings),
        agreement=_agreement(
            [pair for pair, words in zip(zip(given, readings, strict=True), lengths, strict=True) if words]
        ),
        truncated=sum(item.answer.finish_reason == "length" for item in given),
        outcomes=dict(score.honest.outcomes),
        reasons={outcome: dict(counts.most_common()) for outcome, counts in sorted(reasons.items())},
        swapped=read_swapped(run.folder),
    )


def cut_bins(lengths: Sequence[int], bins: int = BINS) -> list[tuple[int, int]]:
    """Return the least and greatest length of each of at most ``bins`` bins with about as many lengths in each.

    Every cut lies where the count of the lengths below comes nearest to its equal share, among the places between two
    lengths that differ: equal lengths are never parted. So there are fewer bins where many lengths are equal.
    """
    values = sorted(Counter(lengths).items())
    ends: list[int] = []  # the number of lengths up to and with each value but the last
    for _, count in values[:-1]:
        ends.append((ends[-1] if ends else 0) + count)
    cuts = {
        min(range(len(ends)), key=lambda at: (abs(ends[at] - part * len(lengths) / bins), at))
        for part in range(1, bins)
        if ends
    }
    firsts = [0, *(cut + 1 for cut in sorted(cuts))]
    lasts = [*sorted(cuts), len(values) - 1]
    return [(values[first][0], values[last][0]) for first, last in zip(firsts, lasts, strict=True) if values]


def rank_trend(right: Sequence[int], wrong: Sequence[int]) -> tuple[float, float]:
    """Return how often one of ``right`` is greater than one of ``wrong`` (ties half), and the two-sided p of one half.

    The Mann-Whitney U by midranks, its p by the normal approximation with the variance corrected for ties and without a
    correction for continuity. Where all values are equal, p is 1.
    """
    assert min(len(right), len(wrong)), "expected values on both sides"
    n, m = len(right), len(wrong)
    ranked = sorted([(value, True) for value in right] + [(value, False) for value in wrong])
    rank_sum, ties, at = 0.0, 0, 0
    for _, group in groupby(ranked, key=lambda pair: pair[0]):
        members = [is_right for _, is_right in group]
        size = len(members)
        rank_sum += sum(members) * (at + (size + 1) / 2)
        ties += size**3 - size
        at += size
    u = rank_sum - n * (n + 1) / 2
    total = n + m
    variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)))
    p_value = 1.0 if variance <= 0 else math.erfc(abs(u - n * m / 2) / math.sqrt(2 * variance))
    return u / (n * m), p_value


def _reading(item: Scored) -> Reading:
    return read_response(item.answer.text or "", item.gold.choices, finish_reason=item.answer.finish_reason)


def _read(item: Scored) -> Reading:
    """What there is to know of the reading of an answer that ``answer`` scored, its text left out."""
    if not item.gold.gradable:  # then the outcome says nothing of the answer
        return _reading(item)
    return Reading(item.choice, item.reason, None, sections_of(item.answer.text or ""))


def _outermost(reading: Reading) -> list[str]:
    return [path for path in reading.sections if "." not in path and path != ANSWER]


def _bins(thinking: Sequence[tuple[Scored, int]]) -> list[Bin]:
    found = []
    for low, high in cut_bins([words for _, words in thinking]):
        members = [item for item, words in thinking if low <= words <= high]
        cut = sum(item.answer.finish_reason == "length" for item in members)
        found.append(Bin(low, high, _tally(members), cut))
    return found


def _trend(thinking: Sequence[tuple[Scored, int]], samples: int) -> Trend | None:
    whole = [(item.outcome == "correct", words) for item, words in thinking if item.answer.finish_reason != "length"]
    right = [words for is_right, words in whole if is_right]
    wrong = [words for is_right, words in whole if not is_right]
    if not right or not wrong:
        return None
    share, p_value = rank_trend(right, wrong)
    clips = Counter(item.gold.cluster for item, _ in thinking if item.answer.finish_reason != "length")
    return Trend(len(whole), share, p_value if samples == 1 and len(clips) == len(whole) else None)


def _sections(mode: str, given: Sequence[Scored], readings: Sequence[Reading]) -> dict[str, Section]:
    """Sections by their own name, those of the mode first: a model may leave the tag around them out."""
    grammar = load_mode(mode).sections if mode in list_modes() else ()  # a mode of the user's own may be gone
    held = [{path.split(".")[-1] for path, text in reading.sections.items() if text} for reading in readings]
    inner = {path for reading in readings for path in reading.sections}
    leaves = sorted(path.split(".")[-1] for path in inner if not any(other.startswith(f"{path}.") for other in inner))
    names = [name for name in dict.fromkeys([*(path.split(".")[-1] for path in grammar), *leaves]) if name != ANSWER]
    return {
        name: Section(
            _tally([item for item, found in zip(given, held, strict=True) if name in found]),
            _tally([item for item, found in zip(given, held, strict=True) if name not in found]),
        )
        for name in names
    }


def _agreement(pairs: Sequence[tuple[Scored, Reading]]) -> dict[str, Tally]:
    groups: dict[str, list[Scored]] = {name: [] for name in ("agree", "disagree", "silent", "unread")}
    for item, reading in pairs:
        groups[_agrees(item, reading)].append(item)
    return {name: _tally(members) for name, members in groups.items()}


def _agrees(item: Scored, reading: Reading) -> str:
    if reading.choice is None:
        return "unread"
    summary = next((text for path, text in reading.sections.items() if path.split(".")[-1] == "summary" and text), "")
    thought = "\n".join(reading.sections[path] for path in _outermost(reading))
    named = named_options(summary or last_sentence(thought), options_of(item.gold.choices))
    if len(named) != 1:
        return "silent"
    return "agree" if named == {reading.choice} else "disagree"


def _tally(items: Sequence[Scored]) -> Tally:
    clusters = {item.gold.id: item.gold.cluster for item in items}
    return tally(((item.gold.id, item.outcome) for item in items), clusters=clusters)


def _figures(part: Tally) -> dict[str, Any]:
    body = part.to_json()
    return {key: body[key] for key in ("n", "correct", "accuracy", "interval", "clustered")}
