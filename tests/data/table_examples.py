"""Tables and clips that the tests of table sources share."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sari_data.audio import encode_wav
from sari_data.sources import load_source
from sari_data.sources.base import Clip, Item, SetAside
from sari_data.types import AudioQuestion

RATE = 8000
NAMES = ("file", "asked", "first", "second", "third", "gold", "kind", "key")
COLUMNS: dict[str, Any] = {
    "audio": "file",
    "question": "asked",
    "choices": ["first", "second", "third"],
    "answer": "gold",
    "domain": "kind",
    "id": "key",
}


def wav(number: int, seconds: float = 0.1) -> bytes:
    """A tone that differs for each number."""
    return encode_wav(0.5 * np.sin(np.arange(int(seconds * RATE)) * 0.01 * (number + 1)), RATE)


def write_clips(folder: Path, count: int) -> Path:
    """Write ``0.wav``, ``1.wav``, ... and return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"{number}.wav").write_bytes(wav(number))
    return folder


def rows(count: int) -> list[dict[str, Any]]:
    """Rows of questions, one a clip."""
    return [
        {
            "file": f"{n}.wav",
            "asked": f"What is heard in “{n}”?",
            "first": "a dog",
            "second": "a cat, purring",
            "third": f"été {n}",
            "gold": ("a dog", "a cat, purring", f"été {n}")[n % 3],
            "kind": ("sound", "mix-sound-speech", "music")[n % 3],
            "key": f"q{n}",
        }
        for n in range(count)
    ]


def write_table(path: Path, found: Sequence[dict[str, Any]]) -> Path:
    """Write rows in the format that the file's suffix says."""
    if path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="", encoding="utf-8") as file:
            tab = path.suffix == ".tsv"
            form: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tab else {}
            writer = csv.DictWriter(file, list(found[0]), lineterminator="\n", **form)
            writer.writeheader()
            writer.writerows(found)
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(list(found)), path, row_group_size=2)
    elif path.suffix == ".json":
        path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
    return path


def read(source: str, seed: int = 0, **options: Any) -> Iterator[Item]:
    """Read items with a source's options as a recipe would give them."""
    module = load_source(source)
    return module.generate(module.Options.model_validate(options), seed)


def parted(items: Iterator[Item]) -> tuple[list[AudioQuestion], list[Clip], list[SetAside]]:
    """Part items by kind."""
    found = list(items)
    return (
        [item for item in found if isinstance(item, AudioQuestion)],
        [item for item in found if isinstance(item, Clip)],
        [item for item in found if isinstance(item, SetAside)],
    )
