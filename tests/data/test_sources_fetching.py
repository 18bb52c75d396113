"""Data sets that lie on the Hub as tables and archives: the real client fetches them from a server on this machine."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hub_server import COMMIT, serving
from table_examples import wav

from sari_data.errors import InputError
from sari_data.sources.fetching import fetched

REPO = "lab/avqa"
READ = """
import json, sys
from sari_data.errors import SariError
from sari_data.sources import load_source
source = load_source("avqa")
for options in json.loads(sys.argv[1]):
    found = []
    try:
        for item in source.generate(source.Options.model_validate_json(json.dumps(options)), 0):
            found.append([type(item).__name__, item.provenance.source_id, getattr(item, "reason", "")])
    except SariError as error:
        found = [type(error).__name__, str(error)]
    print(json.dumps(found))
"""
VIDEOS = ("-HG3Omg_89c_000030", "-HIPq7T3eFI_000011", "-IBXTktoom8_000030")


def packed(names: list[str], *, outside: bool = False) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in names:
            data = wav(VIDEOS.index(name))
            entry = tarfile.TarInfo(f"{'../../' if outside else 'clips/'}{name}.wav")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def rows() -> bytes:
    made = [
        {
            "id": number,
            "video_name": name,
            "video_id": number,
            "question_text": "What is heard in the video?",
            "multi_choice": ["dog", "cat", "rain", "car"],
            "answer": number,
            "question_relation": "Both",
            "question_type": "Which",
        }
        for number, name in enumerate(VIDEOS)
    ]
    return json.dumps(made).encode()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {
        "README.md": b"# AVQA",
        "train_qa.json": rows(),
        "audio/part0.tar.gz": packed(list(VIDEOS[:1])),
        "audio/part1.tar.gz": packed(list(VIDEOS[1:2])),
        "odd/outside.tar.gz": packed(list(VIDEOS[:1]), outside=True),
        "odd/broken.tar.gz": b"not an archive at all",
    }


def read(folder: Path, endpoint: str, *options: dict[str, Any]) -> list[Any]:
    """Read in a process of its own, since the Hub's client reads its settings once; one after the other."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "SARI_CACHE": str(folder / "cache")}
    command = [sys.executable, "-c", READ, json.dumps(options)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_tables_and_archives_are_fetched_of_one_commit_and_unpacked_once(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    asked_for = {"questions": [f"hub:{REPO}/train_qa.json"], "audio": f"hub:{REPO}/audio/part*.tar.gz"}
    with serving(REPO, files) as (endpoint, asked):
        (found,) = read(tmp_path, endpoint, asked_for)
        first = len([x for x in asked if x[0] == "GET" and "/resolve/" in x[1]])
        (again,) = read(tmp_path, endpoint, asked_for)
        fetched_again = [x for x in asked if x[0] == "GET" and "/resolve/" in x[1]][first:]
    assert [(kind, reason) for kind, _, reason in found] == [
        ("AudioQuestion", ""),
        ("AudioQuestion", ""),
        ("SetAside", "audio is missing"),
    ]
    assert again == found
    assert first == 3
    assert fetched_again == []
    assert {path.split("/resolve/")[1].split("/")[0] for _, path, _ in asked if "/resolve/" in path} == {COMMIT}


def test_what_is_not_there_is_one_sentence(tmp_path: Path, files: dict[str, bytes]) -> None:
    said = {
        f"hub:{REPO}/nothing*.tar": "expected such a file in the repository, found only README.md, audio/",
        f"hub:{REPO}/train_qa.json": "expected archives (.tar, .tar.gz, .tgz, .zip), found 'train_qa",
        f"hub:{REPO}/odd/broken.tar.gz": "expected an archive, found a file that does not unpack",
        f"hub:{REPO}/odd/outside.tar.gz": "expected files below the archive's own folder, found '../../",
        "hub:lab/nobody/a.tar": "expected a data set on the Hub, found none",
    }
    with serving(REPO, files) as (endpoint, _):
        questions = [f"hub:{REPO}/train_qa.json"]
        found = read(tmp_path, endpoint, *({"questions": questions, "audio": audio} for audio in said))
    for (kind, message), (audio, expected) in zip(found, said.items(), strict=True):
        assert kind in ("InputError", "MissingFileError")
        assert expected in message, audio
    assert not [p for p in tmp_path.rglob("*.wav") if "cache" not in p.parts], "nothing is written outside the cache"
    assert not list((tmp_path / "cache").rglob(".*")) if (tmp_path / "cache").exists() else True


def test_a_place_that_names_no_file_is_refused() -> None:
    from sari_data.sources.avqa import Options

    with pytest.raises(InputError, match="expected hub:owner/name/path"):
        fetched(Options(questions=("hub:lab/avqa",)), ("questions",), "audio")


def test_local_paths_stay_as_they_are() -> None:
    from sari_data.sources.avqa import Options

    given = Options(questions=("a.json", "b.json"), audio="clips")
    assert fetched(given, ("questions",), "audio") == given
