"""Seconds to score 10,000 predictions by every scorer, with 1,000 bootstrap resamples and the report, on one core.

    taskset -c 0 python -m benchmarks.scoring_speed ../shared/data/mmau --json

With a folder the questions are MMAU's real ones (``mmau-test-mini.v05.15.25.json``), repeated under other ids until
there are enough; without one they are made up. The predictions come from a seed: bare options, letters, answer sections
after thoughts of 100 to 2,000 characters, prose that concludes, loops and refusals. The judge's verdicts are stored
before the clock starts; reading them is part of the time.

"Everything" is one process from its start: imports, reading the run folder, all four scorers with their groups, the
bootstrap of each overall and of every group, and the report in the terminal, as JSON, CSV and Markdown. Its parts are
told below it. The commands are those that a user types, each a process of its own.
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
from subprocess import PIPE
from typing import Any, NamedTuple

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"

from benchmarks import machine  # noqa: E402
from benchmarks.made_predictions import Draw  # noqa: E402
from sari_bench.benchmarks.base import Gold, digest_of  # noqa: E402
from sari_bench.running.runs import META, QUESTIONS, RESPONSES  # noqa: E402
from sari_bench.scorers import JUDGE, JUDGE_FOLDER, SCORERS  # noqa: E402
from sari_bench.scorers.judge import TEMPLATE  # noqa: E402
from sari_bench.scorers.verdicts import StoredVerdict, VerdictStore, verdict_key  # noqa: E402
from sari_bench.scoring import Answer, Score  # noqa: E402
from sari_data.prompting import template_hash  # noqa: E402

TOP = Path(__file__).resolve().parent.parent
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


def write_files(golds: tuple[Gold, ...], place: Path, seed: int, name: str) -> None:
    """Write predictions as a run folder (``runs/<name>``) and as a file, with a judge's verdicts beside each."""
    draw = Draw(seed)
    said = {gold.id: response(gold, draw) for gold in golds}
    answers = {identifier: [Answer(identifier, text)] for identifier, text in said.items()}
    folder = place / "runs" / name
    folder.mkdir(parents=True)
    digest = digest_of(golds)
    meta = {
        "model": {"name": name},
        "benchmark": {"name": "made", "version": digest[:12], "digest": digest, "questions": len(golds), "notes": []},
        "mode": "think",
        "sampling": {"temperature": 0.0},
        "samples": 1,
    }
    rows = [
        {"id": identifier, "sample": 0, "text": text, "finish_reason": "stop", "tokens": len(text) // 4}
        for identifier, text in said.items()
        if text is not None
    ]
    (folder / META).write_text(json.dumps(meta), encoding="utf-8")
    (folder / QUESTIONS).write_text("".join(json.dumps(gold.to_row()) + "\n" for gold in golds), encoding="utf-8")
    (folder / RESPONSES).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    predictions = [{"id": identifier, "model_prediction": text} for identifier, text in said.items()]
    (place / f"{name}.json").write_text(json.dumps(predictions), encoding="utf-8")
    store_verdicts(golds, answers, folder / JUDGE_FOLDER)
    store_verdicts(golds, answers, place / f"{name}.judge")


def everything(folder: Path, place: Path) -> Iterator[tuple[str, Seconds]]:
    """Do all of it with a run folder, yielding the parts with their seconds; files go to ``place``."""
    begun = clock()
    from sari_bench.commands.report import _print_boards
    from sari_bench.reporting.disagreeing import disagreeing
    from sari_bench.reporting.leaderboard import make_boards
    from sari_bench.reporting.report_files import boards_csv, boards_json, boards_markdown
    from sari_bench.running.runs import read_run

    yield "import what reports", since(begun)
    run, seconds = timed(lambda: read_run(folder))
    yield "read the run folder", seconds
    boards, seconds = timed(lambda: make_boards([run], [*SCORERS, JUDGE]))
    yield "four scorers, and groups", seconds
    lists, seconds = timed(lambda: [disagreeing(board) for board in boards])
    yield "disagreements", seconds
    done, seconds = timed(lambda: bootstrap(boards[0].entries[0].scores))
    yield f"bootstrap, {RESAMPLES} resamples, {done} intervals", seconds
    yield "Markdown", timed(lambda: (place / "r.md").write_text(boards_markdown(boards, False, (), lists)))[1]
    yield "CSV", timed(lambda: (place / "r.csv").write_text(boards_csv(boards)))[1]
    yield "JSON", timed(lambda: (place / "r.json").write_text(json.dumps(boards_json(boards, False, (), lists))))[1]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield "terminal", timed(lambda: _print_boards(boards, False, [], lists))[1]


def measure(folder: Path | None, count: int) -> dict[str, Seconds]:
    """Return the seconds of everything, of its parts and of the commands."""
    golds = golds_of(folder, count)
    found: dict[str, Seconds] = {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for seed, run in enumerate(("one@think", "other@think")):
            write_files(golds, place, seed, run)
        questions = [
            {**gold.to_row(), "sub-category": gold.sub_category, "audio_id": gold.audio or gold.clip} for gold in golds
        ]
        (place / "questions.json").write_text(json.dumps(questions), encoding="utf-8")
        one, other = str(place / "runs" / "one@think"), str(place / "runs" / "other@think")
        command = [sys.executable, "-m", "benchmarks.scoring_speed", "--everything", one]
        done, found["everything, one process"] = timed(lambda: subprocess.run(command, stdout=PIPE, check=True))
        found |= {f"  {part}": Seconds(*seconds) for part, seconds in json.loads(done.stdout).items()}
        scorers = [word for scorer in (*SCORERS, JUDGE) for word in ("--scorer", scorer)]
        files = ["--questions", f"{place}/questions.json", "--predictions", f"{place}/one@think.json"]
        commands = {
            "score --predictions, all scorers, disagreements": [
                "score", *files, "--all-scorers", "--disagreements", f"{place}/d.csv"
            ],
            "report, all scorers, CSV and Markdown": [
                "report", one, *scorers, "--csv", f"{place}/r.csv", "--markdown", f"{place}/r.md"
            ],
            "compare two runs (bootstrap of every group)": ["compare", one, other],
            "--help": ["--help"],
        }  # fmt: skip
        for title, words in commands.items():
            found[f"sari-bench {title}"] = min(command_seconds(words, place) for _ in range(3))
    return found


def command_seconds(words: list[str], place: Path) -> Seconds:
    """Return how long a command takes, from the start of its process to its end."""
    command = [sys.executable, "-c", "from sari_bench.cli import main; main()", *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(TOP), os.environ.get("PYTHONPATH")]))}
    with (place / "printed.txt").open("w") as printed:
        return timed(
            lambda: subprocess.run(
                command, stdout=printed, stderr=subprocess.STDOUT, check=True, cwd=place, env=environment
            )
        )[1]


class Seconds(NamedTuple):
    """How long something took, and how long the processor worked for it (child processes included)."""

    passed: float
    worked: float


def clock() -> Seconds:
    """Return both clocks."""
    times = os.times()
    return Seconds(time.perf_counter(), times.user + times.system + times.children_user + times.children_system)


def since(begun: Seconds) -> Seconds:
    """Return what both clocks show more than they did."""
    return Seconds(*(round(after - before, 3) for before, after in zip(begun, clock(), strict=True)))


def timed(work: Callable[[], Any]) -> tuple[Any, Seconds]:
    """Return what some work returns, and its seconds."""
    begun = clock()
    found = work()
    return found, since(begun)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--everything", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.everything is not None:
        with tempfile.TemporaryDirectory() as place:
            print(json.dumps(dict(everything(arguments.everything, Path(place)))))
        return
    found = measure(arguments.folder, arguments.count)
    questions = "MMAU test-mini v05.15.25, repeated" if arguments.folder else "made"
    if arguments.json:
        body = {
            "predictions": arguments.count,
            "questions": questions,
            "seconds": {name: seconds._asdict() for name, seconds in found.items()},
        }
        print(json.dumps({"machine": machine.describe(), **body}, indent=2))
        return
    print(machine.line(machine.command()))
    print(f"\n{arguments.count:,} predictions, questions: {questions}\n\n| | s | s of CPU |\n|---|---|---|")
    for name, seconds in found.items():
        print(f"| {name} | {seconds.passed:.2f} | {seconds.worked:.2f} |")


if __name__ == "__main__":
    main()
