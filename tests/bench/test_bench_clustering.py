"""Intervals by clip: against a loop over pairs, Student's quantile of scipy, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from sari_bench.statistics.clustering import Z95, effective_size, newcombe, student_quantile
from sari_bench.statistics.metrics import OUTCOMES, Tally, tally, wilson

# Of each clip the outcomes of its questions.
CLIPS = st.lists(st.lists(st.booleans(), min_size=1, max_size=5), min_size=1, max_size=25)


def _tally(clips: list[list[bool]]) -> Tally:
    pairs = [
        (f"{c}.{q}", "correct" if right else "wrong") for c, clip in enumerate(clips) for q, right in enumerate(clip)
    ]
    return tally(pairs, clusters={name: name.partition(".")[0] for name, _ in pairs})


def _variance_by_pairs(clips: list[list[bool]]) -> float:
    """Miller's clustered variance, pair by pair, with CR1's correction: an independent way to the same figure."""
    values = [(c, float(right)) for c, clip in enumerate(clips) for right in clip]
    mean = sum(value for _, value in values) / len(values)
    total = 0.0
    for one, first in values:
        for other, second in values:
            if one == other:
                total += (first - mean) * (second - mean)
    return total / len(values) ** 2 * len(clips) / (len(clips) - 1)


@settings(max_examples=80, deadline=None)
@given(CLIPS)
def test_the_effective_size_is_that_of_the_variance_over_all_pairs(clips: list[list[bool]]) -> None:
    n, right = sum(map(len, clips)), sum(map(sum, clips))
    found = effective_size([*map(len, clips)], [*map(sum, clips)])
    assert 0 < found <= n + 1e-9
    if len(clips) == 1 or right in (0, n):
        assert found == pytest.approx(n * n / sum(len(clip) ** 2 for clip in clips))
        return
    variance = max(_variance_by_pairs(clips), right / n * (1 - right / n) / n)
    assert found == pytest.approx(
        right / n * (1 - right / n) / variance * (Z95 / student.ppf(0.975, len(clips) - 1)) ** 2
    )


def test_the_tolerance_catches_a_variance_without_the_correction_and_one_of_independent_answers() -> None:
    clips = [[True, True, True], [False, False], [True, False], [False]]
    found = effective_size([3, 2, 2, 1], [3, 0, 1, 0])
    share = 4 / 8
    plain = share * (1 - share) / (_variance_by_pairs(clips) * 3 / 4) * (Z95 / student.ppf(0.975, 3)) ** 2
    assert found != pytest.approx(plain)
    assert found != pytest.approx(8 * (Z95 / student.ppf(0.975, 3)) ** 2)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 10, 31, 49, 50, 51, 200, 9999])
def test_students_quantile_is_scipys(freedom: int) -> None:
    assert student_quantile(freedom) == pytest.approx(student.ppf(0.975, freedom), rel=1e-6)
    assert student_quantile(freedom) != pytest.approx(student.ppf(0.975, freedom + 1), rel=1e-9)


@given(CLIPS)
def test_an_interval_by_clip_holds_its_estimate_and_has_width(clips: list[list[bool]]) -> None:
    found = _tally(clips)
    repeats = any(len(clip) > 1 for clip in clips)
    assert (found.clustered is not None) == repeats
    assert found.best_interval is not None
    assert found.interval is not None
    assert found.accuracy is not None
    low, high = found.best_interval
    assert 0 <= low <= found.accuracy <= high <= 1
    assert low < high
    assert low <= found.interval[0] + 1e-12, "clips that repeat never say more than as many questions by themselves"
    assert high >= found.interval[1] - 1e-12


@given(st.lists(st.booleans(), min_size=8, max_size=60).filter(lambda found: 0 < sum(found) < len(found)))
def test_questions_that_are_asked_twice_of_a_clip_add_nothing(found: list[bool]) -> None:
    """Each question stands twice: the interval by clip is that of half as many, and wider than Wilson's of all."""
    twice = _tally([[right, right] for right in found])
    assert twice.effective == pytest.approx(
        len(found) * (len(found) - 1) / len(found) * (Z95 / student_quantile(len(found) - 1)) ** 2
    )
    assert twice.clustered is not None
    assert twice.interval is not None
    assert twice.clustered[1] - twice.clustered[0] > twice.interval[1] - twice.interval[0]


def test_the_ends_of_the_scale() -> None:
    assert tally([], clusters={}).clustered is None
    assert tally([], clusters={}).best_interval is None
    assert tally([("a", "correct")], clusters={"a": "x"}).clustered is None
    one = tally([("a", "correct"), ("b", "wrong")], clusters={"a": "x", "b": "x"})
    assert one.clustered == pytest.approx(wilson(0.5, 1)), "one clip says as much as one question"
    same = _tally([[True, True, True]] * 10)
    assert same.clustered == pytest.approx(wilson(10, 10)), "where all are right the clips are what counts"
    assert (same.clusters, same.n) == (10, 30)
    assert tally([("a", "correct"), ("b", "wrong")]).clustered is None, "nobody said which clips there are"


def test_samples_of_a_question_are_a_cluster() -> None:
    rng = np.random.default_rng(0)
    chances = rng.beta(1, 1, 200)
    pairs = [
        (str(q), "correct" if rng.random() < chance else "wrong") for q, chance in enumerate(chances) for _ in range(8)
    ]
    found = tally(pairs, clusters={str(q): str(q) for q in range(200)})
    assert found.effective is not None
    assert 200 < found.effective < 1600, "eight samples say more than one, and less than eight questions"
    assert (found.clusters, found.questions, found.n) == (200, 200, 1600)


@given(st.lists(st.tuples(st.integers(0, 12), st.sampled_from(OUTCOMES)), min_size=1), st.booleans())
def test_what_the_official_total_leaves_out_is_in_no_cluster(pairs: list[tuple[int, str]], drop: bool) -> None:
    named = [(str(number), outcome) for number, outcome in pairs]
    found = tally(named, drop_missing=drop, clusters={str(number): str(number // 3) for number in range(13)})
    counted = [(number, outcome) for number, outcome in pairs if not (drop and outcome == "missing")]
    assert found.clusters == len({number // 3 for number, _ in counted})
    assert found.effective is None or found.effective <= found.n + 1e-9


@pytest.mark.parametrize(("clips", "share", "together"), [(60, 0.6, 0.5), (200, 0.9, 0.3)])
def test_intervals_by_clip_hold_the_truth_about_95_times_in_100_and_wilsons_do_not(
    clips: int, share: float, together: float
) -> None:
    """Beta-binomial clips of one to eight questions, whose answers have the correlation ``together``."""
    rng = np.random.default_rng(1)
    rounds, held, plain = 600, 0, 0
    for _ in range(rounds):
        sizes = rng.integers(1, 9, clips)
        scale = (1 - together) / together
        right = rng.binomial(sizes, rng.beta(share * scale, (1 - share) * scale, clips))
        effective = effective_size(sizes.tolist(), right.tolist())
        low, high = wilson(right.sum() / sizes.sum() * effective, effective)
        held += low <= share <= high
        low, high = wilson(float(right.sum()), int(sizes.sum()))
        plain += low <= share <= high
    assert 0.93 <= held / rounds <= 0.98
    assert plain / rounds < 0.85, "questions taken as independent make an interval that is too narrow"


def test_newcombes_interval_is_the_published_one() -> None:
    """The first example of his table II: 56 of 70 and 48 of 80, whose difference is 0.2."""
    found = newcombe(56 / 70, wilson(56, 70), 48 / 80, wilson(48, 80))
    assert found == pytest.approx((0.0524, 0.3339), abs=5e-5)
    half = Z95 * (56 / 70 * 14 / 70 / 70 + 48 / 80 * 32 / 80 / 80) ** 0.5
    assert (0.2 - half, 0.2 + half) != pytest.approx((0.0524, 0.3339), abs=5e-5), "the plain interval is another"
    assert newcombe(1.0, (1.0, 1.0), 0.0, (0.0, 0.0)) == (1.0, 1.0)
