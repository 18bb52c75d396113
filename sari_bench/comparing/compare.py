"""Does model B do better than model A on the same questions, and where does it show?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sari_bench.benchmarks.base import DIMENSIONS, Gold, digest_row
from sari_bench.comparing.transcripts import Transcript, choose_transcript
from sari_bench.counting import counted
from sari_bench.running.runs import Run
from sari_bench.scoring import Score, Scored
from sari_bench.statistics.adjust import holm, note_for
from sari_bench.statistics.metrics import PairedDifference, label_order, percent
from sari_bench.statistics.paired import compare_groups
from sari_bench.statistics.voting import has_votes, majority
from sari_data.errors import BenchmarkError

__all__ = ["Common", "Comparison", "Transcript", "choose_transcript", "compare", "compare_scores", "format_p"]


@dataclass(frozen=True, slots=True)
class Common:
    """Which questions were compared where the two sides did not ask the same ones.

    Args:
        n: Questions that both asked, with the same id and content.
        changed: Ids that both have with another content; these are not compared.
        a: Version and number of questions of the first side.
        b: The same of the second.
    """

    n: int
    changed: int
    a: tuple[str, int]
    b: tuple[str, int]

    @property
    def sentence(self) -> str:
        """What was compared of what."""
        changed = f", {self.changed} more have the same id and another content" if self.changed else ""
        return (
            f"compared on the {counted(self.n, 'question')} that both asked alike, of {self.a[1]} ({self.a[0]}) "
            f"and {self.b[1]} ({self.b[0]}){changed}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return counts and versions."""
        return {
            "n": self.n,
            "same_id_other_content": self.changed,
            "a": {"version": self.a[0], "questions": self.a[1]},
            "b": {"version": self.b[0], "questions": self.b[1]},
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs over the same questions.

    Args:
        a: Name of the first run (before).
        b: Name of the second run (after).
        scorer: What judged the answers.
        accuracy_a: Accuracy of the first, in [0, 1]; with several samples their mean.
        accuracy_b: Accuracy of the second.
        overall: The paired difference over all questions.
        by: The paired difference of each task.
        transcript: A question that shows the gain, where there is one.
        groups: By dimension, the paired difference of each group; p is adjusted within the dimension.
        samples: The most answers that a question has on either side.
        voted: With several samples, the same comparison of the majority votes.
        common: Which questions were compared, where not all.
        missing: Answers on either side that are not there; they count as not right.
        left_out: Whether the scorer's own total leaves them out.
    """

    a: str
    b: str
    scorer: str
    accuracy_a: float
    accuracy_b: float
    overall: PairedDifference
    by: Mapping[str, PairedDifference]
    transcript: Transcript | None
    groups: Mapping[str, Mapping[str, PairedDifference]] = field(default_factory=dict)
    samples: int = 1
    voted: Comparison | None = None
    common: Common | None = None
    missing: tuple[int, int] = (0, 0)
    left_out: bool = False

    @property
    def verdict(self) -> str:
        """``better``, ``worse`` or ``undecided``: whether B beats A (:attr:`PairedDifference.verdict`)."""
        return self.overall.verdict

    @property
    def sentence(self) -> str:
        """The result in one sentence."""
        d = self.overall
        words = {
            "better": f"{self.b} beats {self.a}",
            "worse": f"{self.b} does worse than {self.a}",
            "undecided": f"{self.b} cannot be told from {self.a}",
        }
        low, high = d.deciding_interval
        parts = [f"95 % interval {low * 100:+.2f} to {high * 100:+.2f}", f"paired over {counted(d.n, 'question')}"]
        if d.by_clip:
            repeated = f" about {counted(d.clusters, 'clip')}" if d.clusters < d.n else ""
            parts[0] += " by clip, all differences being equal" if d.flat else " by bootstrap"
            parts[1] += f"{repeated}{f', mean of {self.samples} samples' if self.samples > 1 else ''}"
            parts.append(f"by clip p {format_p(d.flip_p)}" if d.flip_p is not None else "")
        if d.p_value is not None:
            parts.append(f"McNemar p {format_p(d.p_value)}")
        if d.bootstrap is not None and not d.by_clip and not d.flat:
            parts.append(f"bootstrap {d.bootstrap[0] * 100:+.2f} to {d.bootstrap[1] * 100:+.2f}")
        return (
            f"{words[self.verdict]}: {percent(self.accuracy_a):.2f} to {percent(self.accuracy_b):.2f} %, "
            f"{d.difference * 100:+.2f} points ({', '.join(filter(None, parts))})"
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What else must be known of the result: what was left out, the vote, and what it would take to decide."""
        d, said = self.overall, []
        if self.common is not None:
            said.append(self.common.sentence)
        if any(self.missing):
            said.append(
                f"answers that are missing ({self.missing[0]:,} and {self.missing[1]:,}) count as not right"
                + (f" here; the total of {self.scorer!r} leaves them out" if self.left_out else "")
            )
        if self.voted is not None:
            said.append(f"by majority vote: {self.voted.sentence}")
        if self.verdict == "undecided" and d.needed is not None and d.needed > d.n:
            said.append(
                f"if the true difference were the {d.difference * 100:+.2f} points found, about {d.needed:,} such "
                "questions would tell it from none four times in five"
            )
        return tuple(said)

    def group_note(self, dimension: str) -> str:
        """Return what to hold of the p-values of a dimension's table."""
        parts = self.groups.get(dimension, {}).values()
        plain = sum(part.deciding_p is not None and part.deciding_p < 0.05 for part in parts)
        kept = sum(part.adjusted_p is not None and part.adjusted_p < 0.05 for part in parts)
        return note_for(len(parts), plain, kept)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as one JSON object; shares are percent."""
        body = {
            "a": self.a,
            "b": self.b,
            "scorer": self.scorer,
            "samples": self.samples,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "accuracy": {"a": percent(self.accuracy_a), "b": percent(self.accuracy_b)},
            "overall": self.overall.to_json(),
            "by": {
                dimension: {name: part.to_json() for name, part in parts.items()}
                for dimension, parts in self.groups.items()
            },
            "notes": [*self.notes, *filter(None, (self.group_note(dimension) for dimension in self.groups))],
            "transcript": None if self.transcript is None else self.transcript.to_json(),
        }
        if self.common is not None:
            body["common"] = self.common.to_json()
        if self.voted is not None:
            voted = self.voted.to_json()
            body["majority"] = {key: voted[key] for key in ("verdict", "sentence", "accuracy", "overall", "by")}
        return body


def format_p(value: float) -> str:
    """Return a p-value for people: three decimals, and more where these would put it on the other side of 0.05."""
    if value < 0.001:
        return "< 0.001"
    places = next(p for p in range(3, 18) if (float(f"{value:.{p}f}") < 0.05) == (value < 0.05))
    return f"= {value:.{places}f}"


def compare(
    run_a: Run,
    run_b: Run,
    scorer: str = "answer",
    *,
    common: bool = False,
    seed: int = 0,
    scores: tuple[Score, Score] | None = None,
) -> Comparison:
    """Compare two runs question by question; a question's score is the mean over its samples.

    Args:
        run_a: The run before.
        run_b: The run after.
        scorer: What judges the answers.
        common: Where the runs did not ask the same questions, compare them on those that both asked alike.
        seed: Of the bootstrap.
        scores: What both score by that scorer, where it is there already.

    Raises:
        BenchmarkError: The runs asked different questions.
    """
    names = run_a.name, run_b.name
    if names[0] == names[1]:  # Runs of one name, for instance on two machines: their folders tell them apart.
        names = str(run_a.folder), str(run_b.folder)
    score_a, score_b = scores or (run_a.score(scorer), run_b.score(scorer))
    return compare_scores(names[0], score_a, names[1], score_b, common=common, seed=seed)


def compare_scores(
    name_a: str, score_a: Score, name_b: str, score_b: Score, *, common: bool = False, seed: int = 0
) -> Comparison:
    """Compare two scores question by question, from wherever they come.

    Args:
        name_a: Name of the first (before).
        score_a: Its score.
        name_b: Name of the second (after).
        score_b: Its score, by the same scorer.
        common: Where they are not of the same questions, compare them on those that both have alike.
        seed: Of the bootstrap.

    Raises:
        BenchmarkError: They are of different questions, or have none in common.
    """
    assert score_a.scorer == score_b.scorer, f"expected one scorer, got {score_a.scorer} and {score_b.scorer}"
    golds_a, golds_b = _golds(score_a.items), _golds(score_b.items)
    alike = [key for key, gold in golds_a.items() if key in golds_b and _same(gold, golds_b[key])]
    if not common and len(alike) < max(len(golds_a), len(golds_b)):
        first, second = (f"{name!r} ({s.benchmark} {s.version})" for name, s in ((name_a, score_a), (name_b, score_b)))
        raise BenchmarkError(
            f"{first} and {second} asked different questions, so they cannot be compared: run both on the same version "
            "of one benchmark, or compare what both asked alike with --common"
        )
    if not alike:
        raise BenchmarkError(
            f"{name_a!r} and {name_b!r} have no question in common (by id and content), of {len(golds_a)} and "
            f"{len(golds_b)}: give two that were asked questions of one benchmark"
        )
    about = None
    if len(alike) < max(len(golds_a), len(golds_b)):
        changed = len(golds_a.keys() & golds_b.keys()) - len(alike)
        about = Common(len(alike), changed, (score_a.version, len(golds_a)), (score_b.version, len(golds_b)))
    # A file of predictions may not know which questions are about one clip; a run that does knows it for both.
    chosen = {key: golds_a[key] if golds_a[key].clip else golds_b[key] for key in alike}
    found = _compare(name_a, score_a.items, name_b, score_b.items, chosen, score_a.scorer, seed)
    voted = None
    if found.samples > 1 and has_votes(score_a) and has_votes(score_b):
        votes = majority(score_a).items, majority(score_b).items
        voted = _compare(name_a, votes[0], name_b, votes[1], chosen, score_a.scorer, seed)
    kept_a, kept_b = ([i for i in score.items if i.gold.id in chosen] for score in (score_a, score_b))
    missing = tuple(sum(item.outcome == "missing" for item in kept) for kept in (kept_a, kept_b))
    return replace(
        found,
        voted=voted,
        common=about,
        transcript=choose_transcript(kept_a, kept_b),
        missing=(missing[0], missing[1]),
        left_out=score_a.drops_missing or score_b.drops_missing,
    )


def _same(one: Gold, other: Gold) -> bool:
    """Return whether two questions count as the same for a benchmark's version, however their audio was found."""
    return one == other or digest_row(one) == digest_row(other)


def _golds(items: Sequence[Scored]) -> dict[str, Gold]:
    return {item.gold.id: item.gold for item in items}


def _compare(
    name_a: str,
    items_a: Sequence[Scored],
    name_b: str,
    items_b: Sequence[Scored],
    golds: Mapping[str, Gold],
    scorer: str,
    seed: int,
) -> Comparison:
    """Compare on the questions of ``golds``: overall and every group of every dimension, from one set of resamples."""
    outcomes_a, outcomes_b = _outcomes(items_a, golds), _outcomes(items_b, golds)
    ids = list(golds)
    a, b = ([sum(outcomes[i]) / len(outcomes[i]) for i in ids] for outcomes in (outcomes_a, outcomes_b))
    labels = [("", "")]
    places = [list(range(len(ids)))]
    for dimension, name in DIMENSIONS.items():
        found: dict[str, list[int]] = {}
        for place, gold in enumerate(golds.values()):
            found.setdefault(getattr(gold, name), []).append(place)
        for label in sorted(found.keys() - {""}, key=label_order):
            labels.append((dimension, label))
            places.append(found[label])
    overall, *parts = compare_groups(a, b, [gold.cluster for gold in golds.values()], places, seed=seed)
    groups: dict[str, dict[str, PairedDifference]] = {}
    for (dimension, label), part in zip(labels[1:], parts, strict=True):
        groups.setdefault(dimension, {})[label] = part
    groups = {dimension: _adjusted(table) for dimension, table in groups.items()}
    samples = max(len(right) for outcomes in (outcomes_a, outcomes_b) for right in outcomes.values())
    return Comparison(
        a=name_a,
        b=name_b,
        scorer=scorer,
        accuracy_a=sum(a) / len(a),
        accuracy_b=sum(b) / len(b),
        overall=overall,
        by=groups.get("task", {}),
        transcript=None,
        groups=groups,
        samples=samples,
    )


def _adjusted(table: Mapping[str, PairedDifference]) -> dict[str, PairedDifference]:
    p_values = [part.deciding_p for part in table.values()]
    return {
        name: replace(part, adjusted_p=p_value)
        for (name, part), p_value in zip(table.items(), holm([1.0 if p is None else p for p in p_values]), strict=True)
    }


def _outcomes(items: Sequence[Scored], golds: Mapping[str, Gold]) -> dict[str, list[bool]]:
    """Whether each sample of each question is correct."""
    outcomes: dict[str, list[bool]] = {}
    for item in items:
        if item.gold.id in golds:
            outcomes.setdefault(item.gold.id, []).append(item.outcome == "correct")
    return outcomes
