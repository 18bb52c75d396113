"""Seconds to score 10,000 predictions by every scorer, with 1,000 bootstrap resamples and the report, on one core.

    taskset -c 0 python -m benchmarks.scoring_speed ../shared/data/mmau --json

With a folder the questions are MMAU's real ones (``mmau-test-mini.v05.15.25.json``), repeated under other ids until
there are enough; without one they are made up. The predictions come from a seed: bare options, letters, answer sections
after thoughts of 100 to 2,000 characters, prose that concludes, loops and refusals. The judge's verdicts are stored
before the clock starts; reading them is part of the time.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

from benchmarks import machine  # noqa: E402
from benchmarks.made_predictions import Draw  # noqa: E402
from sari_bench.benchmarks.base import Gold  # noqa: E402
from sari_bench.disagreements import disagreements  # noqa: E402
from sari_bench.scorers import JUDGE, SCORERS  # noqa: E402
from sari_bench.scorers.judge import TEMPLATE, stored_judge  # noqa: E402
from sari_bench.scorers.verdicts import StoredVerdict, VerdictStore, verdict_key  # noqa: E402
from sari_bench.scoring import Answer, BenchmarkGolds, Score, said_of, score_said  # noqa: E402
from sari_data.prompting import template_hash  # noqa: E402

RESAMPLES = 1000
SENTENCES = (
    "The recording begins with a low hum that grows over the first seconds.",
    "A voice can be heard in the background, although the words are not clear.",
    "There is a rhythmic pattern that repeats about twice a second.",
    "This is typical of an indoor space with hard walls.",
    "The timbre is bright and the attack is sharp.",
    "Nothing in the clip suggests that a second person is present.",
)


def golds_of(folder: Path | None, count: int) -> tuple[Gold, ...]:
    """Return ``count`` questions: MMAU's, repeated under other ids, or made ones."""
    if folder is None:
        base = tuple(
            Gold(f"made{i}", f"What is heard in clip {i}?", ("A dog", "A cat", "Rain", "A bell"),
                 ("A dog", "A cat", "Rain", "A bell")[i % 4], ("sound", "music", "speech")[i % 3],
                 ("Reasoning", "Information Extraction")[i % 2], f"skill {i % 27}", ("easy", "medium", "hard")[i % 3],
                 f"clip{i // 2}.wav")
            for i in range(1000)
        )  # fmt: skip
    else:
        from sari_bench.benchmarks import load_benchmark

        base = load_benchmark("mmau-test-mini", folder / "mmau-test-mini.v05.15.25.json").golds
    return tuple(replace(base[i % len(base)], id=f"{base[i % len(base)].id}#{i // len(base)}") for i in range(count))


def response(gold: Gold, draw: Draw) -> str | None:
    """Return a typical response to a question, or ``None``."""
    option = (gold.answer or "") if draw.chance(0.6) else draw.one(gold.choices)
    letter = chr(ord("A") + gold.choices.index(option)) if option in gold.choices else "A"
    thought = " ".join(draw.one(SENTENCES) for _ in range(2 + draw.below(24)))
    kind = draw.below(20)
    if kind < 6:
        return f"<think>{thought} It may be {draw.one(gold.choices)}.</think><answer>{option}</answer>"
    if kind < 10:
        return option
    if kind < 12:
        return f"({letter}) {option}"
    if kind < 13:
        return letter
    if kind < 18:
        return f"{thought} Therefore, the answer is ({letter}) {option}."
    return (f"{thought} The answer cannot be determined.", f"{SENTENCES[0]} " * 25, "", None)[draw.below(4)]


def store_verdicts(golds: tuple[Gold, ...], answers: dict[str, list[Answer]], folder: Path) -> None:
    """Store a verdict on every response, as a judge would have left them."""
    store, draw, template = VerdictStore(folder, "made judge"), Draw(1), template_hash(TEMPLATE)
    for gold in golds:
        text = answers[gold.id][0].text
        if text and text.strip():
            key = verdict_key(store.judge, template, gold.question, gold.choices, text)
            choice = draw.below(len(gold.choices))
            said = f"<answer>{chr(ord('A') + choice)}</answer>"
            store.add(StoredVerdict(key, store.judge, template, gold.id, 0, "all", "option", choice, (said,)))
    store.close()


def bootstrap(scores: dict[str, Score]) -> int:
    """Return how many intervals were computed: of every scorer overall and of every group, 1,000 resamples each."""
    import numpy as np

    from sari_bench.benchmarks.base import DIMENSIONS
    from sari_bench.statistics.bootstrap import bootstrap_groups

    done = 0
    for one in scores.values():
        items = [item for item in one.items if not (one.drops_missing and item.outcome == "missing")]
        columns = [np.ones(len(items), np.bool_)]
        for dimension, by in one.by.items():
            labels = np.array([getattr(item.gold, DIMENSIONS[dimension]) for item in items])
            columns += [labels == name for name, part in by.items() if part.n]
        right = np.array([item.outcome == "correct" for item in items], np.float64)
        clusters = [item.gold.cluster for item in items]
        done += len(bootstrap_groups(right, np.stack(columns, axis=1), clusters, RESAMPLES, 0))
    return done


def report(scores: dict[str, Score]) -> int:
    """Render the report for the terminal and as JSON; return its length in characters."""
    from sari_bench.commands.score_output import report as print_report

    length = 0
    for as_json in (False, True):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            print_report({"made": scores}, disagreements=None, changes=None, as_json=as_json)
        length += len(printed.getvalue())
    return length


def phases(folder: Path | None, count: int) -> Iterator[tuple[str, float]]:
    """Yield the phases with their seconds."""
    golds, draw = golds_of(folder, count), Draw(0)
    answers = {gold.id: [Answer(gold.id, response(gold, draw))] for gold in golds}
    benchmark = BenchmarkGolds("made", "made", "", golds)
    with tempfile.TemporaryDirectory() as place:
        store_verdicts(golds, answers, Path(place))
        said, seconds = timed(lambda: said_of(benchmark, answers))
        _, reading = timed(lambda: [one.reading for one in said if one.answer.text is not None])
        yield "read every response", seconds + reading
        scores: dict[str, Score] = {}
        for name, scorer in SCORERS.items():
            found, seconds = timed(lambda scorer=scorer: score_said(benchmark, said, [scorer]))  # type: ignore[misc]
            scores |= found
            yield name, seconds
        found, seconds = timed(lambda: score_said(benchmark, said, [stored_judge(Path(place))]))
        scores |= found
        yield f"{JUDGE}, stored", seconds
    yield "disagreements", timed(lambda: disagreements(scores))[1]
    yield f"bootstrap, {RESAMPLES} resamples", timed(lambda: bootstrap(scores))[1]
    yield "report, terminal and JSON", timed(lambda: report(scores))[1]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return what some work returns, and its seconds."""
    begun = time.perf_counter()
    found = work()
    return found, time.perf_counter() - begun


def help_seconds() -> float:
    """Return the best of three of ``sari-bench --help``, in seconds."""
    command = [sys.executable, "-c", "from sari_bench.cli import main; main()", "--help"]
    return min(timed(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True))[1] for _ in range(3))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    begun = time.perf_counter()
    import numpy  # noqa: F401

    importing = time.perf_counter() - begun
    found = {"import numpy": importing} | dict(phases(arguments.folder, arguments.count))
    body = {
        "predictions": arguments.count,
        "questions": "MMAU test-mini v05.15.25, repeated" if arguments.folder else "made",
        "seconds": {name: round(seconds, 3) for name, seconds in found.items()},
        "total_s": round(sum(found.values()), 3),
        "help_s": round(help_seconds(), 3),
    }
    if arguments.json:
        print(json.dumps({"machine": machine.describe(), **body}, indent=2))
        return
    print(machine.line(machine.command()))
    print(f"\n{body['predictions']:,} predictions, questions: {body['questions']}\n\n| phase | s |\n|---|---|")
    for name, seconds in body["seconds"].items():
        print(f"| {name} | {seconds:.2f} |")
    print(f"| **together** | **{body['total_s']:.2f}** |\n| `sari-bench --help` | {body['help_s']:.2f} |")


if __name__ == "__main__":
    main()
