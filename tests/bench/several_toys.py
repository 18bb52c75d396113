"""MMAU-Pro's rows about one recording and about several, with audio that says what it is by its level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from published_files import mmau_pro_row, parquet

from sari_bench.benchmarks import load_benchmark
from sari_bench.benchmarks.base import Benchmark
from sari_data.audio import decode, encode_wav
from sari_data.responder import Request
from sari_data.types import AudioRef

RATE = 800
# Recordings by name; the number is the level in hundredths. The rows that name them: two share "b", one is alone.
PATHS = {
    "p0": ["data/r10.wav"],
    "p1": ["data/r20.wav"],
    "p2": ["data/r20.wav"],
    "p3": ["data/r30.wav", "data/r31.wav"],
    "p4": ["./data/r31.wav", "./data/r32.wav"],
    "p5": ["data/r40.wav", "data/r41.wav"],
    "p6": ["data/r50.wav", "data/r51.wav", "data/r52.wav"],
    "p7": ["data/r32.wav"],
}
NAMES = sorted({path.removeprefix("./") for paths in PATHS.values() for path in paths})


def wav(level: float) -> bytes:
    """A short recording of one level, in hundredths; a longer one the louder it is."""
    return encode_wav(np.full(100 + int(level), level / 100), RATE)


def level_of(audio: AudioRef) -> int:
    """The level of a recording, in hundredths."""
    return round(float(np.abs(decode(audio)[0]).max()) * 100)


def heard(request: Request) -> list[int]:
    """The levels of all recordings of a request."""
    return [level_of(audio) for audio in request.recordings]


def pro_rows() -> list[dict[str, Any]]:
    """The rows, as published."""
    return [
        mmau_pro_row(n, audio_path=paths, category="multi" if len(paths) > 1 else "sound")
        for n, paths in enumerate(PATHS.values())
    ]


def pro_files() -> dict[str, bytes]:
    """The recordings by name."""
    return {name: wav(int(Path(name).stem[1:])) for name in NAMES}


def write_pro(folder: Path, *, audio: bool = True) -> Path:
    """The question file with its recordings beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "test.parquet"
    path.write_bytes(parquet(pro_rows()))
    for name, data in pro_files().items() if audio else ():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return path


def pro_benchmark(folder: Path) -> Benchmark:
    """The benchmark with its audio."""
    return load_benchmark("mmau-pro", write_pro(folder))
