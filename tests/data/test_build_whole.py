"""The paper's recipe from end to end: real metadata, made audio, a chat server for every model that it asks."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer
from paper_corpus import DEV, LIMIT, PLANTED, SAMPLES, SFT, arguments, files, make_world, overrides, serve

from sari_data.answers import follows_grammar, grade
from sari_data.calibrate import NEVER_PASSED
from sari_data.cli import main
from sari_data.prompting import render_target
from sari_data.store import ASIDE, check_corpus, read_manifest, read_split
from sari_data.types import AudioQuestion

SOURCES = {"audioset": "audioset", "musicbench": "MusicBench", "meld": "MELD", "avqa": "avqa"}


@dataclass(frozen=True)
class Built:
    """A corpus, and how the server was asked for it: (asked, answered) by the first build, asked by the second."""

    world: Path
    sets: list[str]
    asked: int
    answered: int
    first: dict[str, bytes]
    again: dict[str, bytes]
    asked_again: int

    @property
    def corpus(self) -> Path:
        """The folder."""
        return self.world / "corpus"

    @property
    def rows(self) -> dict[str, list[AudioQuestion]]:
        """The questions of each split."""
        return {split: read_split(self.corpus, split) for split in read_manifest(self.corpus)["splits"]}

    @property
    def asides(self) -> list[dict[str, Any]]:
        """What was set aside."""
        return [json.loads(line) for line in (self.corpus / ASIDE).read_text("utf-8").splitlines()]


def run(sets: list[str], *more: str) -> int:
    """Run ``sari-data build`` in this process; returns its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["sari-data", *arguments(sets, *more)])
        with pytest.raises(SystemExit) as ending:
            main()
    return int(ending.value.code or 0)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Built:
    """The corpus, built twice; tests only read it."""
    world = make_world(tmp_path_factory.mktemp("world"), shared_data)
    with pytest.MonkeyPatch.context() as patch, ChatServer(serve) as server:
        patch.chdir(world)
        patch.setenv("SARI_CACHE", str(world / "cache"))
        sets = overrides(server.url, shared_data)
        assert run(sets) == 0
        asked, answered, first = server.asked.total(), server.answered.total(), files(world / "corpus")
        assert set(server.answered.values()) == {1}
        assert run(sets, "--overwrite") == 0
        again, asked_again = files(world / "corpus"), server.asked.total() - asked
        assert server.peak <= 8
    return Built(world, sets, asked, answered, first, again, asked_again)


def test_a_corpus_that_is_built_again_asks_nothing_and_has_the_same_bytes(built: Built) -> None:
    assert built.asked == built.answered > 150
    assert built.asked_again == 0
    assert sorted(built.first) == sorted(built.again)
    assert {name for name in built.first if built.first[name] != built.again[name]} == set()
    assert sorted(path.name for path in built.world.iterdir()) == ["cache", "corpus", "data"]


def test_every_stage_is_in_the_funnel_and_adds_up(built: Built) -> None:
    manifest, asides = read_manifest(built.corpus), built.asides
    funnel = {stage["stage"]: stage for stage in manifest["funnel"]}
    collected = [f"collect {source}" for source in SOURCES]
    later = ["caption", "question", "clean", "caption for chains", "reason", "calibrate"]
    assert list(funnel) == [*collected, *later]
    asked_with = {name.partition("/")[2].removesuffix(".jinja") for name in manifest["prompts"]}
    assert asked_with >= {"clip_caption", "clip_questions", "chain_structured", "chain_unstructured", "chain_judge"}
    for name, stage in funnel.items():
        assert stage["in"] == stage["out"] + sum(stage["dropped"].values()), name
        assert stage["in"] > 0, name
    # What comes out of one stage goes into the next.
    out = sum(funnel[name]["out"] for name in collected)
    rows = built.rows
    assert funnel["question"]["in"] == out - LIMIT - funnel["caption"]["in"] + funnel["caption"]["out"]
    assert funnel["clean"]["in"] == funnel["question"]["out"] + LIMIT  # AVQA brings its own questions
    assert funnel["clean"]["out"] == sum(map(len, rows.values()))
    assert funnel["calibrate"]["in"] == funnel["clean"]["out"] - SFT - DEV
    assert funnel["calibrate"]["out"] == len(rows["rl"])
    assert funnel["calibrate"]["dropped"] == {f"to the side file {NEVER_PASSED}": len(rows[NEVER_PASSED])}
    # Whatever was dropped is a line of its own, with its reason; questions in side files are there themselves.
    told = Counter((line["stage"], line["reason"]) for line in asides)
    counted: Counter[tuple[str, str]] = Counter()
    for name, stage in funnel.items():
        if name != "calibrate":
            for reason, number in stage["dropped"].items():
                counted[name.split()[0], reason.removesuffix(" (left to rl)").removesuffix(" (left without)")] += number
    assert told == counted
    assert manifest["set_aside"] == len(asides)
    assert {"collect", "caption", "question", "clean", "reason"} == {line["stage"] for line in asides}


def test_what_was_set_aside_says_what_it_was_and_where_from(built: Built) -> None:
    for line in built.asides:
        assert line["reason"]
        assert line["id"]
        assert line["detail"]
        assert {"dataset", "source_id", "licence"} <= set(line["provenance"])
        assert line["provenance"]["dataset"] in SOURCES.values()


def test_all_four_sources_are_there_with_what_is_known_of_every_row(built: Built) -> None:
    rows = [question for split in built.rows.values() for question in split]
    numbers = Counter(question.provenance.dataset for question in rows)
    assert set(numbers) == set(SOURCES.values())
    for question in rows:
        found = question.provenance
        assert found.source_id
        assert found.licence
        assert {"question", "choices", "answer"} <= set(found.made_by), found
        assert found.youtube_id or found.dataset == "MELD"  # episodes are not on YouTube
        assert ("caption" in found.made_by) == (question.caption is not None)
        asked = found.dataset != "avqa"
        assert found.made_by["question"].startswith("toy@made#" if asked else "dataset:avqa"), found
        assert question.audio.data, "the audio is inside"
        assert len(question.choices) == 4
    assert read_manifest(built.corpus)["licences"] == Counter(q.provenance.licence for q in rows)


def test_splits_are_as_asked_and_share_no_clip(built: Built) -> None:
    rows = built.rows
    assert (len(rows["sft"]), len(rows["dev"])) == (SFT, DEV)
    clips = [{question.audio.key for question in split} for split in rows.values()]
    assert len(set().union(*clips)) == sum(map(len, clips))
    videos = [{q.provenance.youtube_id for q in rows[split] if q.provenance.youtube_id} for split in ("sft", "dev")]
    rest = {q.provenance.youtube_id for split in ("rl", NEVER_PASSED) for q in rows[split]}
    assert not videos[0] & videos[1]
    assert not (videos[0] | videos[1]) & rest


def test_the_chains_can_be_read_back_and_lead_to_the_gold(built: Built) -> None:
    rows = built.rows
    for question in rows["sft"]:
        for mode in ("structured", "unstructured"):
            target = render_target(question, mode)
            assert follows_grammar(target, mode)
            assert grade(target, question).correct
            assert f"reasoning.{mode}" in question.provenance.made_by
            assert f"reasoning.{mode}.judge" in question.provenance.made_by
    assert any(q.provenance.dataset == "avqa" and q.caption for q in rows["sft"])
    assert not any(q.reasoning.structured for split in ("rl", "dev") for q in rows[split])


def test_what_is_in_a_benchmark_is_out_and_reported(built: Built) -> None:
    found = read_manifest(built.corpus)["contamination"]
    dropped = [line for line in built.asides if line["reason"] == "in a benchmark"]
    assert len(dropped) == PLANTED
    assert all("segment (overlap" in line["detail"] and "MMAR-meta" in line["detail"] for line in dropped)
    assert sorted(one["name"] for one in found["against"]) == ["MMAR-meta", "mmau-test-mini.v05.15.25"]


def test_pass_rates_are_those_of_the_server_heard_and_unheard(built: Built) -> None:
    rows = built.rows
    [summary] = read_manifest(built.corpus)["calibrations"]
    assert summary["questions"] == len(rows["rl"]) + len(rows[NEVER_PASSED])
    for question in rows["rl"] + rows[NEVER_PASSED]:
        assert [(rate.audio, rate.samples) for rate in question.pass_rates] == [
            (heard, SAMPLES) for heard in ("own", "none", "other")
        ]
    assert all(not any(r.passes for r in q.pass_rates if r.audio == "own") for q in rows[NEVER_PASSED])
    assert all(any(r.passes for r in q.pass_rates if r.audio == "own") for q in rows["rl"])


def test_it_is_sound_has_its_card_and_opens_with_datasets(built: Built, tmp_path: Path) -> None:
    import datasets

    assert check_corpus(built.corpus) == []
    card = (built.corpus / "README.md").read_text("utf-8")
    assert "{{" not in card
    for name in (*SOURCES.values(), "MMAR-meta", "toy@made", "in a benchmark", "audio is missing"):
        assert name in card, name
    loaded = datasets.load_dataset(str(built.corpus), cache_dir=str(tmp_path))
    counts = {split: found["rows"] for split, found in read_manifest(built.corpus)["splits"].items()}
    assert {name: len(split) for name, split in loaded.items()} == {n: counts[n] for n in ("sft", "rl", "dev")}
