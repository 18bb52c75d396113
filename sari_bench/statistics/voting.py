"""Several samples of each question: the majority vote, pass@k, and the mean beside them.

The vote is self-consistency (Wang et al., ICLR 2023, arXiv 2203.11171, section 2): the option that most samples arrive
at. pass@k is the unbiased estimate of Chen et al. (arXiv 2107.03374, equation 1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sari_bench.counting import counted
from sari_bench.scoring import BenchmarkGolds, Score, Scored, summarize
from sari_bench.statistics.metrics import Tally, percent, percents, range_text, wilson
from sari_data.errors import InputError

_EVERY_K = 64  # up to so many samples pass@k is told for every k; beyond for powers of two and for all samples


@dataclass(frozen=True, slots=True)
class Votes:
    """How the samples of all questions voted.

    Args:
        questions: How many there are.
        tied: Questions on which two options had the most votes; the one voted for first was taken.
        silent: Questions on which no sample could be read, so that there was no vote.
        unanimous: Questions on which all samples that voted chose one option.
    """

    questions: int
    tied: int
    silent: int
    unanimous: int


@dataclass(frozen=True, slots=True)
class PassAt:
    """The chance that at least one of k samples is right, over all questions; in [0, 1], with its 95 % interval."""

    k: int
    value: float
    interval: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """Return both in percent."""
        return {"k": self.k, "value": percent(self.value), "interval": percents(self.interval)}


def samples_of(score: Score) -> int:
    """Return how many answers each question was due: the most that any has."""
    return max(Counter(item.gold.id for item in score.items).values(), default=1)


def has_votes(score: Score) -> bool:
    """Return whether the scorer says which option it read, or why none: only then can samples vote."""
    judged = [item for item in score.items if item.outcome in ("correct", "wrong")]
    return all(item.choice is not None or item.reason is not None for item in judged)


def majority(score: Score) -> Score:
    """Return the score of the majority votes: one answer a question.

    Votes go to the option's text, so that a repeated option is one. What was not read (unparsed, truncated, refused,
    missing) does not vote. Of options with as many votes the one that was voted for first, by the number of the sample,
    wins: the paper does not say, and lm-evaluation-harness counts so. Where nobody votes, the question has the
    outcome that most of its samples have for the same reason. The outcomes add up to the number of questions.

    Raises:
        InputError: The scorer does not say which option it read.
    """
    return vote(score)[0]


def vote(score: Score) -> tuple[Score, Votes]:
    """Return the score of the majority votes, as :func:`majority` does, and how the samples of all questions voted.

    Raises:
        InputError: The scorer does not say which option it read.
    """
    if not has_votes(score):
        raise InputError(
            f"scorer {score.scorer!r} does not say which option it read, so samples cannot vote: use scorer 'answer'"
        )
    winners, tied, silent, unanimous = [], 0, 0, 0
    for items in _by_question(score):
        ballots = Counter(option for item in items if (option := _option(item)) is not None)
        if ballots:
            # most_common keeps the order of first appearance among equals, and samples come in their order.
            (option, most), *others = ballots.most_common()
            tied += bool(others) and others[0][1] == most
            unanimous += not others
            winners.append(next(item for item in items if _option(item) == option))
        else:
            silent += 1
            (why, _), *_ = Counter((item.reason, item.outcome) for item in items).most_common()
            winners.append(next(item for item in items if (item.reason, item.outcome) == why))
    golds = BenchmarkGolds(score.benchmark, score.version, "", tuple(item.gold for item in winners))
    votes = Votes(len(winners), tied, silent, unanimous)
    return summarize(golds, winners, score.scorer, (f"majority vote of {samples_of(score)} samples",)), votes


def pass_chance(n: int, right: int, k: int) -> float:
    """Return the chance that k of n samples, drawn without replacement, hold one of the ``right`` ones.

    It is ``1 - C(n - right, k) / C(n, k)``, as a product that cannot overflow.
    """
    missed = 1.0
    for i in range(n - right + 1, n + 1):
        missed *= max(0.0, 1 - k / i)
    return 1 - missed


def pass_at(score: Score, seed: int = 0) -> tuple[PassAt, ...]:
    """Return pass@k for every k up to the number of samples, each with a bootstrap interval by clip.

    It is the mean over questions of :func:`pass_chance`. With more than _EVERY_K samples: for the powers of two, and
    for all samples. Where all questions have the same chance (none right, or all) the bootstrap interval would have no
    width; there it is Wilson's, of as many as there are clips.

    Args:
        score: Of several samples a question.
        seed: Of the bootstrap.
    """
    import numpy as np

    from sari_bench.statistics.bootstrap import bootstrap_groups

    questions = list(_by_question(score))
    samples = min(map(len, questions), default=0)
    if not samples:
        return ()
    ks = list(range(1, samples + 1)) if samples <= _EVERY_K else sorted({*_powers(samples), samples})
    counts = [(len(items), sum(item.outcome == "correct" for item in items)) for items in questions]
    chances = {pair: [pass_chance(*pair, k) for k in ks] for pair in set(counts)}
    values = np.array([chances[pair] for pair in counts])
    clips = [items[0].gold.cluster for items in questions]
    intervals = bootstrap_groups(values, np.ones(values.shape, np.bool_), clips, seed=seed)
    found = []
    for k, mean, interval in zip(ks, values.mean(axis=0).tolist(), intervals, strict=True):
        flat = interval[1] - interval[0] < 1e-9
        found.append(PassAt(k, mean, wilson(mean * len(set(clips)), len(set(clips))) if flat else interval))
    return tuple(found)


def shown_pass_at(found: Sequence[PassAt]) -> list[PassAt]:
    """Return what tables and lines show of it: powers of two and all samples.

    pass@1 is left out: it is the mean, and told twice, with the interval of another formula, would seem another figure.
    """
    return [one for one in found[1:] if one.k in _powers(found[-1].k) or one is found[-1]]


def vote_lines(score: Score) -> list[str]:
    """Return what several samples say, for the terminal: mean, majority vote and pass@k; nothing with one sample."""
    samples = samples_of(score)
    if samples < 2:
        return []
    lines = [f"mean of {samples} samples: {_share(score.honest)}"]
    if has_votes(score):
        voted, votes = vote(score)
        lines.append(
            f"majority vote: {_share(voted.honest)} of {counted(votes.questions, 'question')} "
            f"({votes.unanimous} unanimous, {votes.tied} tied, {votes.silent} without a vote)"
        )
    else:
        lines.append(f"no majority vote: scorer {score.scorer} does not say which option it read")
    shown = shown_pass_at(pass_at(score))
    lines.append(", ".join(f"pass@{p.k} {p.value * 100:.2f} % [{range_text(p.interval)}]" for p in shown))
    return lines


def votes_json(score: Score) -> dict[str, Any] | None:
    """Return the same as JSON: ``mean``, ``majority`` (``None`` where nobody can vote) and ``pass_at``."""
    samples = samples_of(score)
    if samples < 2:
        return None
    voted = None
    if has_votes(score):
        result, votes = vote(score)
        counts = {"tied": votes.tied, "unanimous": votes.unanimous, "without_a_vote": votes.silent}
        voted = {**result.honest.to_json(), **counts}
    return {
        "samples": samples,
        "mean": score.honest.to_json(),
        "majority": voted,
        "pass_at": [found.to_json() for found in pass_at(score)],
    }


def score_json(score: Score) -> dict[str, Any]:
    """Return a score as one JSON object; where questions have several samples, with ``votes``."""
    votes = votes_json(score)
    return score.to_json() | ({} if votes is None else {"votes": votes})


def _by_question(score: Score) -> list[list[Scored]]:
    """Return each question's samples, in their order."""
    found: dict[str, list[Scored]] = {}
    for item in score.items:
        found.setdefault(item.gold.id, []).append(item)
    return [sorted(items, key=lambda item: item.answer.sample) for items in found.values()]


def _option(item: Scored) -> str | None:
    """What an answer votes for; ``official`` can call one right whose gold is no option, which votes for that gold."""
    if item.choice is not None:
        return item.gold.choices[item.choice]
    return item.gold.answer if item.outcome == "correct" else None


def _powers(samples: int) -> Sequence[int]:
    return [2**power for power in range(samples.bit_length()) if 2**power <= samples]


def _share(tally: Tally) -> str:
    return f"{(tally.accuracy or 0.0) * 100:.2f} % [{range_text(tally.best_interval)}]"
