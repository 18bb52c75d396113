"""Published rows: exactly the facts that are printed, flags where figures cannot be right, and none where they can."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from refusing import refusal

from sari_bench.published import PublishedRow, checked, known_rows, published_rows, read_published
from sari_bench.published.checking import average_problem, count_remark, reach
from sari_data.errors import MissingFileError

COUNTS = {"sound": 333, "music": 334, "speech": 333}


def _row(figures: dict[str, float | None], average: float | None, **about: object) -> PublishedRow:
    row = PublishedRow("M", "", "mmau-test-mini", "v1", "test-mini", figures, average, "a paper", counts=COUNTS)
    return replace(row, **about)  # type: ignore[arg-type]


def test_the_rows_are_the_facts_that_are_printed(shared_data: Path) -> None:
    facts = json.loads((shared_data / "mmau" / "published_rows.json").read_text(encoding="utf-8"))
    keys = ("model", "version", "split", "average", "source")
    sources = {fact["source"] for fact in facts}
    printed = {
        (*(f[k] for k in keys), f.get("method", "-").strip("-"), f["sound"], f["music"], f["speech"]) for f in facts
    }
    ours = {
        (*(getattr(row, key) for key in keys), row.method, *(row.figures[task] for task in COUNTS))
        for row in known_rows()
        if row.source in sources
    }
    assert len(ours) == len(facts) == 43
    assert ours == printed


def test_exactly_these_rows_are_flagged() -> None:
    copied = [row for row in known_rows() if "home page" not in row.source and row.benchmark.startswith("mmau-test")]
    flagged = {(row.label, row.version, row.split): row for row in copied if row.problem}
    assert set(flagged) == {
        ("Audio Flamingo 3", "v05.15.25", "test-mini"),
        ("DeSTA2.5-Audio", "v05.15.25", "test"),
        ("Qwen2-Audio-7B-Instruct, Direct", "before v05.15.25", "test-mini"),
    }
    flamingo = flagged["Audio Flamingo 3", "v05.15.25", "test-mini"].problem
    assert flamingo == (
        "the printed average 73.30 cannot be that of sound 79.58, music 66.77 and speech 66.37, which give 70.90; "
        "with music 74.47, as in its row on test, they would give 73.47, nearly that"
    )
    assert {(row.label, row.split): row.remark for row in copied if row.remark} == {
        ("Audio Flamingo 3", "test-mini"): "the board itself has music 73.95, with which the average is right",
        ("DeSTA2.5-Audio", "test"): "no number of right answers out of 3,000 gives speech 71.94",
    }


@given(st.tuples(*(st.integers(0, n) for n in COUNTS.values())), st.sampled_from([1, 2]), st.booleans())
def test_what_counts_give_is_never_flagged(right: tuple[int, int, int], decimals: int, cut: bool) -> None:
    def printed(share: float) -> float:
        scale = 10**decimals
        return int(share * 100 * scale + 1e-9) / scale if cut else round(share * 100, decimals)

    figures: dict[str, float | None] = {
        task: printed(k / n) for (task, n), k in zip(COUNTS.items(), right, strict=True)
    }
    row = _row(figures, printed(sum(right) / 1000), exact=True)
    assert average_problem(row) is None
    assert count_remark(row) is None
    plain = sum(k / n for k, n in zip(right, COUNTS.values(), strict=True)) / 3
    assert average_problem(_row(figures, printed(plain))) is None


def test_small_errors_are_flagged() -> None:
    figures: dict[str, float | None] = {"sound": 79.58, "music": 74.55, "speech": 66.37}
    right = round(sum(figures[t] * n for t, n in COUNTS.items()) / 1000, 2)  # type: ignore[operator]
    assert average_problem(_row(figures, right)) is None
    for wrong in (right - 0.05, right + 0.05):
        assert "cannot be" in (average_problem(_row(figures, round(wrong, 2))) or "")
    assert count_remark(_row(figures, right, exact=True)) is None
    assert count_remark(_row({**figures, "sound": 79.43}, right, exact=True)) == (
        "no number of right answers out of 333 gives sound 79.43"
    )
    assert count_remark(_row({**figures, "sound": 79.43}, right)) is None, "counts that may differ are not checked"


def test_what_is_not_known_is_not_flagged() -> None:
    figures: dict[str, float | None] = {"sound": 10.0, "music": 20.0, "speech": 30.0}
    assert average_problem(_row(figures, 29.0, counts={})) is None, (
        "with unknown weights every mean between is possible"
    )
    assert average_problem(_row(figures, 31.0, counts={})) is not None
    assert average_problem(_row({**figures, "music": None}, 90.0)) is None
    assert average_problem(_row(figures, None)) is None
    assert average_problem(_row({"sound": 10.0}, 90.0, counts={})) is None
    assert reach(71.5) == pytest.approx((71.45, 71.6))
    assert reach(71.53) == pytest.approx((71.525, 71.54))
    assert reach(71) == pytest.approx((70.5, 72))


def test_a_repair_is_named_only_where_one_figure_does() -> None:
    bad = _row({"sound": 50.0, "music": 90.0, "speech": 50.0}, 50.0)
    other = replace(bad, split="test", benchmark="mmau-test", figures={"sound": 51.0, "music": 50.0, "speech": 52.0})
    assert (checked([bad, other])[0].problem or "").endswith(
        "with music 50.00, as in its row on test, they would give 50.00"
    )
    third = replace(other, split="third")
    assert "with music" not in (checked([bad, other, third])[0].problem or "")
    assert "with music" not in (checked([bad, replace(other, version="v2")])[0].problem or ""), (
        "another version is no repair"
    )


def test_versions_are_never_mixed() -> None:
    rows = published_rows("mmau-test-mini", "v05.15.25")
    assert {row.version for row in rows} == {"v05.15.25"}
    assert [row.average for row in rows] == sorted((row.average for row in rows), reverse=True)
    assert len(rows) + len(published_rows("mmau-test-mini", "before v05.15.25")) == len(
        published_rows("mmau-test-mini")
    )
    assert published_rows("scenes") == []


JSON_ROW = {
    "model": "Mine",
    "benchmark": "mmau-test-mini",
    "version": "v05.15.25",
    "source": "my paper",
    "average": 50.0,
    "figures": {"sound": 60.0, "music": None, "speech": 40},
}
TOML = """
[[table]]
benchmark = "mmau-test-mini"
version = "v05.15.25"
source = "my paper"
tasks = ["sound", "music", "speech"]
rows = [["Mine", "", 60.0, "-", 40, 50.0]]
"""


def test_both_forms_of_a_users_file_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([JSON_ROW]), encoding="utf-8")
    (tmp_path / "a.toml").write_text(TOML, encoding="utf-8")
    (row,) = read_published(tmp_path / "a.toml")
    assert [row] == read_published(tmp_path / "a.json")
    assert (row.label, row.figures["music"], row.source) == ("Mine", None, "my paper")
    found = published_rows("mmau-test-mini", "v05.15.25", [row])
    assert [one.label for one in found].count("Mine") == 1
    assert len(found) == 1 + len(published_rows("mmau-test-mini", "v05.15.25"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": ""}, "expected text in 'source'"),
        ({"version": None}, "expected text in 'version'"),
        ({"average": 101}, "expected percent from 0 to 100"),
        ({"average": True}, "expected percent"),
        ({"average": float("nan")}, "expected percent"),
        ({"figures": [1, 2]}, "expected 'figures' to be an object"),
        ({"figures": {"sound": "60"}}, "sound: expected percent"),
        ({"counts": {"sound": 3}}, "expected 'counts' to have a number of questions for each"),
        ({"exact": True}, "'exact' only beside it"),
        ({"split": 3}, "expected text in 'split'"),
        ({"avg": 3}, "the unknown ['avg']"),
    ],
)
def test_a_bad_row_is_one_sentence(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "a.json"
    said = refusal(path, json.dumps([{**JSON_ROW, **change}]))
    assert message in said
    assert said.startswith(f"{path}: row 0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = [", "found text that is not"),
        ("x = 1", "found keys ['x']"),
        ("[[table]]\nrows = []", "found no ['benchmark', 'source', 'tasks', 'version']"),
        (TOML.replace('"-", ', ""), "expected model, method, sound, music, speech, average"),
        (TOML.replace('"speech"]', '"speech"]\ncounts = [1, 2]'), "a number for each of"),
        (TOML.replace('tasks = ["sound", "music", "speech"]', "tasks = []"), "a list of names"),
    ],
)
def test_a_bad_toml_file_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path / "a.toml", text)
    with pytest.raises(MissingFileError, match="do not exist"):
        read_published(tmp_path / "b.toml")
