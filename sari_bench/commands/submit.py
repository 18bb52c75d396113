"""``sari-bench submit``: the file that a benchmark's test submission takes, checked for completeness."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sari_bench.commands.arguments import JsonOption
from sari_bench.commands.output import check_apart, write_text
from sari_bench.counting import counted
from sari_data.console import note, print_json, say
from sari_data.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sari_bench.benchmarks.base import Benchmark
    from sari_bench.reporting.submit import Submission
    from sari_bench.scoring import Answer, BenchmarkGolds


def submit(
    run_path: Annotated[Path | None, typer.Argument(metavar="RUN", help="Run folder to submit.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Answers made elsewhere: JSON list or JSONL of id with model_prediction.")
    ] = None,
    benchmark: Annotated[str, typer.Option(help="Which benchmark the predictions answer.")] = "mmau-test",
    questions: Annotated[
        Path | None, typer.Option(help="The benchmark's published question file, whose rows are written.")
    ] = None,
    out_file: Annotated[Path, typer.Option("--out", help="The file to write.")] = Path("submission.json"),
    raw: Annotated[bool, typer.Option("--raw", help="Write answers as said, not the option read out of them.")] = False,
    bare: Annotated[bool, typer.Option("--bare", help="Write only id and answer, without the question.")] = False,
    sample: Annotated[
        int | None, typer.Option(min=0, help="Of several samples take this one; default: what most of them say.")
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Write an incomplete file too, with empty answers where none is.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the file that MMAU's test submission takes, checked: every question once, none extra, none empty.

    An incomplete file is not written (exit code 1) unless --allow-missing is given.
    """
    from sari_bench.reporting.submit import make_submission

    check_apart("--out", out_file, (predictions, questions))
    golds, answers, rows = _gather(run_path, predictions, benchmark, questions)
    for sentence in golds.notes:
        note(f"note: {sentence}")
    most = max((answer.sample + 1 for given in answers.values() for answer in given), default=0)
    if sample is not None and most and sample >= most:
        raise InputError(f"--sample {sample}: expected one below {most}, as many answers as a question has here")
    result = make_submission(golds, answers, published=rows, raw=raw, bare=bare, sample=sample)
    write = not result.problems or allow_missing
    if write:
        write_text(out_file, result.to_text())
    if as_json:
        print_json({"file": str(out_file) if write else None, **result.to_json()})
    else:
        _print(result)
    if result.problems:
        for sentence in result.problems:
            note(f"incomplete: {sentence}")
        if not write:
            old = ", and the file that was there stays as it was" if out_file.exists() else ""
            note(f"{out_file} was not written{old}: answer every question, or add --allow-missing")
        raise typer.Exit(1)


def _gather(
    run_path: Path | None, predictions: Path | None, benchmark: str, questions: Path | None
) -> tuple[Benchmark | BenchmarkGolds, Mapping[str, Sequence[Answer]], dict[str, dict[str, Any]] | None]:
    """The questions, the answers, and the published rows where a question file is given."""
    from sari_bench.benchmarks import load_benchmark
    from sari_bench.predictions import read_answers
    from sari_bench.running.runs import read_run

    if (predictions is None) == (run_path is None):
        raise InputError("submit needs one thing to submit: give either a run folder or --predictions FILE")
    if run_path is not None:
        run = read_run(run_path)
        if questions is None:
            return run.benchmark, run.answers, None
        asked = load_benchmark(run.benchmark.name, questions, audio=False)
        if asked.digest != run.benchmark.digest:
            raise InputError(
                f"run {str(run_path)!r} asked {run.benchmark.name} ({run.benchmark.version}), and {questions} holds "
                f"({asked.version}): give the file of the run's version, or leave --questions out"
            )
        return asked, run.answers, _published(questions)
    assert predictions is not None
    if questions is None:
        raise InputError("predictions are checked against the questions: give --questions with the published file")
    return load_benchmark(benchmark, questions, audio=False), read_answers(predictions), _published(questions)


def _published(questions: Path) -> dict[str, dict[str, Any]] | None:
    """The rows of a JSON file as they are; ``None`` for other forms, whose rows are made of the questions."""
    from sari_bench.jsonfiles import read_objects

    if questions.suffix.lower() not in (".json", ".jsonl") or not questions.is_file():
        return None
    return {str(row.get("id")): row for row in read_objects(questions, "questions")}


def _print(result: Submission) -> None:
    counts = ", ".join(f"{task} {count:,}" for task, count in result.tasks.items())
    say(f"{result.benchmark} ({result.version}): {counted(len(result.rows), 'question')} ({counts})")
    answered = len(result.rows) - len(result.missing)
    say(
        f"answered: {answered:,}, of these {len(result.unread):,} without an option that could be read, written as said"
    )
    if result.ties:
        say(f"level votes: {len(result.ties):,}, settled for the option that was named first")
