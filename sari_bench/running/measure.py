"""Run benchmarks with live progress, and what the bare leaderboard measures by itself."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sari_bench.benchmarks import load_benchmark
from sari_bench.benchmarks.base import Benchmark
from sari_bench.config import Bench
from sari_bench.counting import are, counted
from sari_bench.running.progress import run_progress
from sari_bench.running.run_meta import BuildRequest, RunSettings, check_audio
from sari_bench.running.runner import run_benchmark
from sari_bench.running.runs import FAILED, META, Run, count_responses, read_run
from sari_data.console import note
from sari_data.errors import CheckpointError, InputError, StorageError
from sari_data.hub import check_model_name
from sari_data.metering import describe_usage, list_reasons
from sari_data.prompting import load_mode
from sari_data.responder import Responder, Usage, check_registered, load_responder

RUNS = Path("runs")
MEASURING = ".measuring"  # below runs/ while measure_defaults is at work, so that it goes on after a stop
CHECKPOINTS = ("sft", "grpo")  # below ./checkpoints, where sari-train writes them
_WITH_MODEL = ("local", "server")  # responders that are told which model to be
_OF_LOCAL = ("batch_size", "long_audio")  # keys of the table that only the local responder has
_BASE_MODE = "direct"  # the embedded base answers directly; it has learned no other form


def measure(
    bench: Bench,
    benchmark: Benchmark,
    folder: Path,
    options: Mapping[str, Any] | None = None,
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
        options: Further options of the responder; they win over the table's.
        responder: A responder that was made already, for several runs with one model.
        variant: What is asked otherwise, see :class:`sari_bench.running.run_meta.RunSettings`.
        requests: How, likewise.

    Raises:
        SariError: As :func:`sari_bench.running.runner.run_benchmark`, and where the responder cannot be loaded.
    """
    bench = with_options(bench, options or {})
    if responder is None:
        check_audio(benchmark)  # before a model is loaded
        responder = make_responder(bench)
    settings = dataclasses.replace(run_settings(bench), variant=variant, requests=requests)
    total = len(benchmark.questions) * bench.samples
    done = count_responses(folder)
    if done:
        note(f"{folder}: {'all' if done >= total else f'{done:,} of'} {total:,} answers are there already")
    try:
        if done >= total:
            added = run_benchmark(benchmark, responder, folder, settings)
        else:
            with run_progress(folder.name, done, total, responder) as on_response:
                added = run_benchmark(benchmark, responder, folder, settings, on_response)
    except KeyboardInterrupt:
        there = count_responses(folder)
        note(f"{folder}: {there:,} of {total:,} answers are there, and the same command goes on")
        raise
    run = read_run(folder)
    tell(run, added)
    return run


def tell(run: Run, added: int) -> None:
    """Say what a sitting added, how fast, what it used, and what is still missing and why."""
    sitting = run.sittings[-1] if run.sittings else {}
    missing = len(run.benchmark.golds) * run.samples - sum(map(len, run.answers.values()))
    if added or missing:
        note(f"{run.folder}: {counted(added, 'answer')} added")
    if added:
        usage = sitting.get("usage")
        spent = describe_usage(Usage(**usage)) if usage else ""
        note(f"{run.timing(len(run.sittings))}" + (f"; {spent}" if spent else ""))
    if not missing:
        return
    reasons = Counter(why.partition(":")[0] for why in run.failed.values())
    why = f": {counted(len(run.failed), 'question')} failed ({list_reasons(reasons)})" if reasons else ""
    note(
        f"{counted(missing, 'answer')} {are(missing)} missing{why}: {run.folder / FAILED} says why, and the same "
        "command asks for them again"
    )


def with_options(bench: Bench, options: Mapping[str, Any]) -> Bench:
    """Return the table with further options of the responder; one that names the model is the table's model."""
    merged = {**bench.responder_options, **options}
    changes: dict[str, Any] = {"responder_options": merged}
    if bench.responder in _WITH_MODEL and "model" in merged:
        changes["model"] = str(merged.pop("model"))
    return bench.model_copy(update=changes)


def make_responder(bench: Bench) -> Responder:
    """Make the responder that the table names.

    Raises:
        PluginError: It is not registered or fails to load.
        InputError: An option does not fit it.
    """
    taken: dict[str, Any] = {"model": bench.model} if bench.responder in _WITH_MODEL else {}
    if bench.responder == "local":
        taken["on_error"] = "skip"  # one clip that does not decode must not keep a run from its end
    for key in _OF_LOCAL:
        value = getattr(bench, key)
        if value is not None and bench.responder == "local":
            taken[key] = value
        elif value is not None:
            note(f"{key} is for the responder 'local'; {bench.responder!r} is not told of it")
    taken |= bench.responder_options
    try:
        return load_responder(bench.responder, **taken)
    except TypeError as error:
        raise InputError(
            f"responder {bench.responder!r} could not be made with the options {sorted(taken)} ({error}): "
            "correct --responder-option"
        ) from error


def run_settings(bench: Bench) -> RunSettings:
    """Return how the table puts a benchmark to a model."""
    return RunSettings(
        mode=bench.mode,
        sampling=bench.sampling(),
        samples=bench.samples,
        word_limit=bench.word_limit,
        model=bench.model if bench.responder in _WITH_MODEL else "",
        responder=bench.responder,
        recipe=bench,
    )


def check_model(bench: Bench) -> None:
    """Raise where mode, responder or model cannot be, as far as their names alone tell.

    The run would say so itself, but only after the benchmark and its audio were fetched.

    Raises:
        TemplateError: There is no such response mode.
        PluginError: There is no such responder.
        CheckpointError: The responder ``local`` is to open a model that there cannot be.
    """
    load_mode(bench.mode)
    check_registered(bench.responder)
    if bench.responder == "local":
        check_model_name(bench.model)


def load_for(bench: Bench) -> Benchmark:
    """Load the benchmark that the table names, limited as it says, and say what must be known of it."""
    benchmark = load_benchmark(bench.benchmark, bench.questions, bench.audio, **bench.benchmark_options())
    for sentence in benchmark.notes:
        note(f"note: {sentence}")
    return bench.part_of(benchmark)


def run_folder(out: Path, benchmark: str, model: str, mode: str, name: str | None) -> Path:
    """Return ``out/<benchmark>/<name>``; the name is the model's and the mode's unless one is given.

    Raises:
        InputError: The name is not the name of one folder.
    """
    chosen = name if name is not None else f"{Path(model).resolve().name if model else 'model'}@{mode}"
    if chosen in ("", ".", "..") or "/" in chosen or "\\" in chosen or not chosen.isprintable():
        raise InputError(
            f"a run's name must be the name of one folder, of signs that can be printed; found {chosen!r}: choose "
            "another --name"
        )
    return out / "".join("_" if sign in "/:#" or not sign.isprintable() else sign for sign in benchmark) / chosen


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
