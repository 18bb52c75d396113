"""Fingerprints of many recordings, by several processes, each kept by its content so that none is computed twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from sari_data.errors import AudioError, MissingFileError, SariError, StorageError
from sari_data.fingerprint import VERSION, Peaks, fingerprint
from sari_data.resources import cache_folder
from sari_data.types import AudioRef, hash_audio

CACHE = "fingerprints.sqlite"
# Recordings in flight: with ten-second files inside about 20 MB.
_BATCH = 64
# Below this many recordings to compute in a batch a second process costs more than it gains.
_WORTH_A_PROCESS = 16

T = TypeVar("T")
# What became of a recording: its peaks, or why there are none.
Outcome = Peaks | str


def default_cache() -> Path:
    """Return where fingerprints are kept: ``fingerprints.sqlite`` in ``$SARI_CACHE`` or ``~/.cache/sari``."""
    return cache_folder() / CACHE


def fingerprints(
    refs: Iterable[tuple[T, AudioRef]], *, processes: int | None = None, cache: Path | None = None
) -> Iterator[tuple[T, Outcome]]:
    """Yield the fingerprint of each recording, in order; a few dozen recordings are in memory at a time.

    Args:
        refs: Any name for each recording, and the recording.
        processes: How many processes decode; ``None``: as many as there are cores.
        cache: The file to keep fingerprints in; ``None``: keep none.

    Yields:
        The name, and the peaks or the sentence that says why the audio cannot be read.

    Raises:
        StorageError: The cache cannot be opened or written.
    """
    if cache is None:
        yield from _batches(refs, processes, None)
        return
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(cache, timeout=60)) as store:
            store.execute("PRAGMA journal_mode=WAL")
            store.execute(
                "CREATE TABLE IF NOT EXISTS fingerprints "
                "(key TEXT, version INTEGER, peaks BLOB, PRIMARY KEY (key, version)) WITHOUT ROWID"
            )
            yield from _batches(refs, processes, store)
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, SariError):
            raise
        raise StorageError(
            f"{cache}: expected a file to keep fingerprints in, found that it cannot be used ({error}): remove it, or "
            "name another folder in SARI_CACHE"
        ) from error


def _batches(
    refs: Iterable[tuple[T, AudioRef]], processes: int | None, store: sqlite3.Connection | None
) -> Iterator[tuple[T, Outcome]]:
    import joblib

    processes = processes or joblib.cpu_count()
    source = iter(refs)
    # One pool for all batches: starting processes for each would take longer than the work.
    with joblib.Parallel(processes, idle_worker_timeout=5) as parallel:
        while batch := list(islice(source, _BATCH)):
            keys = [_content_key(ref) for _, ref in batch]
            known = _read(store, [key for key in keys if key is not None])
            outcomes: list[Outcome | None] = [known.get(key) if key else None for key in keys]
            missing = [i for i, outcome in enumerate(outcomes) if outcome is None]
            if processes > 1 and len(missing) >= _WORTH_A_PROCESS:
                made = parallel(joblib.delayed(_make)(batch[i][1]) for i in missing)
            else:
                made = [_make(batch[i][1]) for i in missing]
            for i, outcome in zip(missing, made, strict=True):
                outcomes[i] = outcome
            _write(store, [(keys[i], outcomes[i]) for i in missing])
            for (name, _), outcome in zip(batch, outcomes, strict=True):
                assert outcome is not None
                yield name, outcome


def _make(ref: AudioRef) -> Outcome:
    try:
        return fingerprint(ref)
    except (AudioError, MissingFileError) as error:
        return str(error)


def _content_key(ref: AudioRef) -> str | None:
    """The recording's content key; a path alone is hashed, and ``None`` where there is no file."""
    known = hash_audio(ref)
    return known.key if known.is_known else None


def _read(store: sqlite3.Connection | None, keys: list[str]) -> dict[str, Outcome]:
    if store is None or not keys:
        return {}
    marks = ",".join("?" * len(keys))
    rows = store.execute(
        f"SELECT key, peaks FROM fingerprints WHERE version = ? AND key IN ({marks})", [VERSION, *keys]
    )
    return {key: np.frombuffer(peaks, dtype="<u4").astype(np.uint32) for key, peaks in rows}


def _write(store: sqlite3.Connection | None, made: list[tuple[str | None, Outcome | None]]) -> None:
    # Audio that cannot be read is asked again next time: the file may have been fetched by then.
    rows = [(k, VERSION, p.astype("<u4").tobytes()) for k, p in made if k is not None and isinstance(p, np.ndarray)]
    if store is None or not rows:
        return
    with store:
        store.executemany("INSERT OR IGNORE INTO fingerprints VALUES (?, ?, ?)", rows)
