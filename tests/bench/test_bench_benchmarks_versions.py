"""Revisions: what an unknown file is called, and how revisions are registered and listed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from published_files import mmau_row, write_json

from benchmarks.register_revision import register
from sari_bench.benchmarks import benchmark_module, benchmark_names, load_benchmark, versions
from sari_bench.benchmarks.base import Gold, digest_of
from sari_data.errors import InputError

GOLDS = tuple(
    Gold(f"q{n}", f"What is heard in {n}?", ("dog", "cat", "rain"), "dog", "sound", "Perception", "Counting")
    for n in range(30)
)


def _register(monkeypatch: pytest.MonkeyPatch, folder: Path, *found: tuple[str, tuple[Gold, ...]]) -> None:
    body = {"revisions": [versions.to_entry(name, "here", "2025", golds) for name, golds in found]}
    (folder / "toy.json").write_text(json.dumps(body), encoding="utf-8")
    monkeypatch.setattr(versions, "FOLDER", folder)
    versions.revisions.cache_clear()


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = tuple(dataclasses.replace(gold, answer="cat") if n < 10 else gold for n, gold in enumerate(GOLDS))
    _register(monkeypatch, tmp_path, ("first", GOLDS), ("second", later))


@pytest.mark.usefixtures("registered")
@settings(max_examples=40)
@given(st.sets(st.integers(10, 29)), st.sets(st.integers(10, 29)), st.integers(0, 5), st.booleans())
def test_the_number_is_that_of_the_edits(edited: set[int], dropped: set[int], added: int, later: bool) -> None:
    base = [dataclasses.replace(g, answer="cat") if later and n < 10 else g for n, g in enumerate(GOLDS)]
    edited -= dropped
    found = [
        dataclasses.replace(gold, choices=(*gold.choices, "bell")) if n in edited else gold
        for n, gold in enumerate(base)
        if n not in dropped
    ]
    found += [dataclasses.replace(GOLDS[0], id=f"new{n}") for n in range(added)]
    version, notes = versions.describe("toy", found)
    total = len(edited) + len(dropped) + added
    name = "second" if later else "first"
    if not total:
        assert (version, notes) == (name, ())
        return
    assert version == digest_of(found)[:12]
    noun = "question" if total == 1 else "questions"
    assert notes == (
        f"unregistered revision, differs from {name} in {total} {noun} ({len(edited)} changed, {added} only here, "
        f"{len(dropped)} only there): its version is its content hash, {version}",
    )


@pytest.mark.usefixtures("registered")
def test_of_equally_near_revisions_the_latest_is_named_and_of_far_ones_none() -> None:
    between = [dataclasses.replace(g, answer="cat") if n < 5 else g for n, g in enumerate(GOLDS)]
    assert "differs from second in 5 questions" in versions.describe("toy", between)[1][0]
    strange = [dataclasses.replace(gold, id=f"x{gold.id}") for gold in GOLDS]
    assert "shares no question with the registered ones (first, second)" in versions.describe("toy", strange)[1][0]
    assert versions.describe("nothing", strange) == (digest_of(strange)[:12], ())
    assert [revision.name for revision in versions.revisions("toy")] == ["first", "second"]
    assert versions.revisions("nothing") == ()


def test_an_edited_file_of_mmau_is_told_from_the_nearest_revision(shared_data: Path, tmp_path: Path) -> None:
    rows = json.loads((shared_data / "mmau" / "mmau-test-mini.v05.15.25.json").read_text(encoding="utf-8"))
    for number in range(147):
        rows[number]["answer"] += "."
    rows = [*rows[:-3], {**rows[0], "id": "new"}]
    benchmark = load_benchmark("mmau-test-mini", write_json(tmp_path / "mmau-test-mini.json", rows), audio=False)
    assert benchmark.notes[0].startswith(
        "unregistered revision, differs from v05.15.25 in 151 questions (147 changed, 1 only here, 3 only there)"
    )
    assert "148 of 998 questions have an answer that is not among their choices" in benchmark.notes[1]


def test_what_is_registered_is_as_published_and_holds_no_text(shared_data: Path) -> None:
    files = {"mmau-test-mini": "mmau/mmau-test-mini.v05.15.25.json", "mmar": "mmar/MMAR-meta.jsonl"}
    for name, file in files.items():
        revision = versions.revisions(name)[-1]
        golds = load_benchmark(name, shared_data / file, audio=False).golds
        entry = versions.to_entry(revision.name, revision.source, revision.date, golds)
        assert entry == dataclasses.asdict(revision)
        assert len(revision.questions) == 1000
        assert all(len(digest) == 12 and int(digest, 16) >= 0 for digest in revision.questions.values())


def test_a_revision_is_registered_once(tmp_path: Path) -> None:
    first = write_json(tmp_path / "a.json", [mmau_row(n) for n in range(4)])
    second = write_json(tmp_path / "b.json", [mmau_row(n, answer="rain") for n in range(4)])
    path = register("mmau-test-mini", first, "one", "here", "2025-01-01", tmp_path)
    register("mmau-test-mini", second, "two", "here", "2025-02-01", tmp_path)
    body = json.loads(path.read_text(encoding="utf-8"))
    assert [entry["name"] for entry in body["revisions"]] == ["one", "two"]
    assert "heard" not in path.read_text(encoding="utf-8")
    for again, name in ((first, "three"), (write_json(tmp_path / "c.json", [mmau_row(9)]), "two")):
        with pytest.raises(InputError, match="expected a new revision"):
            register("mmau-test-mini", again, name, "here", "2025", tmp_path)


def test_the_list_says_what_there_is(run_command: Callable[..., tuple[int, str, str]]) -> None:
    code, printed, _ = run_command("sari-bench", "list", "--json")
    listed = {entry["name"]: entry for entry in json.loads(printed)["benchmarks"]}
    assert code == 0
    assert {*benchmark_names(), "corpus:PATH#SPLIT"} == listed.keys()
    assert listed["mmar"]["versions"] == ["rubrics"]
    assert listed["mmau-test-mini"]["hub"] == "gamma-lab-umd/MMAU-test-mini"
    assert [one["questions"] for one in listed["mmau-test-mini"]["revisions"]] == [1000, 1000]
    assert (listed["mmau-test"]["questions"], listed["mmsu"]["questions"]) == (9000, 5000)
    code, printed, _ = run_command("sari-bench", "list")
    assert code == 0
    assert "questions:  9,000" in printed
    assert "Hub:        ddwang2000/MMSU" in printed
    for name in benchmark_names():
        assert benchmark_module(name).HUB or name in ("scenes", "table")
