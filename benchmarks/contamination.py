"""Precision and recall of the contamination marks of ``sari-bench report --training``, and what they cost at scale.

    python -m benchmarks.contamination [--mmau OLD.json NEW.json] [--mmar MMAR.jsonl] [--json]
    python -m benchmarks.contamination --scale [--json]

Planted: a benchmark of 300 scenes and a corpus of 900 scenes of another seed, made with the same templates, in which
questions of the benchmark are planted one way each. With ``--mmau`` questions of MMAU's newer revision are planted,
reworded or changed one way each, by text alone and without their ids, in a corpus of 900 scenes and, where it is given,
of MMAR; and the older revision is the corpus by itself. "Wrong" are questions that were not planted and are marked all
the same. What must *not* be marked is planted too: questions with other options, options with another question.

Scale: made questions and made fingerprints of ten seconds each (computing fingerprints depends on the audio alone and
is stated per clip), corpora of two sizes against a benchmark of 1,000 clips, each in a process of its own.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine, measure
from benchmarks.duplicates import REWORDED, scenes
from sari_bench.benchmarks.base import Benchmark, from_questions
from sari_bench.contamination import REASONS, contamination, reason
from sari_data.audio import load_audio
from sari_data.dedup import Dedup
from sari_data.types import AudioQuestion

Row = dict[str, Any]
Rng = np.random.Generator
_RATE = 16_000


def _encode(samples: Any, form: str, level: float | None = None) -> tuple[bytes, str]:
    import soundfile

    subtype = {"WAV": "PCM_16", "MP3": "MPEG_LAYER_III", "OGG": "VORBIS"}[form]
    buffer = io.BytesIO()
    more = {} if level is None else {"compression_level": level}
    soundfile.write(buffer, samples, _RATE, format=form, subtype=subtype, **more)
    return buffer.getvalue(), f".{form.lower()}"


def _bytes_of(question: AudioQuestion) -> tuple[bytes, str]:
    assert question.audio.data is not None
    return question.audio.data, Path(str(question.audio.path)).suffix


def _trimmed(question: AudioQuestion, rng: Rng) -> tuple[bytes, str]:
    samples = load_audio(question.audio, _RATE)
    return _encode(samples[int(rng.uniform(0.15, 0.35) * len(samples)) :], "WAV")


AUDIO: dict[str, Callable[[AudioQuestion, Rng], tuple[bytes, str]]] = {
    "the same file": lambda q, rng: _bytes_of(q),
    "OGG, level 0.5": lambda q, rng: _encode(load_audio(q.audio, _RATE), "OGG", 0.5),
    "MP3, level 0.7, gain -14 dB": lambda q, rng: _encode(0.2 * load_audio(q.audio, _RATE), "MP3", 0.7),
    "trimmed by 15 to 35 in 100": _trimmed,
    "gain +6 dB, clipped": lambda q, rng: _encode(np.clip(2 * load_audio(q.audio, _RATE), -1, 1), "WAV"),
}


def _row(question: AudioQuestion, audio: str | None = None) -> Row:
    row = {"question": question.question, "choices": list(question.choices), "answer": question.answer}
    return row if audio is None else row | {"audio_path": audio}


def scene_rows(seed: int, number: int) -> tuple[list[Row], dict[str, Any]]:
    """Return what is said of scenes whose recordings, or texts, are planted in a corpus of the same templates."""
    rng = np.random.default_rng(seed)
    asked, corpus = scenes(300, seed), scenes(900, seed + 1)
    spare = iter(scenes(len(AUDIO) * number + 3 * number, seed + 2))
    places = iter(rng.permutation(len(asked)).tolist())
    planted: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        rows: list[Row] = []

        def put(audio: tuple[bytes, str], about: AudioQuestion) -> None:
            name = f"{len(rows)}{audio[1]}"
            (Path(folder) / name).write_bytes(audio[0])
            rows.append(_row(about, name))

        for question in corpus:
            put(_bytes_of(question), question)
        for change, apply in AUDIO.items():
            for _ in range(number):
                question = asked[next(places)]
                planted.setdefault(f"{change}, another question", []).append(question.id)
                put(apply(question, rng), next(spare))
        for _ in range(number):
            question = asked[next(places)]
            planted.setdefault("question and options of a template, another clip", []).append(question.id)
            put(_bytes_of(next(spare)), question)
        table = Path(folder) / "corpus.jsonl"
        table.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        begun = time.perf_counter()
        found = _marks(from_questions("scenes", asked), table, Dedup(cache=False, processes=1))
        seconds = time.perf_counter() - begun
    about = {"clips": len(asked) + len(rows), "seconds": round(seconds, 1)}
    return _counted(found, planted, [question.id for question in asked]), about


def text_rows(new: Benchmark, others: Sequence[AudioQuestion], seed: int, number: int) -> list[Row]:
    """Return what is said of a benchmark's questions that are planted by their text among others."""
    rng = np.random.default_rng(seed)
    golds = [gold.to_question() for gold in new.golds]
    places = iter(rng.permutation(len(golds)).tolist())
    planted: dict[str, list[str]] = {}
    rows = [_row(question) for question in others]

    def plant(name: str, change: Callable[[AudioQuestion], AudioQuestion | Row]) -> None:
        for _ in range(number):
            question = golds[next(places)]
            planted.setdefault(name, []).append(question.id)
            made = change(question)
            rows.append(made if isinstance(made, dict) else _row(made))

    def answer_kept(question: AudioQuestion) -> Row:
        order = rng.permutation(len(question.choices)).tolist()
        lettered = [f"({'ABCDEFGH'[at]}) {question.choices[k]}" for at, k in enumerate(order)]
        return _row(question) | {"choices": lettered}

    def other_options(question: AudioQuestion) -> Row:
        other = golds[int(rng.integers(len(golds)))]
        return _row(other) | {"question": question.question}

    def other_question(question: AudioQuestion) -> Row:
        return _row(question) | {"question": others[int(rng.integers(len(others)))].question}

    plant("verbatim", lambda q: q)
    plant("options shuffled, with letters", answer_kept)
    for name, change in REWORDED.items():
        if name != "options reordered":
            plant(name, change)
    plant("NOT a leak: its question, other options", other_options)
    plant("NOT a leak: its options, another question", other_question)
    return _counted(_by_text(new, rows), planted, [gold.id for gold in new.golds])


def revision_row(old: Benchmark, new: Benchmark) -> Row:
    """Return how many questions that MMAU's authors reworded are found, the older revision being the corpus."""
    before = {gold.id: gold for gold in old.golds}
    both = [gold for gold in new.golds if gold.id in before and before[gold.id].answer == gold.answer]
    planted = {"reworded by MMAU's authors": [g.id for g in both if g.question != before[g.id].question]}
    found = _by_text(new, [_row(gold.to_question()) for gold in old.golds])
    added = [gold.id for gold in new.golds if gold.id not in before]
    return _counted(found, planted, [*planted["reworded by MMAU's authors"], *added])[0]


def _by_text(benchmark: Benchmark, rows: Iterable[Row]) -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "corpus.jsonl"
        table.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        return _marks(benchmark, table, Dedup(sound=False))


def _marks(benchmark: Benchmark, table: Path, how: Dedup) -> dict[str, str]:
    """The surest reason by question."""
    about = contamination(benchmark, [table], how)
    every = {**about.reported, **about.marked}
    return {key: min((reason(finding) for finding in why), key=REASONS.index) for key, why in every.items()}


def _counted(found: dict[str, str], planted: dict[str, list[str]], every: Iterable[str]) -> list[Row]:
    """A row for each way of planting, and one for what was not planted."""
    rest = set(every) - {key for keys in planted.values() for key in keys}
    groups = {**planted, "not planted": sorted(rest)}
    return [
        {"planted": name, "n": len(keys), **{why: sum(found.get(key) == why for key in keys) for why in REASONS[:4]}}
        for name, keys in groups.items()
    ]


def scale(questions: int, references: int) -> Row:
    """Return seconds and the process's peak memory (MiB, the made input included) of a corpus against a benchmark."""
    from benchmarks.duplicates_scale import fill
    from sari_data.dedup.collection import Benchmark as Corpus
    from sari_data.dedup.collection import Held
    from sari_data.dedup.evidence import match_evidence
    from sari_data.dedup.marking import match_recordings
    from sari_data.dedup.matching import match_segments

    rng, table = np.random.default_rng(3), Dedup()
    held, corpus = Held(), Corpus(name="made")
    fill(held, references, 2, "b")
    fill(corpus, questions, 1, "c")
    for clip in range(0, references, 20):
        known = held.clips.peaks[clip]
        kept = known[(known >> 9 > 40) & (rng.random(len(known)) < 0.7)]
        number, _ = corpus.clips.add(f"planted{clip}", None)
        corpus.clips.peaks.put(number, kept - np.uint32(40 << 9))
        corpus.ids.append(f"planted{clip}")
        corpus.text_numbers.append(corpus.texts.add(held.texts[held.text_numbers[clip]]))
        corpus.clip_numbers.append(number)
    corpus.segments = list(corpus.clips.segments)
    corpus.named.extend([0] * len(corpus.ids))
    found: Row = {"clips": len(corpus.ids), "benchmark": references, "input_mib": _peak_mib()}
    for name, match in (
        ("texts", lambda: match_evidence(held, corpus, table)),
        ("segments", lambda: match_segments(held, corpus, table)[0]),
        ("sounds", lambda: match_recordings(held, corpus, table)),
    ):
        begun = time.perf_counter()
        marked = {number for number, one in match().items() if one.counts}
        planted = held.text_numbers[::20] if name == "texts" else range(0, references, 20)
        right = len(marked & set(planted))
        found[name] = {"seconds": round(time.perf_counter() - begun, 1), "planted": right, "wrong": len(marked) - right}
    return found | {"planted": len(range(0, references, 20)), "peak_mib": _peak_mib()}


def _peak_mib() -> int:
    return round(measure.status("VmHWM") / 2**20)


def main() -> None:
    """Print the tables, or one JSON object."""
    if "--child" in sys.argv:
        print(json.dumps(scale(**json.loads(sys.argv[sys.argv.index("--child") + 1]))))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--mmau", type=Path, nargs=2, metavar=("OLD", "NEW"), help="two revisions of MMAU test-mini")
    parser.add_argument("--mmar", type=Path, help="MMAR's questions, as part of the corpus in which MMAU's are planted")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--number", type=int, default=30, help="scenes planted each way; of MMAU three times as many")
    parser.add_argument("--scale", action="store_true", help="time 20,000 and 100,000 clips against 1,000 instead")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    figures: Row = {"seed": given.seed}
    if given.scale:
        sizes = ({"questions": number, "references": 1000} for number in (20_000, 100_000))
        figures["scale"] = [measure.child("benchmarks.contamination", size, threads=1) for size in sizes]
    else:
        figures["scenes"], figures["heard"] = scene_rows(given.seed, given.number)
    if given.mmau and not given.scale:
        from sari_bench.benchmarks import load_benchmark

        old, new = (load_benchmark("mmau-test-mini", path) for path in given.mmau)
        others = scenes(900, given.seed + 3)
        if given.mmar:
            others += [gold.to_question() for gold in load_benchmark("mmar", given.mmar).golds]
        figures["mmau"] = text_rows(new, others, given.seed, 3 * given.number)
        figures["revisions"] = [revision_row(old, new)]
    if given.json:
        print(json.dumps({"machine": machine.describe(), "command": machine.command(), **figures}, indent=2))
        return
    print(machine.line(machine.command()))
    for name in ("scenes", "mmau", "revisions"):
        if name in figures:
            _print(name, figures[name])
    print(json.dumps({key: figures[key] for key in ("heard", "scale") if key in figures}, indent=2))


def _print(title: str, rows: list[Row]) -> None:
    print(f"\n{title:54}{'n':>6}" + "".join(f"{why:>24}" for why in REASONS[:4]))
    for row in rows:
        print(f"{row['planted']:54}{row['n']:6}" + "".join(f"{row[why]:24}" for why in REASONS[:4]))


if __name__ == "__main__":
    main()
