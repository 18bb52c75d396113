"""Put a benchmark's questions to a responder, and keep what it says.

Every response is written as soon as it arrives, so a run that is stopped or killed goes on where it
was: only the fragment of a torn last line is cut off, and its question asked again. Raw text is
never rewritten. A folder that holds a run with other settings is refused.

The responder is given one stream of requests, each made when it is taken: how many are under way
is its own matter, and nothing waits for a chunk to end.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sari_bench.benchmarks.base import Benchmark, digest_of
from sari_bench.jsonfiles import write_whole
from sari_bench.running.run_meta import Plan, RunSettings, check_same, describe, machine, now, used_since
from sari_bench.running.runs import FAILED, META, QUESTIONS, RECIPE, RESPONSES, read_lines, read_meta, read_responses
from sari_data.console import json_text
from sari_data.errors import BenchmarkError, InputError, ResponderError, SariError, StorageError
from sari_data.responder import Request, Responder, Response, Usage, hears_several
from sari_data.types import AudioQuestion

__all__ = ["RunSettings", "run_benchmark"]

SYNC_EVERY_S = 10.0  # what is older survives a power cut; what the process wrote survives its own end anyway

OnResponse = Callable[[Response, AudioQuestion], None]


def run_benchmark(
    benchmark: Benchmark,
    responder: Responder,
    folder: Path,
    settings: RunSettings,
    on_response: OnResponse | None = None,
) -> int:
    """Ask for every answer that is not there yet, and return how many responses were added.

    What the responder could not answer (its ``failed``) is kept with its reason, counts as missing, and is asked
    again the next time.

    Args:
        benchmark: What to ask.
        responder: Who answers.
        folder: The run folder; it is made, or the run in it goes on.
        settings: Mode, sampling and the like; they must be those of the run that is there, but for more samples.
        on_response: Called with each response after it is on disk.

    Raises:
        BenchmarkError: The folder holds a run with other settings or another process is writing to it.
        AudioError: Audio files of the benchmark are not there.
        InputError: Questions are about several recordings, and the responder does not say that it hears several.
        ResponderError: The responder answered something that was not asked, or cannot go on.
        StorageError: A write failed.
    """
    plan = Plan(benchmark, settings)
    if plan.several and not hears_several(responder):
        raise InputError(
            f"{plan.several:,} of {len(benchmark.questions):,} questions of benchmark {benchmark.name!r} are about "
            f"several recordings, and responder {responder.name!r} takes one in a prompt: leave them out with "
            "--one-recording (bench.one_recording), or take a model that hears several"
        )
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        sink = (folder / RESPONSES).open("ab")
    with sink:
        _lock(sink, folder)
        with _writing(folder):
            _open_folder(folder, benchmark, describe(plan, responder), settings)
            _cut_torn_line(folder / RESPONSES, sink)
        done = {(row["id"], row["sample"]) for row in read_responses(folder)}
        left = plan.left(done)
        if not left:
            return _finish_empty(folder)
        return _Sitting(plan, responder, folder, left, on_response).run(sink)


class _Sitting:
    """One go at what is left of a run, recorded in ``run.json`` when it begins and when it ends."""

    def __init__(
        self,
        plan: Plan,
        responder: Responder,
        folder: Path,
        left: Sequence[tuple[int, int, int]],
        on_response: OnResponse | None,
    ) -> None:
        self.plan, self.responder, self.folder, self.left = plan, responder, folder, left
        self.on_response = on_response
        self.questions = {question.id: question for question in plan.benchmark.questions}
        self.under_way: dict[tuple[str, int], str] = {}  # with the prefix of each
        self.answers = self.tokens = 0
        usage = getattr(responder, "usage", None)
        self.before = dataclasses.replace(usage) if isinstance(usage, Usage) else None
        self.number = 1
        self.began = time.monotonic()
        self.record: dict[str, Any] = {"started": now(), "machine": machine()}

    def run(self, sink: Any) -> int:
        """Ask for what is left; the end is recorded however it comes, but for a kill."""
        meta = read_meta(self.folder)
        self.number = len(meta.get("sittings", [])) + 1
        meta |= {"samples": self.plan.settings.samples, "finished": None}
        self._write({**meta, "sittings": [*meta.get("sittings", []), self.record]})
        whole = False
        try:
            self._ask(sink)
            whole = True
        finally:
            failed = self._failed()
            self.record |= {
                "ended": now(),
                "seconds": round(time.monotonic() - self.began, 3),
                "answers": self.answers,
                "tokens": self.tokens,
                "failed": len(failed),
                "usage": used_since(self.before, self.responder),
            }
            meta["finished"] = self.record["ended"] if whole else None
            with _writing(self.folder):
                _write_json(self.folder / FAILED, failed)
            self._write({**meta, "sittings": [*meta.get("sittings", []), self.record]})
        return self.answers

    def _ask(self, sink: Any) -> None:
        last = synced = self.began
        for response in self.responder.respond(self._requests(), self.plan.settings.sampling):
            prefix = self._check(response)
            at = time.monotonic()
            row = {
                "id": response.request_id,
                "sample": response.sample,
                "text": response.text,
                "finish_reason": response.finish_reason,
                "tokens": response.tokens,
                "seconds": round(at - last, 4),  # since the response before: they add up to the run's time
                "at": round(at - self.began, 4),  # since the sitting began
                "sitting": self.number,
                **({"took": round(response.seconds, 4)} if response.seconds is not None else {}),
                **({"prefix": prefix} if prefix else {}),
            }
            last = at
            with _writing(self.folder):
                sink.write(json.dumps(row).encode() + b"\n")
                sink.flush()
                if at - synced > SYNC_EVERY_S:
                    os.fsync(sink.fileno())
                    synced = at
            self.answers += 1
            self.tokens += response.tokens
            if self.on_response is not None:
                self.on_response(response, self.questions[response.request_id])
        with _writing(self.folder):
            os.fsync(sink.fileno())

    def _requests(self) -> Iterator[Request]:
        for index, first, count in self.left:
            request = dataclasses.replace(self.plan.request(index), first_sample=first, samples=count)
            for sample in request.wanted:
                self.under_way[request.id, sample] = request.prefix
            yield request

    def _check(self, response: Response) -> str:
        """Return the prefix that the response had to begin with, and take it off what is under way."""
        key = (response.request_id, response.sample)
        if key not in self.under_way:
            raise ResponderError(
                f"responder {self.responder.name!r} answered {key}, which was not asked or was answered already: the "
                "responder has a fault"
            )
        prefix = self.under_way.pop(key)
        if not response.text.startswith(prefix):
            raise ResponderError(
                f"responder {self.responder.name!r} answered {key} with a text that does not begin with the prefix "
                "that was asked for: take a responder that can go on from a prefix"
            )
        return prefix

    def _failed(self) -> dict[str, str]:
        """Return why questions that were asked have no answer, where the responder says so."""
        reasons = getattr(self.responder, "failed", None) or {}
        asked = {identifier for identifier, _ in self.under_way}
        return {identifier: str(why) for identifier, why in reasons.items() if identifier in asked}

    def _write(self, meta: dict[str, Any]) -> None:
        with _writing(self.folder):
            _write_json(self.folder / META, meta)


def _finish_empty(folder: Path) -> int:
    """Nothing is left to ask: a run that was killed after its last answer is finished now."""
    meta = read_meta(folder)
    if meta.get("finished") is None:
        with _writing(folder):
            _write_json(folder / META, {**meta, "finished": now()})
    return 0


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


def _open_folder(folder: Path, benchmark: Benchmark, meta: dict[str, Any], settings: RunSettings) -> None:
    """Make the run folder, or check that the run in it has the same settings; the caller holds the lock."""
    is_new = not (folder / META).is_file()
    answered = (folder / RESPONSES).stat().st_size > 0
    if is_new and answered:
        raise BenchmarkError(
            f"run folder {str(folder)!r} has responses but no {META}: choose another --name or restore the file"
        )
    if not is_new:
        there = read_meta(folder)
        try:
            check_same(there, meta, folder)
        except BenchmarkError:
            if answered:
                _check_recordings(there, benchmark, folder)
                raise
            is_new = True  # a mistyped model or server answered nothing, so there is nothing to be mixed up with
    if is_new:
        rows = (json_text(gold.to_row()) + "\n" for gold in benchmark.golds)
        write_whole(folder / QUESTIONS, "".join(rows))
    if settings.recipe is not None:
        _write_json(folder / RECIPE, {"bench": settings.recipe.model_dump(mode="json")})
    if is_new:
        _write_json(folder / META, meta)  # last: with it the folder is a run


def _check_recordings(there: dict[str, Any], benchmark: Benchmark, folder: Path) -> None:
    """Raise BenchmarkError where the run that is there asked what is about one recording, and this would ask all."""
    alone = [gold for gold in benchmark.golds if not gold.more_audio]
    if len(alone) < len(benchmark.golds) and there["benchmark"]["digest"] == digest_of(alone):
        raise BenchmarkError(
            f"run folder {str(folder)!r} holds a run on the {len(alone):,} questions of {benchmark.name!r} that are "
            f"about one recording, and all {len(benchmark.golds):,} are asked for: go on with --one-recording, or "
            "choose another --name"
        )


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


def _write_json(path: Path, body: dict[str, Any]) -> None:
    write_whole(path, json.dumps(body, indent=2) + "\n")
