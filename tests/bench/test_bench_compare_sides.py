"""Comparisons by clip, of samples, of files, of versions in common, and of several runs at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from bench_scores import gold_of, score_of, scored
from hypothesis import given, settings
from hypothesis import strategies as st

from sari_bench.comparing.compare import compare_scores
from sari_bench.comparing.difference_tables import adjust_runs, group_rows, run_rows, runs_note
from sari_bench.comparing.sides import read_sides
from sari_bench.scoring import BenchmarkGolds, Score, summarize
from sari_data.errors import BenchmarkError, InputError, MissingFileError

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 5)), min_size=1, max_size=40)


def _both(pairs: Sequence[tuple[bool, bool, int]]) -> tuple[Score, Score]:
    clips = {f"q{i}": f"clip {clip}" for i, (_, _, clip) in enumerate(pairs)}
    before, after = ({f"q{i}": [0 if p[side] else 1] for i, p in enumerate(pairs)} for side in (0, 1))
    return score_of(before, clips), score_of(after, clips)


@settings(max_examples=40, deadline=None)
@given(PAIRS)
def test_turned_round_a_comparison_says_the_opposite(pairs: list[tuple[bool, bool, int]]) -> None:
    a, b = _both(pairs)
    there, back = compare_scores("a", a, "b", b), compare_scores("b", b, "a", a)
    opposite = {"better": "worse", "worse": "better", "undecided": "undecided"}
    assert back.verdict == opposite[there.verdict]
    assert back.overall.difference == -there.overall.difference
    assert back.overall.interval == pytest.approx([-end for end in there.overall.interval[::-1]])
    assert back.overall.flip_p == pytest.approx(there.overall.flip_p)
    assert (back.overall.p_value, back.overall.needed) == (there.overall.p_value, there.overall.needed)
    low, high = there.overall.deciding_interval
    assert low < high
    assert low - 1e-9 <= there.overall.difference <= high + 1e-9


@settings(max_examples=20, deadline=None)
@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_the_questions_plays_no_part(pairs: list[tuple[bool, bool, int]], random: object) -> None:
    def mixed(score: Score) -> Score:
        items = list(score.items)
        random.shuffle(items)  # type: ignore[attr-defined]
        golds = tuple(item.gold for item in items)
        return summarize(BenchmarkGolds("toy", "1", "0", golds), items, "answer")

    a, b = _both(pairs)
    body, again = compare_scores("a", a, "b", b).to_json(), compare_scores("a", mixed(a), "b", mixed(b)).to_json()
    assert {**again, "transcript": None} == {**body, "transcript": None}


def test_where_clips_repeat_the_clips_decide() -> None:
    """Twelve questions of three clips: by question B would be far ahead, by clip it is three against none."""
    a, b = _both([(False, True, i // 4) for i in range(12)])
    found = compare_scores("a", a, "b", b)
    assert found.overall.p_value is not None
    assert found.overall.p_value < 0.001
    assert found.verdict == "undecided"
    assert "b cannot be told from a: 0.00 to 100.00 %" in found.sentence
    assert (
        "by bootstrap, paired over 12 questions about 3 clips, by clip p = 0.250, McNemar p < 0.001)" in found.sentence
    )
    apart = compare_scores("a", _spread(a), "b", _spread(b))
    assert apart.verdict == "better"


def _spread(score: Score) -> Score:
    """The same score with a clip for each question."""
    items = [replace(item, gold=replace(item.gold, clip=item.gold.id)) for item in score.items]
    return summarize(BenchmarkGolds("toy", "1", "0", tuple(i.gold for i in items)), items, score.scorer)


def test_clips_that_repeat_widen_the_bootstrap_interval() -> None:
    pairs = [(i % 3 == 0, i % 4 != 0, i // 4) for i in range(200)]
    whole = [(a, b, number) for number, (a, b, _) in enumerate(pairs[:50]) for _ in range(4)]
    together = compare_scores("a", _both(whole)[0], "b", _both(whole)[1])
    apart = compare_scores("a", _spread(_both(whole)[0]), "b", _spread(_both(whole)[1]))
    wide, narrow = together.overall.bootstrap, apart.overall.bootstrap
    assert wide is not None
    assert narrow is not None
    assert (wide[1] - wide[0]) == pytest.approx(2 * (narrow[1] - narrow[0]), rel=0.15)


def test_several_samples_have_a_mean_and_a_majority() -> None:
    before = score_of({f"q{i}": [0, 1, 1] for i in range(40)})  # the winning vote is not the first sample's
    after = score_of({f"q{i}": [0, 0, 1] for i in range(40)})
    found = compare_scores("one", before, "two", after)
    assert (found.samples, found.overall.p_value) == (3, None)
    assert found.overall.difference == pytest.approx(1 / 3)
    assert "mean of 3 samples, by clip p < 0.001" in found.sentence
    assert found.voted is not None
    assert (found.voted.overall.difference, found.voted.verdict) == (1.0, "better")
    assert found.notes[0].startswith("by majority vote: two beats one: 0.00 to 100.00 %")
    assert found.to_json()["majority"]["accuracy"] == {"a": 0.0, "b": 100.0}
    one_each = compare_scores("one", score_of({f"q{i}": [1] for i in range(40)}), "two", after)
    assert one_each.voted is not None, "a run with one sample votes with that"


def test_four_samples_of_four_questions_decide_nothing() -> None:
    found = compare_scores(
        "a", score_of({f"q{i}": [1] * 4 for i in range(4)}), "b", score_of({f"q{i}": [0] * 4 for i in range(4)})
    )
    assert found.overall.bootstrap is not None
    assert found.overall.bootstrap[0] < 0.5, "four clips that all agree: no bootstrap, and no certainty"
    assert found.overall.bootstrap[1] == 1.0
    assert (found.overall.flip_p, found.verdict) == (pytest.approx(0.125), "undecided")


def test_tables_by_any_dimension_say_how_many_were_tested() -> None:
    pairs = [(False, i % 5 == 0, i) for i in range(90)]
    a, b = _both(pairs)
    found = compare_scores("a", a, "b", b)
    header, rows = group_rows(found, "task")
    assert header[-2:] == ["p", "adjusted p"]
    assert [row[0] for row in rows] == ["sound", "music", "speech", "all"]
    for part in found.groups["task"].values():
        assert part.p_value is not None
        assert part.adjusted_p is not None
        assert part.p_value <= part.adjusted_p <= 3 * part.p_value
    assert found.group_note("task").startswith("3 groups were tested: of unadjusted p < 0.05 about 0.15 are expected")
    assert found.group_note("category") == ""
    assert set(found.to_json()["by"]) == {"task", "difficulty"}
    assert found.groups["task"] == found.by


def test_an_undecided_comparison_says_how_many_questions_it_would_take() -> None:
    a, b = _both([(i % 2 == 0, i % 2 == 0 or i < 6, i) for i in range(100)])
    found = compare_scores("a", a, "b", b)
    assert (found.overall.won, found.overall.lost, found.verdict) == (3, 0, "undecided")
    assert found.notes[-1].startswith("if the true difference were the +3.00 points found, about ")
    same = compare_scores("a", a, "b", a)
    assert same.overall.needed is None
    assert same.notes == ()
    assert "b cannot be told from a" in same.sentence


def test_versions_are_compared_on_what_both_asked_alike() -> None:
    a, b = _both([(False, True, i) for i in range(30)])
    newer = [replace(i, gold=replace(i.gold, question="Another?")) if i.gold.id < "q12" else i for i in b.items[5:]]
    other = summarize(BenchmarkGolds("toy", "2", "0", tuple(i.gold for i in newer)), newer, "answer")
    with pytest.raises(BenchmarkError, match=r"asked different questions.*--common"):
        compare_scores("a", a, "b", other)
    found = compare_scores("a", a, "b", other, common=True)
    assert found.common is not None
    alike = sum(i.gold.id >= "q12" for i in b.items[5:])
    assert (found.common.n, found.overall.n, found.common.changed) == (alike, alike, 25 - alike)
    assert f"compared on the {alike} questions that both asked alike, of 30 (1) and 25 (2), " in found.notes[0]
    assert found.to_json()["common"]["b"] == {"version": "2", "questions": 25}
    reworded = [item for item in newer if item.gold.question == "Another?"]
    strangers = summarize(BenchmarkGolds("toy", "3", "0", ()), reworded, "answer")
    with pytest.raises(BenchmarkError, match="no question in common"):
        compare_scores("a", a, "b", strangers, common=True)
    assert compare_scores("a", a, "b", b, common=True).common is None, "the same questions are nothing to mention"


def test_several_runs_are_adjusted_for_their_number() -> None:
    a, b = _both([(False, i < 6, i) for i in range(40)])
    found = adjust_runs([compare_scores("a", a, name, b) for name in ("b", "c", "d")])
    assert [c.overall.p_value for c in found] == [0.03125] * 3
    assert [c.overall.adjusted_p for c in found] == [0.09375] * 3
    assert runs_note(found).startswith("3 runs were compared with a")
    assert "0 of them below 0.05" in runs_note(found)
    assert runs_note(found[:1]) == ""
    assert [row[0] for row in run_rows(found)[1]] == ["b", "c", "d"]


def test_real_prediction_files_and_the_revisions_in_common(shared_data: Path) -> None:
    folder = shared_data / "mmau"
    files = [folder / "predictions" / f"{model}.json" for model in ("qwen2-audio-7b-instruct", "r1-aqa")]
    may = read_sides(files, "official", questions=folder / "mmau-test-mini.v05.15.25.json")
    march = read_sides(files, "official", questions=folder / "mmau-test-mini.v03.25.25.json")
    found = compare_scores(march[0].name, march[0].score, march[1].name, march[1].score)
    assert found.verdict == "better"
    assert found.sentence.startswith("r1-aqa beats qwen2-audio-7b-instruct: ")
    assert len(found.groups["sub-category"]) == 27
    assert found.group_note("sub-category").startswith("27 groups were tested: of unadjusted p < 0.05 about 1.35 are")
    across = compare_scores("march", march[1].score, "may", may[1].score, common=True)
    assert across.common is not None
    assert across.common.a == ("v03.25.25", 1000)
    assert (across.overall.won, across.overall.lost) == (0, 0), "what was asked alike is scored alike"
    assert across.common.n + across.common.changed <= 1000


def test_what_cannot_be_a_side(tmp_path: Path) -> None:
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps([{"id": "q1", "model_output": "dog"}]), encoding="utf-8")
    with pytest.raises(InputError, match="do not hold the right answers"):
        read_sides([path, path])
    with pytest.raises(MissingFileError, match="nothing of that name"):
        read_sides([tmp_path / "no", path])
    with pytest.raises(InputError, match="leave --questions out"):
        read_sides([], questions=path)


def test_what_the_official_total_leaves_out_is_said_to_count_here() -> None:
    """Two of four answers are missing: the official accuracy is 50 %, and what is compared is 25 %."""
    golds = {f"q{i}": gold_of(f"q{i}") for i in range(4)}
    about = BenchmarkGolds("toy", "1", "0", tuple(golds.values()))
    few, whole = (
        summarize(about, [scored(gold, one) for gold, one in zip(golds.values(), said, strict=True)], "official")
        for said in ([0, 1, "missing", "missing"], [0, 0, 1, 1])
    )
    assert few.overall.accuracy == 0.5
    found = compare_scores("few", few, "whole", whole)
    assert (found.accuracy_a, found.accuracy_b) == (0.25, 0.5)
    assert "answers that are missing (2 and 0) count as not right here" in found.notes[0]
    assert not any("missing" in note for note in compare_scores("w", whole, "v", whole).notes)
