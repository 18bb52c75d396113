"""Run benchmarks with live progress, and what the bare leaderboard measures by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sari_bench.benchmarks import load_benchmark
from sari_bench.benchmarks.base import Benchmark
from sari_bench.config import Bench
from sari_bench.run_meta import BuildRequest
from sari_bench.runner import RunSettings, run_benchmark
from sari_bench.runs import META, RESPONSES, Run, read_run
from sari_data.answers import grade
from sari_data.console import err, note
from sari_data.errors import CheckpointError, InputError, StorageError
from sari_data.responder import Responder, Response, load_responder
from sari_data.types import AudioQuestion

RUNS = Path("runs")
MEASURING = ".measuring"  # below runs/ while measure_defaults is at work, so that it goes on after a stop
CHECKPOINTS = ("sft", "grpo")  # below ./checkpoints, where sari-train writes them
_NOTES = 5  # lines of progress for a run whose output is not a terminal
_WITH_MODEL = ("local", "server")  # responders that are told which model to be
_BASE_MODE = "direct"  # the embedded base answers directly; it has learned no other form


def open_responder(bench: Bench, options: dict[str, Any] | None = None) -> Responder:
    """Load the responder that the table names, told which model to be where it is one that is told.

    Raises:
        PluginError: It is not registered, or fails to load.
        InputError: The options do not fit it.
    """
    taken = _responder_options(bench, options or {})
    try:
        return load_responder(bench.responder, **taken)
    except TypeError as error:
        raise InputError(
            f"responder {bench.responder!r} could not be made with the options {sorted(taken)} ({error}): "
            "correct --responder-option"
        ) from error


def measure(
    bench: Bench,
    benchmark: Benchmark,
    folder: Path,
    options: dict[str, Any] | None = None,
    *,
    responder: Responder | None = None,
    variant: str = "",
    requests: BuildRequest | None = None,
) -> Run:
    """Run a benchmark into ``folder``, or go on with the run in it, and read it back.

    Args:
        bench: Model, responder, mode and sampling.
        benchmark: What to ask.
        folder: The run folder.
        options: Further options of the responder.
        responder: Who answers, where it is loaded already; then ``options`` are not looked at.
        variant: What is asked otherwise, and with ``requests`` how (:class:`sari_bench.runner.RunSettings`).
        requests: Makes the variant's requests.

    Raises:
        SariError: As :func:`sari_bench.runner.run_benchmark`, and where the responder cannot be loaded.
    """
    settings = RunSettings(
        mode=bench.mode,
        sampling=bench.sampling(),
        samples=bench.samples,
        word_limit=bench.word_limit,
        model=bench.model if bench.responder in _WITH_MODEL else "",
        responder=bench.responder,
        variant=variant,
        requests=requests,
        recipe=bench,
    )
    total = len(benchmark.questions) * bench.samples
    done = _count_lines(folder / RESPONSES)
    if done:
        note(f"{folder}: {done:,} of {total:,} answers are there already")
    asked = responder if responder is not None else open_responder(bench, options)
    with _progress(folder.name, done, total) as on_response:
        added = run_benchmark(benchmark, asked, folder, settings, on_response)
    note(f"{folder}: {added:,} answers added")
    return read_run(folder)


def load_for(bench: Bench) -> Benchmark:
    """Load the benchmark that the table names, limited as it says, and say what must be known of it."""
    benchmark = load_benchmark(bench.benchmark, bench.questions, bench.audio, **bench.benchmark_options())
    for sentence in benchmark.notes:
        note(f"note: {sentence}")
    return benchmark.limit(bench.limit)


def run_folder(out: Path, benchmark: str, model: str, mode: str, name: str | None) -> Path:
    """Return ``out/<benchmark>/<name>``; the name is the model's and the mode's unless one is given.

    Raises:
        InputError: The name is not the name of one folder.
    """
    chosen = name if name is not None else f"{Path(model).resolve().name if model else 'model'}@{mode}"
    if chosen in ("", ".", "..") or "/" in chosen or "\\" in chosen:
        raise InputError(f"a run's name must be the name of one folder; found {chosen!r}: choose another --name")
    return out / benchmark.replace("/", "_").replace(":", "_").replace("#", "_") / chosen


def measure_defaults(bench: Bench, out: Path) -> list[Run]:
    """Measure what the current folder has: the embedded base and ./checkpoints/{sft,grpo}.

    Raises:
        InputError: torch is not installed, so no model can run here.
    """
    if find_spec("torch") is None:
        raise InputError(
            "there are no runs to report and no torch to make some with: install sari-audio[train], or give run folders"
        )
    found = [("tiny", _BASE_MODE, "base: the embedded model 'tiny', mode direct")]
    for kind in CHECKPOINTS:
        folder = Path("checkpoints") / kind
        if any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
            mode = _trained_mode(folder, kind)
            found.append((str(folder), mode, f"{kind}: the checkpoint ./{folder}, mode {mode}"))
        else:
            note(f"{kind}: no checkpoint in ./{folder}, so it is left out ('sari-train {kind}' makes one)")
    benchmark = load_for(bench)
    _touch(out / MEASURING)
    note(f"measuring on {benchmark.name} ({benchmark.version}): {len(benchmark.questions):,} held-out questions")
    runs = []
    for model, mode, sentence in found:
        note(sentence)
        table = bench.model_copy(update={"model": model, "mode": mode, "responder": "local"})
        runs.append(measure(table, benchmark, run_folder(out, benchmark.name, model, mode, None)))
    (out / MEASURING).unlink()
    return runs


def stale_notes(runs: list[Run]) -> list[str]:
    """Return a sentence for each run whose model folder was written after the run."""
    notes = []
    for run in runs:
        path = run.meta["model"].get("path")
        weights = sorted(Path(path).glob("*.safetensors")) if path else []
        if weights and weights[0].stat().st_mtime > (run.folder / META).stat().st_mtime:
            notes.append(
                f"{run.name} was measured before its model folder was last written: delete {run.folder} and run again "
                "to measure the new one"
            )
    return notes


def _touch(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise StorageError(
            f"folder {str(path.parent)!r} cannot be written ({error.strerror}): free space or work in another folder"
        ) from error


def _trained_mode(folder: Path, kind: str) -> str:
    """The mode that a checkpoint was trained in, as its effective recipe records it."""
    path = folder / "recipe.json"
    if not path.is_file():
        return "structured"
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))[kind]["mode"])
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} does not say in which mode {kind} was trained ({error!r}): restore it, or measure the checkpoint "
            f"with 'sari-bench run --model {folder} --mode MODE'"
        ) from error


def _responder_options(bench: Bench, options: dict[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {}
    if bench.responder in _WITH_MODEL:
        known["model"] = bench.model
    if bench.responder == "local" and bench.batch_size is not None:
        known["batch_size"] = bench.batch_size
    return {**known, **options}


def _count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


@contextmanager
def _progress(name: str, done: int, total: int) -> Iterator[Any]:
    """Show answers done, accuracy so far, speed and time left on standard error; in a log, a few lines."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    counts = {"answers": 0, "right": 0, "graded": 0, "unread": 0, "tokens": 0}
    began = time.monotonic()
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        TimeRemainingColumn(),
    )
    live = err.is_terminal
    step = max((total - done) // _NOTES, 1)
    with Progress(*columns, console=err, transient=True, disable=not live) as progress:
        bar = progress.add_task(name, total=total, completed=done, state="")

        def on_response(response: Response, question: AudioQuestion) -> None:
            counts["tokens"] += response.tokens
            counts["answers"] += 1
            if question.answer is not None:
                outcome = grade(response.text, question, finish_reason=response.finish_reason).outcome
                counts["graded"] += 1
                counts["right"] += outcome == "correct"
                counts["unread"] += outcome in ("unparsed", "truncated")
            share = 100 * counts["right"] / max(counts["graded"], 1)
            speed = counts["tokens"] / max(time.monotonic() - began, 1e-9)
            state = f"{share:.1f} % right so far, {counts['unread']} unread, {speed:,.0f} tokens/s"
            progress.update(bar, advance=1, state=state)
            if not live and counts["answers"] % step == 0:
                note(f"{name}: {done + counts['answers']:,} of {total:,}, {state}")

        yield on_response
