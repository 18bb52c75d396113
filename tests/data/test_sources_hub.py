"""Tables on the Hub: the real Hub clients read from a small server on this machine that speaks the Hub's protocol."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import COMMIT, serving
from table_examples import COLUMNS, rows, wav

from sari_data.errors import StorageError
from sari_data.hub import transport_errors
from sari_data.sources.hub_tables import find_files

REPO = "lab/quiz"
CARD = """---
configs:
- config_name: default
  data_files:
  - {split: test, path: data/test-*}
  - {split: mini, path: data/mini-*}
- config_name: lines
  data_files: lines.jsonl
---
"""
READ = """
import json, sys
from sari_data.errors import SariError
from sari_data.sources import load_source
source = load_source(sys.argv[1])
try:
    for item in source.generate(source.Options.model_validate_json(sys.argv[2]), 0):
        where = item.provenance.source_id
        print(json.dumps([type(item).__name__, where, getattr(item, "reason", ""), str(getattr(item, "audio", ""))]))
except SariError as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


def _parquet(found: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    made = [{**row, "file": {"bytes": wav(n), "path": row["file"]}} for n, row in enumerate(found)]
    pq.write_table(pa.Table.from_pylist(made), buffer, row_group_size=2, use_dictionary=False)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    lines = [{**row, "file": f"clips/{row['file']}"} for row in rows(3)]
    lines.append({**rows(1)[0], "file": "../../../etc/hostname"})
    return {
        "README.md": CARD.encode(),
        "data/test-00000.parquet": _parquet(rows(4)),
        "data/mini-00000.parquet": _parquet(rows(2)),
        "lines.jsonl": "".join(json.dumps(line) + "\n" for line in lines).encode(),
        "clips/0.wav": wav(0),
        "clips/1.wav": wav(1),
    }


def _read(folder: Path, endpoint: str, source: str = "table", **options: Any) -> list[Any]:
    """Read in a process of its own, since the Hub's clients read their settings once."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "SARI_CACHE": str(folder / "cache")}
    command = [sys.executable, "-c", READ, source, json.dumps({"columns": COLUMNS, **options})]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_split_of_parquet_is_read_by_ranges_and_its_audio_kept(tmp_path: Path, files: dict[str, bytes]) -> None:
    with serving(REPO, files) as (endpoint, asked):
        found = _read(tmp_path, endpoint, path=f"hub:{REPO}", split="test", limit=3)
    assert [kind for kind, *_ in found] == ["AudioQuestion"] * 3
    assert {where for _, where, *_ in found} < {"q0", "q1", "q2", "q3"}
    spool = tmp_path / "cache" / "audio" / "lab--quiz"
    assert sorted(p.read_bytes() for p in spool.rglob("*.wav")) == sorted(wav(int(where[1:])) for _, where, *_ in found)
    got = [(path, part) for method, path, part in asked if method == "GET" and path.endswith(".parquet")]
    assert got
    assert {path for path, _ in got} == {f"/datasets/{REPO}/resolve/{COMMIT}/data/test-00000.parquet"}
    assert all(part and part.startswith("bytes=") for _, part in got), "never the whole file, always of one commit"


def test_paths_in_a_repository_are_fetched_from_it_and_from_nowhere_else(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    with serving(REPO, files) as (endpoint, asked):
        found = _read(tmp_path, endpoint, path=f"hub:{REPO}", config="lines")
    assert [(kind, reason) for kind, _, reason, _ in found] == [
        ("AudioQuestion", ""),
        ("AudioQuestion", ""),
        ("SetAside", "audio is missing"),
        ("SetAside", "audio lies outside the audio folder"),
    ]
    assert not [path for _, path, _ in asked if "hostname" in path]
    assert not [path for _, path, _ in asked if path.endswith(".parquet")]


@pytest.mark.parametrize(
    ("options", "kind", "sentence"),
    [
        ({"path": "hub:lab/other"}, "MissingFileError", "hub:lab/other: expected a data set on the Hub, found none"),
        ({"path": f"hub:{REPO}", "revision": "nowhere"}, "MissingFileError", "expected a data set on the Hub"),
        ({"path": f"hub:{REPO}", "config": "default"}, "InputError", "expected `split` to be one of ['test', 'mini']"),
        ({"path": f"hub:{REPO}", "config": "big"}, "InputError", "name the configuration with `config`"),
    ],
)
def test_what_the_hub_does_not_have_is_one_sentence(
    tmp_path: Path, files: dict[str, bytes], options: dict[str, Any], kind: str, sentence: str
) -> None:
    with serving(REPO, files) as (endpoint, _):
        found = _read(tmp_path, endpoint, **options)
    assert [name for name, *_ in found] == [kind]
    assert sentence in found[0][1]
    assert "\n" not in found[0][1]


@pytest.mark.parametrize("number", range(3))
def test_a_hub_that_cannot_be_reached_is_one_sentence(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    # A refusal, the HTTP client's own error for a lost connection, and that of the standard library.
    kinds = [*transport_errors()[:2], ConnectionError]

    def fail(*arguments: Any, **options: Any) -> None:
        kind: Any = kinds[number]
        raise kind.__new__(kind, "no route")

    monkeypatch.setattr("datasets.load_dataset_builder", fail)
    with pytest.raises(StorageError, match=r"hub:lab/quiz: the Hub could not be read \(.*\): try again later"):
        find_files(f"hub:{REPO}", config=None, split=None, revision=None)


def test_reading_offline_says_what_to_unset() -> None:
    """With the clients themselves, which these tests keep from the network."""
    with pytest.raises(StorageError, match="hub:lab/quiz: the Hub is needed, but HF_HUB_OFFLINE is set: unset it"):
        find_files(f"hub:{REPO}", config=None, split=None, revision=None)
