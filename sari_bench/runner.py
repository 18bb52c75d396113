"""Put a benchmark's questions to a responder, and keep what it says.

Every response is written as soon as it arrives, so a run that is stopped or killed goes on where it
was: only the fragment of a torn last line is cut off, and its question asked again. Raw text is
never rewritten. A folder that holds a run with other settings is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sari_bench.benchmarks.base import Benchmark
from sari_bench.runs import META, QUESTIONS, RESPONSES, read_lines, read_meta, read_responses
from sari_data.errors import AudioError, BenchmarkError, ResponderError, SariError, StorageError
from sari_data.prompting import TEMPLATES_VARIABLE, load_mode, render_prompt
from sari_data.resources import templates_dir
from sari_data.responder import Request, Responder, Response, Sampling
from sari_data.types import AudioQuestion

CHUNK = 1024  # requests handed to the responder at once: bounds what it may hold


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a benchmark is put to a model."""

    mode: str
    sampling: Sampling = field(default_factory=Sampling)
    samples: int = 1
    word_limit: int | None = None
    model: str = ""
    responder: str = ""


def run_benchmark(
    benchmark: Benchmark,
    responder: Responder,
    folder: Path,
    settings: RunSettings,
    on_response: Callable[[Response, AudioQuestion], None] | None = None,
) -> int:
    """Ask every question that has no answer yet, and return how many responses were added.

    Args:
        benchmark: What to ask.
        responder: Who answers.
        folder: The run folder; it is made, or the run in it goes on.
        settings: Mode, sampling and the like; they must be those of the run that is there.
        on_response: Called with each response after it is on disk.

    Raises:
        BenchmarkError: The folder holds a run with other settings or another process is writing to it.
        AudioError: Audio files of the benchmark are not there.
        ResponderError: The responder answered something that was not asked.
        StorageError: A write failed.
    """
    _check_audio(benchmark)
    prompts = [render_prompt(q, settings.mode, word_limit=settings.word_limit) for q in benchmark.questions]
    meta = _describe(benchmark, responder, settings, prompts)
    with _writing(folder):
        _open_folder(folder, benchmark, meta)
    added = 0
    with (folder / RESPONSES).open("ab") as sink:
        _lock(sink, folder)
        with _writing(folder):
            _cut_torn_line(folder / RESPONSES, sink)
        done = {(row["id"], row["sample"]) for row in read_responses(folder)}
        for row in _ask(benchmark, responder, settings, prompts, done, on_response):
            with _writing(folder):
                sink.write(json.dumps(row).encode() + b"\n")
                sink.flush()
            added += 1
    there = read_meta(folder)
    if added or there["finished"] is None:
        with _writing(folder):
            _write_json(folder / META, {**there, "finished": _now()})
    return added


def _ask(
    benchmark: Benchmark,
    responder: Responder,
    settings: RunSettings,
    prompts: Sequence[str],
    done: set[tuple[str, int]],
    on_response: Callable[[Response, AudioQuestion], None] | None,
) -> Iterator[dict[str, Any]]:
    """Yield a row for each new response; the caller has written a row before the next is made."""
    samples = range(settings.samples)
    due = [
        (question, Request(question.id, question.audio, prompt, settings.samples))
        for question, prompt in zip(benchmark.questions, prompts, strict=True)
        if any((question.id, sample) not in done for sample in samples)
    ]
    for start in range(0, len(due), CHUNK):
        chunk = due[start : start + CHUNK]
        questions = {question.id: question for question, _ in chunk}
        before = time.monotonic()
        for response in responder.respond((request for _, request in chunk), settings.sampling):
            key = (response.request_id, response.sample)
            if response.request_id not in questions or response.sample not in samples:
                raise ResponderError(
                    f"responder {responder.name!r} answered {key}, which was not asked: the responder has a fault"
                )
            if key in done:
                continue  # the first samples of a question that was interrupted; they are kept as they were
            done.add(key)
            now = time.monotonic()
            yield {
                "id": response.request_id,
                "sample": response.sample,
                "text": response.text,
                "finish_reason": response.finish_reason,
                "tokens": response.tokens,
                "seconds": round(now - before, 4),  # since the response before: they add up to the run's time
            }
            before = now
            if on_response is not None:
                on_response(response, questions[response.request_id])


def _describe(
    benchmark: Benchmark, responder: Responder, settings: RunSettings, prompts: Sequence[str]
) -> dict[str, Any]:
    is_folder = bool(settings.model) and Path(settings.model).is_dir()
    path = str(Path(settings.model).resolve()) if is_folder else settings.model
    return {
        # A responder's name identifies model and revision: a checkpoint trained further has another name.
        "model": {"name": responder.name, "path": path, "responder": settings.responder},
        "benchmark": {
            "name": benchmark.name,
            "version": benchmark.version,
            "digest": benchmark.digest,
            "questions": len(benchmark.questions),
            "notes": list(benchmark.notes),
        },
        "mode": settings.mode,
        "prompt": {
            "mode_digest": load_mode(settings.mode).digest,
            "prompts_digest": hashlib.sha256("\0".join(prompts).encode()).hexdigest(),
            "word_limit": settings.word_limit,
            "template": _template_text(settings.mode),
            "example": prompts[0],
        },
        "sampling": {**dataclasses.asdict(settings.sampling), "stop": list(settings.sampling.stop)},
        "samples": settings.samples,
        "code_version": version("sari-audio"),
        "started": _now(),
        "finished": None,
    }


def _settings_of(meta: dict[str, Any]) -> dict[str, Any]:
    """The part of ``run.json`` that must be the same for a run to go on, by what it is called in messages."""
    return {
        "model": meta["model"].get("name"),
        "benchmark": meta["benchmark"]["name"],
        "benchmark version": meta["benchmark"]["digest"],
        "mode": meta["mode"],
        "prompts": meta.get("prompt", {}).get("prompts_digest"),
        **{f"sampling {key}": value for key, value in meta["sampling"].items()},
        "samples": meta["samples"],
    }


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turn a failed write into a StorageError; only writes go inside, so that no other error is renamed."""
    try:
        yield
    except SariError:
        raise
    except OSError as error:
        raise StorageError(
            f"run folder {str(folder)!r} could not be written ({error.strerror or error}): free space or choose "
            "another --out; the same command then goes on"
        ) from error


def _open_folder(folder: Path, benchmark: Benchmark, meta: dict[str, Any]) -> None:
    """Make the run folder, or check that the run in it has the same settings."""
    if (folder / META).is_file():
        there, here = _settings_of(read_meta(folder)), _settings_of(meta)
        changed = [f"{key} (there {there.get(key)}, here {here[key]})" for key in here if there.get(key) != here[key]]
        if changed:
            raise BenchmarkError(
                f"run folder {str(folder)!r} holds a run with another {'; '.join(changed)}: "
                "choose another --name, or delete the folder to measure anew"
            )
        return
    if (folder / RESPONSES).exists():
        raise BenchmarkError(
            f"run folder {str(folder)!r} has responses but no {META}: choose another --name or restore the file"
        )
    folder.mkdir(parents=True, exist_ok=True)
    rows = (json.dumps(gold.to_row(), ensure_ascii=False) + "\n" for gold in benchmark.golds)
    (folder / QUESTIONS).write_text("".join(rows), encoding="utf-8")
    _write_json(folder / META, meta)  # last: with it the folder is a run


def _lock(sink: Any, folder: Path) -> None:
    """Hold the responses file for this process; the lock ends with the process, however it ends."""
    import fcntl

    try:
        fcntl.flock(sink, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BenchmarkError(
            f"run folder {str(folder)!r} is being written by another process: wait for it, or choose another --name"
        ) from error


def _cut_torn_line(path: Path, sink: Any) -> None:
    _, end = read_lines(path)
    if end < path.stat().st_size:
        sink.truncate(end)


def _check_audio(benchmark: Benchmark) -> None:
    """Raise AudioError before anything runs where audio files are not there."""
    absent = [
        q.audio.path for q in benchmark.questions if q.audio.data is None and not Path(str(q.audio.path)).is_file()
    ]
    if absent:
        raise AudioError(
            f"{len(absent)} of {len(benchmark.questions)} audio files of benchmark {benchmark.name!r} do not exist "
            f"(the first is {absent[0]!r}): give the folder that they are in with --audio"
        )


def _template_text(mode: str) -> str:
    """Return the text of the mode's prompt template, the user's own before the one that ships."""
    own = os.environ.get(TEMPLATES_VARIABLE)
    roots = [Path(own), templates_dir()] if own else [templates_dir()]
    names = (f"modes/{mode}/prompt.jinja", "modes/question.jinja")
    found = [next((root / name for root in roots if (root / name).is_file()), None) for name in names]
    return "\n".join(f"{{# {path.name} #}}\n{path.read_text(encoding='utf-8')}" for path in found if path is not None)


def _write_json(path: Path, body: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
