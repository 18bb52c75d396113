"""What users get wrong, through the real commands: one clear sentence, exit code 2, and nothing half-done.

Each test names what the sentence must say; none may show a traceback or leave a folder that looks complete.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sari_data.store import MANIFEST, check_corpus, read_split

Run = Callable[..., tuple[int, str, str]]

SMALL = ["--set", "build.sft=3", "--set", "build.dev=3", "--set", "calibrate.responder=none"]
SMALL += [part for d in ("sound", "music", "speech") for part in ("--set", f"build.scenes.questions.{d}=4")]

# A corpus that is not calibrated can be trained on in any order.
RANDOM = ["--set", "grpo.curriculum=random"]


def refused(result: tuple[int, str, str], *said: str) -> None:
    """Assert that a command ended with 2 and one sentence on standard error that says all of ``said``."""
    code, out, err = result
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2, err
    assert len(errors) == 1, err
    assert "Traceback" not in err + out
    assert err.splitlines()[-1] == errors[0], "the error must be the last that is said, on one line"
    for part in said:
        assert part in errors[0]


def whole_corpora(folder: Path) -> list[Path]:
    """Return the folders at or below ``folder`` that look like a complete corpus."""
    return [path.parent for path in folder.rglob(MANIFEST)]


def build_small(run_command: Run) -> Path:
    assert run_command("sari-data", "build", *SMALL)[0] == 0
    return Path("corpus")


def recordings(folder: Path) -> list[str]:
    """Write four labelled recordings; returns the overrides that compose a corpus of them."""
    import numpy as np

    from sari_data.audio import encode_wav

    folder.mkdir()
    time = np.arange(4000) / 16000
    for label, pitch in {"low": 200, "mid": 400, "high": 800, "top": 1600}.items():
        wave = (0.3 * np.sin(2 * np.pi * pitch * time)).astype(np.float32)
        (folder / f"{label}_1.wav").write_bytes(encode_wav(wave, 16000))
    keys = {"folder": str(folder), "domain": "sound", "pattern": "(?P<label>[a-z]+)_.*", "licence": "CC0-1.0"}
    overrides = [f"build.scenes.recordings.{key}={json.dumps(value)}" for key, value in keys.items()]
    overrides += ["build.scenes.questions={sound=12}", "build.sft=4", "build.dev=2", "calibrate.responder=none"]
    return [part for override in overrides for part in ("--set", override)]


def test_recordings_as_they_should_be_make_a_corpus(empty_folder: Path, run_command: Run) -> None:
    """The tests below break one thing each of what works here."""
    assert run_command("sari-data", "build", *recordings(empty_folder / "clips"))[0] == 0
    assert check_corpus("corpus") == []


def test_a_corrupt_audio_file(empty_folder: Path, run_command: Run) -> None:
    overrides = recordings(empty_folder / "clips")
    Path("clips/mid_1.wav").write_bytes(b"RIFF and then nothing that is audio")
    refused(run_command("sari-data", "build", *overrides), "mid_1.wav")
    assert whole_corpora(empty_folder) == []
    assert [p.name for p in empty_folder.iterdir()] == ["clips"]


def test_an_empty_audio_file(empty_folder: Path, run_command: Run) -> None:
    overrides = recordings(empty_folder / "clips")
    Path("clips/mid_1.wav").write_bytes(b"")
    refused(run_command("sari-data", "build", *overrides), "mid_1.wav")
    assert whole_corpora(empty_folder) == []


def test_a_missing_audio_file(empty_folder: Path, run_command: Run) -> None:
    overrides = recordings(empty_folder / "clips")
    Path("labels.csv").write_text("file,label\nlow_1.wav,low\ngone.wav,gone\n", encoding="utf-8")
    keys = [o for pair in zip(overrides[::2], overrides[1::2], strict=True) if "pattern" not in pair[1] for o in pair]
    assert len(keys) == len(overrides) - 2
    result = run_command("sari-data", "build", *keys, "--set", 'build.scenes.recordings.labels_csv="labels.csv"')
    refused(result, "labels.csv", "gone.wav", "missing")
    assert whole_corpora(empty_folder) == []


def test_a_missing_folder_of_recordings(empty_folder: Path, run_command: Run) -> None:
    overrides = recordings(empty_folder / "clips")
    shutil.rmtree("clips")
    refused(run_command("sari-data", "build", *overrides), "clips", "does not exist")
    assert list(empty_folder.iterdir()) == []


def wrong_answer(folder: Path) -> str:
    """Give a row of ``rl`` an answer that is not among its choices; returns the question's id."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    shard = next((folder / "data").glob("rl-*.parquet"))
    table = pq.read_table(shard)
    answers = ["a flying saucer", *table["answer"].to_pylist()[1:]]
    place = table.schema.get_field_index("answer")
    pq.write_table(table.set_column(place, table.schema.field(place), pa.array(answers)), shard)
    return str(table["id"][0].as_py())


@pytest.mark.parametrize(
    "command",
    [
        [
            "sari-data",
            "calibrate",
            "corpus",
            "--responder",
            "scripted",
            "--set",
            "calibrate.options.path=answers.jsonl",
        ],
        ["sari-train", "grpo", "--set", "grpo.model=tiny", "--set", "grpo.out=out"],
        [
            "sari-bench",
            "run",
            "--benchmark",
            "corpus:corpus#rl",
            "--responder",
            "scripted",
            "--responder-option",
            "path=answers.jsonl",
        ],
    ],
    ids=lambda command: command[0],
)
def test_a_row_whose_answer_is_not_among_its_choices(empty_folder: Path, run_command: Run, command: list[str]) -> None:
    folder = build_small(run_command)
    id_ = wrong_answer(folder)
    Path("answers.jsonl").write_text("", encoding="utf-8")
    refused(run_command(*command), id_, "a flying saucer", "choices")
    assert not Path("out").exists()
    code, out, _ = run_command("sari-data", "check", folder)
    assert code == 1
    assert id_ in out
    assert "a flying saucer" in out


@pytest.mark.parametrize(
    ("command", "table", "keys"),
    [
        (["sari-data", "build"], "build", {"sed": 1, "sft": '"many"', "scenes.secnds": 2}),
        (["sari-data", "calibrate", "corpus"], "calibrate", {"sampels": 1, "samples": 0, "mood": 2}),
        (["sari-train", "sft"], "sft", {"stesp": 1, "steps": 0, "learning_rate": '"fast"'}),
        (["sari-train", "grpo"], "grpo", {"group": 1, "group_size": 1, "curriculum": '"hardest"'}),
        (["sari-bench", "run"], "bench", {"bnechmark": 1, "samples": 0, "limit": '"few"'}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_recipe_with_three_wrong_keys_names_all_three_at_once(
    empty_folder: Path, run_command: Run, command: list[str], table: str, keys: dict[str, object]
) -> None:
    Path("recipe.toml").write_text(
        f"[{table}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()), encoding="utf-8"
    )
    result = run_command(*command, "recipe.toml")
    refused(result, "recipe.toml: 3 problems: ", *(f"{table}.{key}: " for key in keys))
    assert [p.name for p in empty_folder.iterdir()] == ["recipe.toml"]


def test_a_recipe_that_is_not_there(empty_folder: Path, run_command: Run) -> None:
    for command in (["sari-data", "build"], ["sari-train", "sft"], ["sari-bench", "run"]):
        refused(run_command(*command, "nowhere.toml"), "nowhere.toml", "neither a file nor one of those that ship")
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize("content", [b"not JSON at all", b"", b'[{"id": 1', b"\xff\xfe\x00"])
def test_a_benchmark_file_that_is_not_json(empty_folder: Path, run_command: Run, content: bytes) -> None:
    Path("questions.json").write_bytes(content)
    Path("answers.jsonl").write_text('{"id": "1", "text": "", "model_output": ""}\n', encoding="utf-8")
    score = ["sari-bench", "score", "--benchmark", "mmau-test-mini", "--predictions", "answers.jsonl"]
    refused(run_command(*score, "--questions", "questions.json"), "questions.json")
    run = ["sari-bench", "run", "--benchmark", "mmau-test-mini", "--questions", "questions.json"]
    refused(
        run_command(*run, "--responder", "scripted", "--responder-option", "path=predictions.json"), "questions.json"
    )
    assert not list(empty_folder.rglob("run.json"))


@pytest.fixture(scope="module")
def without_processor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with config and weights but no processor."""
    pytest.importorskip("torch", reason="a model needs torch: pip install sari-audio[train]")
    from sari_train.models.tiny import build_model, build_processor

    folder = tmp_path_factory.mktemp("models") / "bare"
    build_model(build_processor(["a dog barks, then a bell rings"])).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ["sari-data", "calibrate", "corpus", "--responder", "local", "--model", "MODEL"],
        ["sari-train", "sft", "--set", "sft.model=MODEL", "--set", "sft.out=out"],
        ["sari-train", "grpo", "--set", "grpo.model=MODEL", "--set", "grpo.out=out", *RANDOM],
        ["sari-bench", "run", "--model", "MODEL", "--benchmark", "corpus:corpus#dev", "--mode", "direct"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_model_folder_without_a_processor(
    empty_folder: Path, run_command: Run, without_processor: Path, command: list[str]
) -> None:
    folder = build_small(run_command)
    words = [word.replace("MODEL", str(without_processor)) for word in command]
    refused(run_command(*words), str(without_processor), "no processor")
    assert check_corpus(folder) == []
    assert not Path("out").exists()


def test_a_folder_that_is_no_model(empty_folder: Path, run_command: Run) -> None:
    build_small(run_command)
    Path("model").mkdir()
    command = ["sari-data", "calibrate", "corpus", "--responder", "local", "--model", "./model"]
    refused(run_command(*command), "model", "config.json")


@pytest.mark.parametrize("name", ["manifest.json", "data"])
def test_a_corpus_that_is_incomplete_is_not_used(empty_folder: Path, run_command: Run, name: str) -> None:
    folder = build_small(run_command)
    if name == "data":
        shutil.rmtree(folder / name)
    else:
        (folder / name).unlink()
    for command in (["sari-data", "calibrate", "corpus"], ["sari-train", "sft", "--set", "sft.out=out"]):
        refused(run_command(*command), "corpus")
    assert not Path("out").exists()


FULL = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write past the limit then fails as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (BYTES, BYTES))
from sari_data.cli import main
main()
"""


@pytest.mark.parametrize("limit", [0, 20_000, 200_000])
def test_a_disk_that_fills_while_a_corpus_is_written(tmp_path: Path, limit: int) -> None:
    code = FULL.replace("BYTES", str(limit))
    command = [sys.executable, "-c", code, "build", *SMALL]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    refused((done.returncode, done.stdout, done.stderr), "corpus could not be written", "nothing of it is left")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_while_a_corpus_is_calibrated_leaves_the_old_one(
    empty_folder: Path, run_command: Run
) -> None:
    folder = build_small(run_command)
    lines = [json.dumps({"id": q.id, "text": f"<answer>{q.answer}</answer>"}) for q in read_split(folder, "rl")]
    Path("answers.jsonl").write_text("\n".join(lines), encoding="utf-8")
    before = {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    arguments = ["calibrate", "corpus", "--responder", "scripted", "--samples", "1"]
    arguments += ["--set", "calibrate.options.path=answers.jsonl"]
    command = [sys.executable, "-c", FULL.replace("BYTES", "100000"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    refused((done.returncode, done.stdout, done.stderr), "corpus could not be written")
    assert {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    assert sorted(p.name for p in empty_folder.iterdir()) == ["answers.jsonl", "corpus"]


def test_a_real_small_disk_that_fills(tmp_path: Path) -> None:
    """In a mount namespace of its own, so that nothing stays mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    in_it = ["unshare", "--mount", "sh", "-e", "-c"]
    mount = f'mount -t tmpfs -o size=300k tmpfs "{disk}"; cd "{disk}"; '
    if shutil.which("unshare") is None or subprocess.run([*in_it, mount], capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here (that needs unshare and the right to mount)")
    build = 'set +e; "$@"; code=$?; ls -A; exit $code'
    command = [
        *in_it,
        mount + build,
        "sh",
        sys.executable,
        "-c",
        "from sari_data.cli import main; main()",
        "build",
        *SMALL,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    refused((done.returncode, done.stdout, done.stderr), "No space left on device", "nothing of it is left")
    assert done.stdout == "", "the disk must be as empty as before"
