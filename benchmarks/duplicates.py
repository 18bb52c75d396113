"""Precision and recall of the search for duplicates on planted ones, and what it costs at scale.

    python -m benchmarks.duplicates [--digits FOLDER] [--mmau OLD.json NEW.json [--mmar MMAR.jsonl]] [--json]
    python -m benchmarks.duplicates --scale

Recordings are changed one way at a time and looked for among all of their kind; a wrong one is any pair that was not
planted. Speech is the recorded digits of the Free Spoken Digit Dataset, put together to clips of eight seconds; scenes
are the embedded synthesizer's, of three and of ten seconds; noise is white, coloured and pulsing noise. Questions are
those of the synthesizer with made rewordings, and, where both revisions are given, MMAU's own rewordings: there each
pair of texts is judged by itself, so two of the synthesizer's templates that differ in a word count as wrong. With
MMAR given too, the whole search with its rules is judged: reworded MMAR questions are planted among all of MMAU's.

The thresholds were chosen with --seed 1 and are reported with --seed 2.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import duplicates_scale, machine
from sari_data.audio import load_audio
from sari_data.dedup import Dedup
from sari_data.dedup.prints import Prints
from sari_data.dedup.sound import OF_BENCHMARK, SoundIndex, same_within
from sari_data.dedup.text import Text, Texts, may_be_near, near_pairs, vectorise
from sari_data.fingerprint import RATE, Peaks, find_peaks
from sari_data.types import AudioQuestion, AudioRef

Signal = tuple[NDArray[np.float32], int]
Rng = np.random.Generator


def clips(digits: Path | None, seed: int, number: int) -> dict[str, list[Signal]]:
    """Return recordings of each kind."""
    rng = np.random.default_rng(seed)
    pieces = [load_audio(q.audio, 16_000) for q in scenes(10 * number, seed)]
    found = {
        "scenes, 3 s": [(_joined(pieces, rng, 3.0), 16_000) for _ in range(number)],
        "scenes, 10 s": [(_joined(pieces, rng, 10.0), 16_000) for _ in range(number)],
        "noise, 10 s": [(_noise(rng), 16_000) for _ in range(number)],
    }
    if digits is not None:
        import soundfile

        # Each recorded digit is in one clip only: two clips with the same ones would rightly be alike.
        files = sorted(digits.glob("*.wav"))
        recorded = [soundfile.read(files[i], dtype="float32")[0] for i in rng.permutation(len(files))]
        rest = iter(recorded)
        found["speech, 8 s"] = [(_next(rest, rng, 8.0), 8000) for _ in range(number)]
    return found


def scenes(number: int, seed: int) -> list[AudioQuestion]:
    """Return questions of the embedded synthesizer, evenly of sound, music and speech."""
    from sari_data.sources.scenes import Options, generate

    each = number // 3
    return list(generate(Options(questions={"sound": each, "music": each, "speech": each}), seed))


def _joined(pieces: list[NDArray[np.float32]], rng: Rng, seconds: float) -> NDArray[np.float32]:
    parts: list[NDArray[np.float32]] = []
    while sum(map(len, parts)) < seconds * 16_000:
        parts += [pieces.pop(int(rng.integers(len(pieces))))] if len(pieces) > 1 else [_noise(rng)]
        parts.append(np.zeros(int(rng.integers(800, 4000)), np.float32))
    return np.concatenate(parts)[: int(seconds * 16_000)]


def _next(pieces: Iterator[NDArray[np.float32]], rng: Rng, seconds: float) -> NDArray[np.float32]:
    parts: list[NDArray[np.float32]] = []
    while sum(map(len, parts)) < seconds * 8000:
        parts += [next(pieces), np.zeros(int(rng.integers(200, 2500)), np.float32)]
    return np.concatenate(parts)[: int(seconds * 8000)]


def _noise(rng: Rng) -> NDArray[np.float32]:
    number = 160_000
    spectrum = np.fft.rfft(rng.standard_normal(number))
    hertz = np.linspace(0, 8000, len(spectrum))
    noise = np.fft.irfft(spectrum / (1 + (hertz / rng.uniform(500, 4000)) ** rng.uniform(0, 2)))
    pulse = 1 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.1, 2) * np.arange(number) / 16_000)
    return np.asarray(0.1 * noise * pulse / noise.std(), np.float32)


def _coded(signal: Signal, form: str, level: float) -> Signal:
    import soundfile

    buffer = io.BytesIO()
    subtype = {"MP3": "MPEG_LAYER_III", "OGG": "VORBIS"}[form]
    soundfile.write(buffer, *signal, format=form, subtype=subtype, compression_level=level)
    buffer.seek(0)
    samples, rate = soundfile.read(buffer, dtype="float32")
    return samples, rate


def _resampled(signal: Signal, rate: int) -> Signal:
    import soxr

    return np.asarray(soxr.resample(signal[0], signal[1], rate, quality="HQ"), np.float32), rate


def _cut(signal: Signal, rng: Rng, where: str) -> Signal:
    samples, rate = signal
    # One to four seconds, and of a short clip at most 40 in 100.
    most = min(4.0, 0.4 * len(samples) / rate)
    gone = int(rng.uniform(min(1.0, most), most) * rate)
    return (samples[gone:] if where == "start" else samples[: len(samples) - gone]), rate


def _noisy(signal: Signal, rng: Rng, decibels: float) -> Signal:
    samples, rate = signal
    noise = samples.std() * 10 ** (-decibels / 20) * rng.standard_normal(len(samples))
    return (samples + noise).astype(np.float32), rate


CHANGES: dict[str, Callable[[Signal, Rng], Signal]] = {
    "none": lambda s, rng: s,
    "MP3, level 0.3": lambda s, rng: _coded(s, "MP3", 0.3),
    "MP3, level 0.7": lambda s, rng: _coded(s, "MP3", 0.7),
    "MP3, level 0.95": lambda s, rng: _coded(s, "MP3", 0.95),
    "OGG, level 0.5": lambda s, rng: _coded(s, "OGG", 0.5),
    "OGG, level 1.0": lambda s, rng: _coded(s, "OGG", 1.0),
    "11.025 kHz": lambda s, rng: _resampled(s, 11_025),
    "44.1 kHz": lambda s, rng: _resampled(s, 44_100),
    "cut at the start": lambda s, rng: _cut(s, rng, "start"),
    "cut at the end": lambda s, rng: _cut(s, rng, "end"),
    "gain -14 dB": lambda s, rng: (0.2 * s[0], s[1]),
    "gain +6 dB, clipped": lambda s, rng: (np.clip(2 * s[0] / np.abs(s[0]).max(), -1, 1), s[1]),
    "noise at 20 dB": lambda s, rng: _noisy(s, rng, 20),
    "cut, MP3, 22.05 kHz, gain": lambda s, rng: _coded(
        _resampled((0.4 * _cut(s, rng, "start")[0], s[1]), 22_050), "MP3", 0.6
    ),
}


def peaks_of(signal: Signal) -> Peaks:
    """Return a signal's fingerprint."""
    return find_peaks(signal[0] if signal[1] == RATE else _resampled(signal, RATE)[0])


def sound_rows(
    digits: Path | None, seed: int, number: int, threshold: float
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return recall and wrong pairs by kind and change, and what fingerprints take."""
    kinds = clips(digits, seed, number)
    signals = [(kind, signal) for kind, some in kinds.items() for signal in some]
    begun = time.perf_counter()
    library = [peaks_of(signal) for _, signal in signals]
    cost = (time.perf_counter() - begun) / len(library)
    index = SoundIndex(library)
    rng = np.random.default_rng(seed + 1000)
    rows = []
    for change, apply in CHANGES.items():
        queries = [peaks_of(apply(signal, rng)) for _, signal in signals]
        found = {(same.query, same.clip) for same in index.find(queries, threshold=threshold)}
        for kind in kinds:
            mine = {i for i, (name, _) in enumerate(signals) if name == kind}
            right = sum(q == c and q in mine for q, c in found)
            wrong = sum(q != c and q in mine for q, c in found)
            rows.append({"kind": kind, "change": change, "clips": len(mine), "found": right, "wrong": wrong})
    unrelated = sum(1 for _ in same_within(Prints(library), threshold=threshold, sampled=OF_BENCHMARK))
    seconds = sum(len(s) / rate for _, (s, rate) in signals)
    size = sum(peaks.nbytes for peaks in library)
    return rows, {
        "ms_a_clip": round(1000 * cost, 1),
        "bytes_a_second": round(size / seconds, 1),
        "index_bytes_a_clip": round(index.bytes / len(library)),
        "pairs_of_unrelated": len(library) * (len(library) - 1) // 2,
        "wrong_among_them": unrelated,
    }


REWORDED: dict[str, Callable[[AudioQuestion], AudioQuestion]] = {
    "options reordered": lambda q: q.replace(choices=tuple(reversed(q.choices))),
    "case and signs": lambda q: q.replace(question=q.question.upper().replace("?", " ??")),
    "a phrase in front": lambda q: q.replace(
        question=f"Listen to the recording and answer: {q.question[0].lower()}{q.question[1:]}"
    ),
    "made shorter": lambda q: q.replace(question=" ".join(q.question.split()[: max(3, len(q.question.split()) - 2)])),
    "synonyms": lambda q: q.replace(question=_synonyms(q.question)),
}
_SYNONYMS = {"hear": "perceive", "sound": "noise", "sounds": "noises", "many": "numerous", "which": "what"}


def _synonyms(text: str) -> str:
    return " ".join(_SYNONYMS.get(word.lower(), word) for word in text.split())


def text_rows(seed: int, number: int, threshold: float) -> list[dict[str, Any]]:
    """Return recall and wrong pairs of texts by change; a text that another question has too is left out."""
    some = scenes(10 * number, seed)
    once: dict[int, AudioQuestion] = {}
    for q in some:
        once.setdefault(Text.of(q.question, q.choices, q.answer).key, q)
    questions = list(once.values())
    rows = []
    for change, apply in REWORDED.items():
        pairs = near([apply(q) for q in questions], questions, threshold)
        right = sum(a == b for a, b in pairs)
        rows.append(
            {"kind": "scenes", "change": change, "clips": len(questions), "found": right, "wrong": len(pairs) - right}
        )
    return rows


def near(ones: list[Any], others: list[Any], threshold: float) -> set[tuple[int, int]]:
    """Return the pairs of questions that are the same or near, by their places."""
    held, places = [], []
    for some in (ones, others):
        texts, at = Texts(), {}
        for place, q in enumerate(some):
            at.setdefault(texts.add(Text.of(q.question, q.choices, q.answer)), place)
        held.append(texts)
        places.append(at)
    found = set()
    for rows, columns, _ in near_pairs(*vectorise(*held), threshold):
        for a, b in zip(rows.tolist(), columns.tolist(), strict=True):
            one, other = held[0][a], held[1][b]
            if one.key == other.key or may_be_near(one, other, strict=False):
                found.add((places[0][a], places[1][b]))
    return found


def mmau_row(old: Path, new: Path, threshold: float) -> dict[str, Any]:
    """Return how many questions that MMAU's authors reworded are found, and how many others are called near."""
    from sari_data.references import Against, read_references

    ones, others = (list(read_references(Against(path=str(path)))) for path in (old, new))
    by_id = {r.id: i for i, r in enumerate(others)}
    pairs = near(ones, others, threshold)
    planted, same = set(), set()
    for i, one in enumerate(ones):
        j = by_id.get(one.id)
        if j is None:
            continue
        same.add((i, j))
        a, b = (Text.of(r.question, r.choices, r.answer) for r in (one, others[j]))
        if one.answer == others[j].answer and a.question != b.question:
            planted.add((i, j))
    exact = {Text.of(r.question, r.choices, r.answer).key for r in others}
    wrong = {i for i, j in pairs - same if Text.of(ones[i].question, ones[i].choices, None).key not in exact}
    return {
        "kind": "MMAU",
        "change": "reworded by its authors",
        "clips": len(planted),
        "found": len(planted & pairs),
        "wrong": len(wrong),
    }


def planted_rows(mmar: Path, mmau: Path, seed: int, number: int, table: Dedup) -> list[dict[str, Any]]:
    """Return what the whole search, with all its rules, says of reworded benchmark questions among others.

    ``number`` questions of MMAR, reworded and each with a recording of its own, lie among all of MMAU's; the corpus is
    compared with MMAR by text alone. Found: a planted question that counts as contaminated; wrong: one of MMAU's.
    """
    from sari_data.dedup import find_duplicates
    from sari_data.references import Against, read_references

    def corpus(references: list[Any], name: str) -> list[AudioQuestion]:
        return [
            AudioQuestion(
                id=f"{name}-{r.id}",
                audio=AudioRef(path=f"{name}/{number}.wav"),
                question=r.question,
                choices=r.choices,
                answer=r.answer,
                domain="sound",
            )
            for number, r in enumerate(references)
            if r.answer is not None
        ]

    ones, others = (list(read_references(Against(path=str(path)))) for path in (mmar, mmau))
    chosen = np.random.default_rng(seed).choice(len(ones), min(number, len(ones)), replace=False)
    planted = corpus([ones[i] for i in sorted(chosen.tolist())], "planted")
    unrelated = corpus(others, "other")
    rows = []
    for change, apply in REWORDED.items():
        search = table.model_copy(update={"against": (Against(path=str(mmar)),), "sound": False})
        found = find_duplicates([*map(apply, planted), *unrelated], search).contaminated
        right = sum(q.id in found for q in planted)
        wrong = sum(q.id in found for q in unrelated)
        rows.append(
            {"kind": "MMAR among MMAU", "change": change, "clips": len(planted), "found": right, "wrong": wrong}
        )
    return rows


def main() -> None:
    """Print the tables, or one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--digits", type=Path, help="folder of the Free Spoken Digit Dataset's recordings")
    parser.add_argument("--mmau", type=Path, nargs=2, metavar=("OLD", "NEW"), help="two revisions of MMAU test-mini")
    parser.add_argument("--mmar", type=Path, help="MMAR's questions: with --mmau reworded ones are planted in MMAU")
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--clips", type=int, default=100, help="recordings of each kind")
    parser.add_argument("--scale", action="store_true", help="measure 100,000 questions against 10,000 instead")
    parser.add_argument("--questions", type=int, default=100_000)
    parser.add_argument("--references", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    table = Dedup()
    figures: dict[str, Any]
    if given.scale:
        figures = duplicates_scale.measure(given.questions, given.references)
    else:
        rows, cost = sound_rows(given.digits, given.seed, given.clips, table.sound_share)
        texts = text_rows(given.seed, given.clips, table.near)
        if given.mmau:
            texts.append(mmau_row(*given.mmau, table.near))
        if given.mmau and given.mmar:
            texts += planted_rows(given.mmar, given.mmau[1], given.seed, 300, table)
        figures = {"sound": rows, "fingerprints": cost, "text": texts, "seed": given.seed}
    if given.json:
        print(json.dumps({"machine": machine.describe(), "command": machine.command(), **figures}, indent=2))
        return
    print(machine.line(machine.command()))
    for name in ("sound", "text"):
        if name in figures:
            _print(name, figures[name])
    print(json.dumps({k: v for k, v in figures.items() if k not in ("sound", "text")}, indent=2))


def _print(title: str, rows: list[dict[str, Any]]) -> None:
    print(f"\n{title:28}{'change':28}{'planted':>8}{'recall':>8}{'wrong':>7}{'precision':>11}")
    for row in rows:
        recall, total = row["found"] / row["clips"], row["found"] + row["wrong"]
        precision = f"{row['found'] / total:.3f}" if total else "-"
        print(f"{row['kind']:28}{row['change']:28}{row['clips']:8}{recall:8.3f}{row['wrong']:7}{precision:>11}")


if __name__ == "__main__":
    main()
