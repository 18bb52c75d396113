"""What commands keep beside a run's answers: further run folders of its model, and a file of results made from all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sari_bench.benchmarks.base import Benchmark
from sari_bench.config import Bench
from sari_bench.counting import are, counted
from sari_bench.jsonfiles import write_whole
from sari_bench.running.measure import make_responder
from sari_bench.running.runs import RESPONSES, Run, count_responses
from sari_data.console import json_text, note
from sari_data.errors import BenchmarkError, ResponderError, StorageError
from sari_data.responder import Request, Responder, Response, Sampling

ResultT = TypeVar("ResultT")


def read_results(
    folder: Path,
    place: str,
    command: str,
    read: Callable[[dict[str, Any]], ResultT],
    digest: Callable[[dict[str, Any]], str | None],
) -> ResultT | None:
    """Return the results that a command left beside a run, or ``None`` where it left none.

    Where the run has got other answers since, one of their ``notes`` says so.

    Args:
        folder: The run's folder.
        place: The file of results in it.
        command: The command, as it is given.
        read: Makes them of the file's JSON.
        digest: Returns from the JSON the SHA-256 of the run's responses that they were made from.

    Raises:
        BenchmarkError: The file is not as it was written.
    """
    path = folder / place
    if not path.is_file():
        return None
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if digest(body) != file_digest(folder / RESPONSES):
            body["notes"].append(f"the run has other answers since '{command}' was run on it: run that again")
        return read(body)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BenchmarkError(
            f"{path} is not what '{command}' wrote ({error!r}): delete it and run that command again"
        ) from error


def write_results(path: Path, body: dict[str, Any]) -> None:
    """Write results as JSON, whole or not at all.

    Raises:
        StorageError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json_text(body, indent=2) + "\n")
    except OSError as error:
        raise StorageError(
            f"{str(path)!r} could not be written ({error.strerror}): free space; the same command then goes on"
        ) from error


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits; of a file that is not there, that of nothing."""
    return hashlib.sha256(path.read_bytes() if path.is_file() else b"").hexdigest()


def responder_for(run: Run, bench: Bench, left: int) -> Responder:
    """Return the run's model, loaded only where answers are left to give."""
    return make_responder(bench) if left else Recorded(str(run.meta["model"].get("name")))


def missing_answers(benchmark: Benchmark, folder: Path, bench: Bench) -> int:
    """Return how many answers a run of these questions in ``folder`` lacks."""
    return max(len(benchmark.questions) * bench.samples - count_responses(folder), 0)


def say_costs(due: Sequence[tuple[str, Benchmark, Path]], bench: Bench) -> int:
    """Say of each (name, questions, run folder) how many answers are due, and return how many are missing in all.

    What has one name is told as one.
    """
    counts: dict[str, tuple[int, int]] = {}
    for name, benchmark, folder in due:
        total, missing = counts.get(name, (0, 0))
        total += len(benchmark.questions) * bench.samples
        counts[name] = total, missing + missing_answers(benchmark, folder, bench)
    for name, (count, missing) in counts.items():
        there = count - missing
        note(f"{name}: {counted(count, 'answer')} {are(count)} due, {there:,} of them {are(there)} there")
    return sum(missing for _, missing in counts.values())


class Recorded:
    """Stands for a model that has nothing left to answer, so that it need not be loaded.

    Args:
        name: The model's name, as it was recorded.
    """

    hears_several = True  # what it heard was its matter

    def __init__(self, name: str) -> None:
        self.name = name

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        """Raise ResponderError: whoever counted the answers found none missing."""
        raise ResponderError(
            f"answers of {self.name!r} went missing while they were counted: run the same command again"
        )
