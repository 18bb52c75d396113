"""What the search for duplicates costs at scale: seconds, CPU-seconds and peak memory.

The questions are made: texts of rule-made and of free form, one in two clips with a video, one fingerprint a clip of
250 peaks as ten seconds have. Computing fingerprints is not part of it: that depends on the audio alone, is done
once for each recording, and is stated by ``benchmarks.duplicates`` a clip. One in a hundred references is planted by
text, one by segment and one by sound.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from sari_data.dedup.collection import Benchmark, Held
from sari_data.dedup.findings import Dedup
from sari_data.dedup.grouping import find_repeats, group_clips
from sari_data.dedup.matching import match_segments, match_sounds, match_texts
from sari_data.dedup.text import Text
from sari_data.fingerprint import Peaks
from sari_data.segments import Segment

# Seconds of audio of a clip, and peaks in it.
_FRAMES, _PEAKS = 312, 250
_EVERY = 100


def _texts(number: int, seed: int) -> Iterator[Text]:
    rng = np.random.default_rng(seed)
    sizes = rng.zipf(1.3, size=(number, 12)) % 20_000
    keys = [
        f"{note} {mode}"
        for note in ["c", "c#", "d", "d#", "e", "f", "f#", "g", "g#", "a", "a#", "b"]
        for mode in ("major", "minor")
    ]
    for i in range(number):
        if i % 3 == 0:
            options = tuple(sorted(keys[k] for k in rng.choice(24, 4, replace=False)))
            yield Text("what is the key of this music", options, options[int(rng.integers(4))])
            continue
        words = [f"word{n}" for n in sizes[i]]
        options = tuple(sorted(f"thing{n} kind{n % 97}" for n in rng.integers(0, 5000, 4)))
        yield Text("what is heard when " + " ".join(words), options, options[0])


def _peaks(rng: np.random.Generator) -> Peaks:
    frames = np.sort(rng.integers(0, _FRAMES, _PEAKS))
    # Lower bins have more peaks, as in speech and music.
    bins = (448 * rng.beta(1, 2, _PEAKS)).astype(np.int64)
    # Ordered by frame and bin, and each once, as fingerprints are.
    return np.unique(frames * 512 + bins).astype(np.uint32)


def fill(held: Held, number: int, seed: int, name: str) -> None:
    """Put made questions in, each with a clip of its own, a text, and every second one with a part of a video."""
    rng = np.random.default_rng(seed)
    for i, text in enumerate(_texts(number, seed)):
        segment = Segment(f"{name}{i // 3:09d}", 30.0 * (i % 3), 30.0 * (i % 3) + 10) if i % 2 else None
        held.ids.append(f"{name}{i}")
        held.text_numbers.append(held.texts.add(text))
        clip, _ = held.clips.add(f"{name}{i}", segment)
        held.clips.peaks.put(clip, _peaks(rng))
        held.clip_numbers.append(clip)


def _plant(held: Held, benchmark: Benchmark, seed: int) -> None:
    """Put one in a hundred of the corpus's texts, segments and sounds into the benchmark."""
    rng = np.random.default_rng(seed)
    apart = 2 * ((len(held.ids) - 3) // (2 * len(range(0, len(benchmark.ids), _EVERY))))
    if apart < 4:
        raise SystemExit(f"{len(held.ids)} questions are too few to plant {len(benchmark.ids)} // {_EVERY} in")
    for i in range(0, len(benchmark.ids), _EVERY):
        # Even, so that the one after it has a segment, and each another one.
        source = i // _EVERY * apart
        text = held.texts[held.text_numbers[source + 1]]
        known = held.clips.peaks[source + 2]
        kept = known[(known >> 9 > 40) & (rng.random(len(known)) < 0.7)]
        clip, _ = benchmark.clips.add(f"planted{i}", None)
        benchmark.clips.peaks.put(clip, kept - np.uint32(40 << 9))
        planted = ((text, None, -1), (None, held.clips.segments[source + 1], -1), (None, None, clip))
        for own, segment, number in planted:
            benchmark.ids.append(f"planted{len(benchmark.ids)}")
            benchmark.text_numbers.append(-1 if own is None else benchmark.texts.add(own))
            benchmark.segments.append(segment)
            benchmark.clip_numbers.append(number)


def measure(questions: int, references: int) -> dict[str, Any]:
    """Return seconds and peak memory (MiB, of the whole process, made input included) of each part."""
    table = Dedup(sound=True)
    held, benchmark = Held(), Benchmark(name="made")
    fill(held, questions, 1, "c")
    fill(benchmark, references, 2, "b")
    benchmark.segments = list(benchmark.clips.segments)
    _plant(held, benchmark, 3)
    input_mib = _peak_mib()
    recordings = np.arange(questions, dtype=np.int32)
    seconds: dict[str, float] = {}
    found: dict[str, int] = {}
    peaks: dict[str, int] = {}
    begun, spent = time.perf_counter(), time.process_time()
    for name, match in (
        ("text", lambda: match_texts(held, recordings, benchmark, table)),
        ("segment", lambda: match_segments(held, benchmark, table)[0]),
        ("sound", lambda: match_sounds(held, benchmark, table)),
    ):
        started = time.perf_counter()
        matches = match()
        seconds[name] = round(time.perf_counter() - started, 1)
        found[name] = sum(m.counts for m in matches.values())
        peaks[name] = _peak_mib()
    against = time.perf_counter() - begun
    started = time.perf_counter()
    groups = group_clips(held.clips, table)
    find_repeats(held, groups, table, [False] * questions)
    within = time.perf_counter() - started
    return {
        "questions": questions,
        "references": references,
        "planted_each": len(range(0, references, _EVERY)),
        "found": found,
        "seconds": seconds,
        "seconds_against": round(against, 1),
        "peak_mib_after": peaks,
        "input_mib": input_mib,
        "seconds_within": round(within, 1),
        "seconds_all": round(time.perf_counter() - begun, 1),
        "cpu_seconds": round(time.process_time() - spent, 1),
        "recordings_joined": int(questions - len(np.unique(groups.recordings))),
        "peak_mib": _peak_mib(),
    }


def _peak_mib() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
