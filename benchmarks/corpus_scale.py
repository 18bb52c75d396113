"""What building a corpus takes as it grows: seconds, rows a second and peak memory of each stage's whole.

    python -m benchmarks.corpus_scale --json

Every size is a build of its own, in a process of its own, by the command that a user types: `sari-data build` with a
table of questions, one 10-second clip (16 kHz, 16 bit, 320 kB) to each, through collect, clean (near-duplicates and
sounds, within the corpus), split and write. Clips are made first: tones, chirps and bursts of noise, no two alike; the
time for that does not count. Nothing is calibrated and nobody is asked.

Growth is linear where seconds for each thousand rows stay the same, and memory does not grow with the corpus where
the peak of 32,000 rows is the peak of 1,000: what does grow is a few hundred bytes a question (ids, hashes, counts,
fingerprints), which the last column tells.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine

SIZES = (1000, 4000, 16000, 32000)
RATE, SECONDS = 16000, 10
THINGS = ("a bell", "a drill", "a piano", "rain", "a dog", "a train", "a whistle", "waves", "a drum", "a siren")


def make_clip(path: Path, number: int) -> None:
    """Write a clip of ten seconds: eight events, each a tone, a chirp or a burst of noise at a level of its own."""
    from sari_data.audio import encode_wav

    rng = np.random.default_rng(number)
    samples = rng.normal(0, 0.002, RATE * SECONDS)
    for _ in range(8):
        length = int(rng.uniform(0.3, 2.0) * RATE)
        start = int(rng.integers(0, RATE * SECONDS - length))
        time_s = np.arange(length) / RATE
        kind, hertz = rng.integers(3), rng.uniform(150, 5000)
        if kind == 0:
            wave = np.sin(2 * np.pi * hertz * time_s)
        elif kind == 1:
            wave = np.sin(2 * np.pi * (hertz * time_s + rng.uniform(-300, 300) * time_s**2))
        else:
            wave = rng.normal(0, 0.5, length)
        samples[start : start + length] += rng.uniform(0.05, 0.3) * np.hanning(length) * wave
    path.write_bytes(encode_wav(samples, RATE))


def make_some(folder: str, first: int, last: int) -> None:
    """Write the clips from ``first`` up to ``last``, those that are not there yet."""
    for number in range(first, last):
        path = Path(folder) / f"{number // 1000:03d}" / f"{number:06d}.wav"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            make_clip(path, number)


def row(number: int) -> dict[str, Any]:
    """Return one row of the table."""
    rng = np.random.default_rng([1, number])
    choices = [THINGS[i] for i in rng.choice(len(THINGS), 4, replace=False)]
    return {
        "id": f"{number:06d}",
        "audio": f"{number // 1000:03d}/{number:06d}.wav",
        "question": f"Which of these is heard {('first', 'last', 'longest', 'loudest')[number % 4]}?",
        "choices": choices,
        "answer": choices[int(rng.integers(4))],
        "domain": ("sound", "music", "speech")[number % 3],
    }


def recipe(folder: Path, size: int) -> Path:
    """Write the table and the recipe of one size."""
    table = folder / f"{size}.jsonl"
    table.write_text("".join(json.dumps(row(i)) + "\n" for i in range(size)), encoding="utf-8")
    path = folder / f"{size}.toml"
    path.write_text(
        f'[build]\nsource = "table"\nout = "{folder / f"corpus-{size}"}"\nsft = 0\ndev = {size // 20}\n\n'
        f'[build.table]\npath = "{table}"\naudio = "{folder / "clips"}"\nanswer_form = "text"\nlicence = "CC0-1.0"\n'
        'dataset = "made"\n\n[build.table.columns]\naudio = "audio"\nquestion = "question"\nchoices = "choices"\n'
        'answer = "answer"\ndomain = "domain"\nid = "id"\n\n[calibrate]\nresponder = "none"\n',
        encoding="utf-8",
    )
    return path


def measure(folder: Path, size: int, cache: Path) -> dict[str, Any]:
    """Build one size in a process of its own; returns its seconds, peak memory and what it said."""
    path = recipe(folder, size)
    environment = os.environ | {"SARI_CACHE": str(cache), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", "from sari_data.cli import main; main()", "build", str(path), "--json"]
    started = time.perf_counter()
    with (folder / f"{size}.json").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE, env=environment, text=True)
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"the build of {size} rows ended with {process.returncode}: {said}")
    manifest = json.loads((folder / f"{size}.json").read_text(encoding="utf-8"))
    corpus = Path(manifest["folder"])
    written = sum(split["rows"] for split in manifest["splits"].values())
    size_mib = sum(f.stat().st_size for f in corpus.rglob("*") if f.is_file()) / 2**20
    shutil.rmtree(corpus)
    return {
        "rows": size,
        "written": written,
        "seconds": round(seconds, 1),
        "rows_per_second": round(size / seconds, 1),
        "seconds_per_1000": round(1000 * seconds / size, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mib": round(used.ru_maxrss * 1024 / 2**20 if sys.platform != "darwin" else used.ru_maxrss / 2**20, 1),
        "corpus_mib": round(size_mib, 1),
        "funnel": manifest["funnel"],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all sizes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--folder", type=Path, help="where clips and corpora go (some 22 GB); default: a temporary one")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    folder = given.folder or Path(tempfile.mkdtemp(prefix="corpus-scale-"))
    try:
        (folder / "clips").mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            most = max(given.sizes)
            starts = range(0, most, 500)
            clips = str(folder / "clips")
            list(pool.map(make_some, [clips] * len(starts), starts, [min(s + 500, most) for s in starts]))
        rows = []
        for size in given.sizes:
            # A cache of its own, so that no size profits from what another has computed.
            rows.append(measure(folder, size, folder / f"cache-{size}"))
            print(f"{size:,} rows done", file=sys.stderr)
        # The first size again, its fingerprints known: what a rebuilt corpus costs.
        again = measure(folder, given.sizes[0], folder / f"cache-{given.sizes[0]}")
    finally:
        if given.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    if given.json:
        print(json.dumps({"machine": machine.describe(), "rows": rows, "rebuilt": again}))
        return
    print(machine.line(machine.command()))
    print(f"{'rows':>8}{'seconds':>10}{'rows/s':>9}{'s/1000':>8}{'peak MiB':>10}{'corpus MiB':>12}{'bytes/row':>11}")
    for entry in [*rows, again]:
        grown = (entry["peak_mib"] - rows[0]["peak_mib"]) * 2**20 / max(1, entry["rows"] - rows[0]["rows"])
        print(
            f"{entry['rows']:>8,}{entry['seconds']:>10,.1f}{entry['rows_per_second']:>9,.1f}"
            f"{entry['seconds_per_1000']:>8.2f}{entry['peak_mib']:>10,.1f}{entry['corpus_mib']:>12,.1f}{grown:>11,.0f}"
        )
    print("last row: the first again, with the fingerprints of its clips in the cache")


if __name__ == "__main__":
    main()
