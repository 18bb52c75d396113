"""The command ``sari-data``, run through its own ``main``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sari_data.commands.arguments import optional_repo
from sari_data.commands.build import _print_funnel
from sari_data.store import read_manifest, read_split

Run = Callable[..., tuple[int, str, str]]

SMALL = ["--set", "build.sft=3", "--set", "build.dev=3"]
SMALL += [part for d in ("sound", "music", "speech") for part in ("--set", f"build.scenes.questions.{d}=4")]
PLAIN = [*SMALL, "--set", "calibrate.responder=none"]


def answers(folder: Path, path: Path, samples: int = 2) -> Path:
    """Record right answers to every question of ``rl``, but to its first none."""
    lines = []
    for number, question in enumerate(read_split(folder, "rl")):
        text = "I cannot tell" if number == 0 else f"<answer>{question.answer}</answer>"
        lines += [json.dumps({"id": question.id, "sample": s, "text": text}) for s in range(samples)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_build_without_a_recipe_makes_the_default_corpus_and_says_where_from(
    empty_folder: Path, run_command: Run
) -> None:
    code, out, err = run_command("sari-data", "build", *PLAIN)
    assert code == 0
    assert "embedded default" in err
    assert "nothing is downloaded" in err
    stages = ("collect:", "split:", "calibrate:", "write:")
    assert [line.partition(" ")[0] for line in err.splitlines() if line.partition(" ")[0] in stages] == list(stages)
    assert str(empty_folder / "corpus") in out
    assert read_manifest("corpus")["splits"] == {"sft": {"rows": 3}, "rl": {"rows": 6}, "dev": {"rows": 3}}


def test_a_build_ends_with_its_funnel_and_what_is_in_a_benchmark(empty_folder: Path, run_command: Run) -> None:
    assert run_command("sari-data", "build", *PLAIN, "--out", "first")[0] == 0
    asked = ["--set", 'dedup.against=[{path="first"}]', "--set", "dedup.on_contamination=mark"]
    code, out, _ = run_command("sari-data", "build", *PLAIN, *asked, "--out", "again")
    assert code == 0
    lines = [[cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in out.splitlines()]
    assert ["stage", "in", "out", "left out and why"] in lines
    assert ["collect scenes", "12 items", "12", ""] in lines
    assert ["clean", "12 questions", "12", ""] in lines
    assert "contaminated: 12 of 12 questions" in out.splitlines()


def test_the_funnel_names_every_reason_and_the_bands_of_an_adaptive_calibration(
    capfd: pytest.CaptureFixture[str],
) -> None:
    stage = {"stage": "question", "unit": "clips", "in": 1200, "out": 2000, "made": "questions"}
    bands = {"never": 3, "hard": 0, "medium": 1, "easy": 0, "always": 2}
    manifest = {
        "funnel": [stage | {"dropped": {"audio is missing": 1100, "[odd] reason": 4}}],
        "contamination": {"checked": False, "contaminated": 0},
        "calibrations": [{"method": "adaptive", "samples": 2.5, "histogram": bands}],
    }
    _print_funnel(manifest)
    out = capfd.readouterr().out
    for words in ("1,200 clips", "2,000 questions", "1,100 audio is missing", "4 [odd] reason"):
        assert words in out
    assert "compared with no benchmark" in out
    assert [line.split()[1:4:2] for line in out.splitlines() if line.startswith("│ never")] == [["never", "3"]]


def test_a_build_is_not_overwritten_by_mistake(empty_folder: Path, run_command: Run) -> None:
    assert run_command("sari-data", "build", *PLAIN)[0] == 0
    before = read_manifest("corpus")
    code, out, err = run_command("sari-data", "build", *PLAIN, "--seed", "8")
    assert (code, out) == (2, "")
    assert "--overwrite" in err
    assert read_manifest("corpus") == before
    assert run_command("sari-data", "build", *PLAIN, "--seed", "8", "--overwrite")[0] == 0
    assert read_manifest("corpus")["seed"] == 8


def test_json_is_all_there_is_on_standard_output(empty_folder: Path, run_command: Run) -> None:
    code, out, _ = run_command("sari-data", "build", *PLAIN, "--out", "7", "--json")
    assert code == 0
    result = json.loads(out)
    assert result["folder"] == str(empty_folder / "7")
    assert result["counts"]["sft"]["questions"] == 3
    assert {k: v for k, v in result.items() if k not in ("folder", "url")} == read_manifest("7")
    code, out, _ = run_command("sari-data", "check", "7", "--json")
    assert (code, json.loads(out)["sound"]) == (0, True)
    code, out, _ = run_command("sari-data", "sources", "--json")
    assert code == 0
    assert "scenes" in [s["name"] for s in json.loads(out)["sources"]]


def test_options_win_over_the_recipe(empty_folder: Path, run_command: Run) -> None:
    Path("mine.toml").write_text('[build]\nout = "there"\nseed = 4\nsft = 2\ndev = 1\n', encoding="utf-8")
    assert run_command("sari-data", "build", "mine.toml", *PLAIN, "--out", "here", "--seed", "5")[0] == 0
    assert not Path("there").exists()
    assert read_manifest("here")["seed"] == 5


def test_calibrate_prints_a_histogram_and_keeps_a_sound_corpus(empty_folder: Path, run_command: Run) -> None:
    run_command("sari-data", "build", *PLAIN)
    recorded = answers(Path("corpus"), empty_folder / "answers.jsonl")
    how = ["--responder", "scripted", "--samples", "2", "--mode", "direct", "--seed", "3"]
    how += ["--set", f"calibrate.options.path={recorded}", "--set", "calibrate.options.name=replay"]
    code, out, _ = run_command("sari-data", "calibrate", "corpus", *how)
    assert code == 0
    assert "0/2" in out
    assert "1 never passed" in out
    assert run_command("sari-data", "check", "corpus")[0] == 0
    assert len(read_split("corpus", "never_passed")) == 1
    assert all(q.pass_rates[0].passes == 2 for q in read_split("corpus", "rl"))


def test_calibrate_as_json(empty_folder: Path, run_command: Run) -> None:
    run_command("sari-data", "build", *PLAIN)
    recorded = answers(Path("corpus"), empty_folder / "answers.jsonl")
    Path("mine.toml").write_text(
        f'[calibrate]\nresponder = "scripted"\nsamples = 2\noptions.path = "{recorded}"\n', encoding="utf-8"
    )
    code, out, _ = run_command("sari-data", "calibrate", "corpus", "mine.toml", "--json")
    assert code == 0
    assert json.loads(out)["histogram"] == {"0": 1, "1": 0, "2": 5}


def test_check_finds_what_is_wrong_and_ends_with_1(empty_folder: Path, run_command: Run) -> None:
    run_command("sari-data", "build", *PLAIN)
    shard = next(Path("corpus/data").glob("rl-*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-200])
    code, out, _ = run_command("sari-data", "check", "corpus")
    assert code == 1
    assert "problem: data/rl-00000.parquet: its SHA-256 is not the manifest's" in out
    code, out, _ = run_command("sari-data", "check", "corpus", "--json")
    assert code == 1
    assert json.loads(out)["sound"] is False
    assert len(json.loads(out)["problems"]) >= 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["build", "--push-to-hub"], ["build", "--push-to-hub"]),
        (["build", "--push-to-hub", "a/b"], ["build", "--push-to-hub", "--repo", "a/b"]),
        (["build", "--push-to-hub=a/b"], ["build", "--push-to-hub", "--repo", "a/b"]),
        (["build", "--push-to-hub", "--seed", "3"], ["build", "--push-to-hub", "--seed", "3"]),
        (["build", "demo", "--push-to-hub", "b"], ["build", "demo", "--push-to-hub", "--repo", "b"]),
        (["build", "--push-to-hub", "a", "demo"], ["build", "--push-to-hub", "--repo", "a", "demo"]),
    ],
)
def test_the_repository_after_the_flag_is_optional(given: list[str], expected: list[str]) -> None:
    assert optional_repo(given) == expected


@given(st.lists(st.text(max_size=8).filter(lambda text: not text.startswith("--push-to-hub"))))
def test_other_arguments_are_left_as_they_are(arguments: list[str]) -> None:
    assert optional_repo(arguments) == arguments
