"""``sari-data check --against``: what it prints, how it ends, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from dedup_examples import RATE, ask, coded, corpus, melody, wav, write_wav

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    questions = [ask(wav(melody(seed, 3.0)), f"Which of {seed} sounds?", answer="flute") for seed in range(3)]
    return corpus(tmp_path / "corpus", questions)


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    """A benchmark with the corpus's first recording, cut and coded, under another text."""
    row = {"id": "b1", "question": "Who [b] plays?", "choices": ["a", "b"], "answer": "a", "audio": "x.ogg"}
    (tmp_path / "bench.json").write_text(json.dumps([row]))
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "x.ogg").write_bytes(coded(melody(0, 3.0)[RATE // 2 :], "OGG", 0.4))
    return tmp_path / "bench.json"


def test_a_contaminated_corpus_ends_with_1(folder: Path, benchmark: Path, run_command: Run) -> None:
    audio = f"{benchmark}={benchmark.parent / 'audio'}"
    code, out, _ = run_command("sari-data", "check", folder, "--against", benchmark, "--audio-of", audio)
    assert code == 1
    assert "contaminated: 1 of 3 questions" in out
    assert "sound fingerprint 1" in out
    assert "of b1 in bench" in out
    code, out, _ = run_command(
        "sari-data", "check", folder, "--against", benchmark, "--audio-of", benchmark.parent / "audio", "--json"
    )
    report = json.loads(out)["contamination"]
    assert code == 1
    assert report["contaminated"] == 1
    assert report["against"][0]["by_kind"] == {"sound_fingerprint": 1}


def test_a_clean_corpus_ends_with_0_and_says_what_was_not_compared(
    folder: Path, benchmark: Path, run_command: Run
) -> None:
    code, out, _ = run_command("sari-data", "check", folder, "--against", benchmark)
    assert code == 0
    assert "its audio is not there" in out
    assert "contaminated: 0 of 3 questions" in out
    code, out, _ = run_command("sari-data", "check", folder, "--json")
    assert code == 0
    assert "contamination" not in json.loads(out)


def test_a_recipe_names_the_benchmark(folder: Path, benchmark: Path, tmp_path: Path, run_command: Run) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(f'[dedup]\nagainst = [{{path = "{benchmark}", audio = "{tmp_path / "audio"}", name = "B"}}]\n')
    code, out, _ = run_command("sari-data", "check", folder, recipe)
    assert code == 1
    assert "of b1 in B" in out
    assert run_command("sari-data", "check", folder, recipe, "--set", "dedup.sound=false")[0] == 0


def test_a_folder_of_audio_is_a_benchmark(folder: Path, tmp_path: Path, run_command: Run) -> None:
    write_wav(tmp_path / "held out" / "[x].wav", 0.3 * melody(2, 3.0))
    code, out, _ = run_command("sari-data", "check", folder, "--against", tmp_path / "held out")
    assert code == 1
    assert "of [x].wav in held out" in out


def test_wrong_arguments_end_with_2_and_one_sentence(folder: Path, benchmark: Path, run_command: Run) -> None:
    for arguments, says in (
        (("--against", "nowhere.json"), "nowhere.json"),
        (("--audio-of", "x"), "--against"),
        (("--against", benchmark, "--audio-of", "other.json=x"), "PATH=FOLDER"),
        (("--against", benchmark, "--audio-of", "nowhere"), "nowhere"),
    ):
        code, _, err = run_command("sari-data", "check", folder, *arguments)
        assert code == 2
        assert says in err
        assert "Traceback" not in err
