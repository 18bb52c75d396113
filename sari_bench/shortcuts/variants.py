"""The questions of a benchmark asked otherwise: without audio, with other audio, with silence, with rotated options.

A variant keeps the ids of the questions, and so their random numbers: only what is heard differs. Rotated questions
have ids of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from sari_bench.benchmarks.base import Benchmark, Gold, check_golds, digest_of
from sari_bench.running.run_meta import BuildRequest
from sari_data.errors import BenchmarkError, InputError
from sari_data.pairing import Ring, others, pair_clips
from sari_data.responder import Request
from sari_data.types import AudioQuestion, AudioRef, hash_audio

NO_AUDIO, OTHER_AUDIO, SILENCE, CIRCULAR = "no-audio", "other-audio", "silence", "circular"
VARIANTS = (NO_AUDIO, OTHER_AUDIO, SILENCE, CIRCULAR)


@dataclass(frozen=True, slots=True)
class Variant:
    """A variant that is ready to be asked.

    Args:
        name: One of VARIANTS.
        benchmark: What is asked; a part of the benchmark where some questions cannot be asked so.
        requests: Makes the requests; ``None`` where the benchmark's own questions say it all.
    """

    name: str
    benchmark: Benchmark
    requests: BuildRequest | None = None


def choose_variants(only: Sequence[str]) -> tuple[str, ...]:
    """Return the variants that are wanted, in their order; all where none is named.

    Raises:
        InputError: A name is unknown.
    """
    unknown = [name for name in only if name not in VARIANTS]
    if unknown:
        raise InputError(f"--only takes {', '.join(VARIANTS)}; found {unknown[0]!r}: choose among these")
    return tuple(name for name in VARIANTS if not only or name in only)


def make_variant(name: str, benchmark: Benchmark, seed: int = 0) -> Variant:
    """Make a variant of a benchmark.

    Args:
        name: One of VARIANTS.
        benchmark: The questions with their audio.
        seed: Decides which other clip is heard in ``other-audio``.

    Raises:
        BenchmarkError: There is only one clip, so none is another's.
    """
    if name == NO_AUDIO:
        return Variant(name, benchmark, lambda question, prompt: Request(question.id, None, prompt))
    if name == SILENCE:
        return Variant(
            name,
            benchmark,
            lambda question, prompt: _request(question, prompt, [silence(audio) for audio in question.recordings]),
        )
    if name == CIRCULAR:
        return Variant(name, rotate(benchmark))
    assert name == OTHER_AUDIO, f"expected one of {VARIANTS}, got {name}"
    return _with_other_audio(benchmark, seed)


def silence(audio: AudioRef) -> AudioRef:
    """Return silence as long as ``audio``, at its sampling rate, as a WAV file; of ``audio`` only the header is read.

    Raises:
        MissingFileError: The path is not a file.
        AudioError: Not audio.
    """
    from sari_data.audio import probe

    info = probe(audio)
    whole = max(info.frames - round(audio.start * info.sampling_rate), 1)
    part = whole if audio.duration is None else min(whole, max(round(audio.duration * info.sampling_rate), 1))
    return AudioRef(path="silence.wav", data=_silent_wav(part, info.sampling_rate))


@lru_cache(maxsize=16)  # most benchmarks have few lengths; a clip of a minute takes some MiB
def _silent_wav(frames: int, sampling_rate: int) -> bytes:
    import numpy as np

    from sari_data.audio import encode_wav

    return encode_wav(np.zeros(frames, dtype=np.float32), sampling_rate)


def _request(question: AudioQuestion, prompt: str, recordings: Sequence[AudioRef]) -> Request:
    first, *others = recordings
    return Request(question.id, first, prompt, more_audio=tuple(others))


def _with_other_audio(benchmark: Benchmark, seed: int) -> Variant:
    """Each question with the recordings of another that is about as many: the next in a seeded ring of its task.

    A question about several for which there is no other with as many, all of them others, cannot be asked so.
    """
    donors = _donors_of_one(benchmark, seed) | _donors_of_several(benchmark, seed)
    if not donors:
        raise BenchmarkError(
            f"all {len(benchmark.questions)} questions of benchmark {benchmark.name!r} are about one clip, so there is "
            "no other question's audio to hear: leave other-audio out with --only"
        )
    heard = {benchmark.questions[row].id: donors[row] for row in donors}
    return Variant(
        OTHER_AUDIO,
        benchmark.part(sorted(donors), "about as many recordings as another"),
        lambda question, prompt: _request(question, prompt, heard[question.id]),
    )


def _donors_of_one(benchmark: Benchmark, seed: int) -> dict[int, tuple[AudioRef, ...]]:
    """The other clip that each question about one hears, by the question's place."""
    rows = [row for row, question in enumerate(benchmark.questions) if not question.more_audio]
    keys = [bytes.fromhex(hash_audio(benchmark.questions[row].audio).key) for row in rows]
    pairs = pair_clips(keys, [benchmark.golds[row].task for row in rows], seed)
    first = {key: benchmark.questions[row].audio for key, row in zip(reversed(keys), reversed(rows), strict=True)}
    return {rows[at]: (first[key],) for at, key in pairs.items()}


def _donors_of_several(benchmark: Benchmark, seed: int) -> dict[int, tuple[AudioRef, ...]]:
    """The other recordings that each question about several hears, none of which is one of its own."""
    keys = {
        row: tuple(bytes.fromhex(hash_audio(audio).key) for audio in question.recordings)
        for row, question in enumerate(benchmark.questions)
        if question.more_audio
    }
    first: dict[bytes, int] = {}  # what stands for a row's recordings, to the first row with them
    mark = {row: hashlib.sha256(b"".join(those)).digest() for row, those in keys.items()}
    for row in sorted(keys):
        first.setdefault(mark[row], row)
    rings: dict[tuple[str | None, int], list[bytes]] = {}
    for row, those in keys.items():
        for task in (benchmark.golds[row].task, None):
            rings.setdefault((task, len(those)), []).append(mark[row])
    orders = {group: Ring(marks, seed) for group, marks in rings.items()}
    found = {}
    for row, those in keys.items():
        # Where its task has none, any other.
        near = (orders[task, len(those)] for task in (benchmark.golds[row].task, None))
        donors = (first[other] for other in others(mark[row], *near))
        donor = next((other for other in donors if set(keys[other]).isdisjoint(those)), None)
        if donor is not None:
            found[row] = benchmark.questions[donor].recordings
    return found


def rotate(benchmark: Benchmark) -> Benchmark:
    """Return every question with its options rotated by 1, 2, ... places: ``q#r1``, ``q#r2``, ...

    The question as it stands (rotation 0) is not among them: the run itself has its answers. Rotated by r, the first r
    options stand last.

    Raises:
        BenchmarkError: A question has the id that another's rotation gets.
    """
    golds: list[Gold] = []
    questions: list[AudioQuestion] = []
    own = {gold.id for gold in benchmark.golds}
    for gold, question in zip(benchmark.golds, benchmark.questions, strict=True):
        for by in range(1, len(gold.choices)):
            choices = (*gold.choices[by:], *gold.choices[:by])
            if rotated_id(gold.id, by) in own:
                raise BenchmarkError(
                    f"question {rotated_id(gold.id, by)!r} of benchmark {benchmark.name!r} is called as {gold.id!r} is "
                    "with its options rotated, so their answers could not be told apart: give it another id, or leave "
                    f"{CIRCULAR} out with --only"
                )
            golds.append(replace(gold, id=rotated_id(gold.id, by), choices=choices, clip=gold.cluster))
            questions.append(question.replace(id=rotated_id(question.id, by), choices=choices))
    check_golds(golds, f"benchmark {benchmark.name!r} with rotated options")
    version = f"{benchmark.version}, options rotated"
    return Benchmark(benchmark.name, version, digest_of(golds), tuple(questions), tuple(golds), benchmark.notes)


def rotated_id(identifier: str, by: int) -> str:
    """Return the id of a question whose options are rotated by so many places; by 0 it is the question itself."""
    return f"{identifier}#r{by}" if by else identifier
