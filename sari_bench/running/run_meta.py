"""What ``run.json`` says of a run: what was asked of whom and how, and the sittings in which it was asked.

A part of it, the settings, must be the same for a run to go on; ``samples`` may grow.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sari_bench.benchmarks.base import Benchmark
from sari_data.config import Table
from sari_data.errors import AudioError, BenchmarkError
from sari_data.prompting import TEMPLATES_VARIABLE, load_mode, render_prompt
from sari_data.resources import templates_dir
from sari_data.responder import Request, Responder, Sampling, Usage, stretches
from sari_data.types import AudioQuestion, AudioRef

BuildRequest = Callable[[AudioQuestion, str], Request]


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a benchmark is put to a model.

    Args:
        mode: Response mode.
        sampling: How to sample.
        samples: Answers to each question; a run may go on with more of them, never with fewer.
        word_limit: Words that the prompt allows for the thought.
        model: Folder or name of the model, for people; what identifies it is the responder's name.
        responder: Which responder answers, for people.
        variant: What is asked otherwise than the benchmark says, in a word; empty: nothing is.
        requests: Makes the request from a question and its prompt (its id and samples are the runner's matter): other
            audio or none, another prompt, a prefix. It is called twice for each question and must return the same.
        recipe: The table in effect; it is kept beside the answers, from before the first question is asked.
    """

    mode: str
    sampling: Sampling = field(default_factory=Sampling)
    samples: int = 1
    word_limit: int | None = None
    model: str = ""
    responder: str = ""
    variant: str = ""
    requests: BuildRequest | None = None
    recipe: Table | None = None


class Plan:
    """The requests of a run, made one by one when they are asked for, so that no audio is held.

    ``several`` is how many of them are about several recordings.

    Args:
        benchmark: What is asked.
        settings: How.

    Raises:
        AudioError: Audio files of the requests are not there.
    """

    def __init__(self, benchmark: Benchmark, settings: RunSettings) -> None:
        self.benchmark, self.settings = benchmark, settings
        self._rendered = [render_prompt(q, settings.mode, word_limit=settings.word_limit) for q in benchmark.questions]
        self.example = ""
        prompts, parts = hashlib.sha256(), hashlib.sha256()
        files: list[str] = []
        recordings = self.several = 0
        for index in range(len(self._rendered)):
            request = self.request(index)
            self.example = self.example if index else request.prompt
            prompts.update(("\0" if index else "").encode() + request.prompt.encode())
            if settings.requests is not None:
                names: list[str | None] = [_audio_name(audio) for audio in request.recordings]
                parts.update(json.dumps([*(names or [None]), request.prefix]).encode())
            recordings += len(request.recordings)
            self.several += len(request.recordings) > 1
            files += [str(audio.path) for audio in request.recordings if audio.data is None]
        _check_files(benchmark.name, files, recordings)
        self.prompts_digest, self.parts_digest = prompts.hexdigest(), parts.hexdigest()

    def request(self, index: int) -> Request:
        """Return the request of a question, with the benchmark's own id."""
        question, prompt = self.benchmark.questions[index], self._rendered[index]
        if self.settings.requests is None:
            return Request(question.id, question.audio, prompt, more_audio=question.more_audio)
        return dataclasses.replace(self.settings.requests(question, prompt), id=question.id)

    def left(self, done: set[tuple[str, int]]) -> list[tuple[int, int, int]]:
        """Return (question's index, first sample, number of samples) of each run of samples that is not there yet."""
        found = []
        for index, question in enumerate(self.benchmark.questions):
            missing = [sample for sample in range(self.settings.samples) if (question.id, sample) not in done]
            found += [(index, first, count) for first, count in stretches(missing)]
        return found


def check_audio(benchmark: Benchmark) -> None:
    """Raise where recordings of a benchmark are files that are not there; for before a model is loaded.

    Raises:
        AudioError: Some are not there; it names the first.
    """
    heard = [audio for question in benchmark.questions for audio in question.recordings]
    _check_files(benchmark.name, [str(audio.path) for audio in heard if audio.data is None], len(heard))


def _check_files(name: str, files: Sequence[str], recordings: int) -> None:
    absent = [path for path in files if not Path(path).is_file()]
    if absent:
        raise AudioError(
            f"{len(absent)} of {recordings} audio files of benchmark {name!r} do not exist "
            f"(the first is {absent[0]!r}): give the folder that they are in with --audio"
        )


def _audio_name(audio: AudioRef) -> str:
    """What stands for a recording: its content key, or for a file its name, so that its folder may move."""
    if audio.is_known:
        return audio.key
    return f"{Path(str(audio.path)).name}|{audio.start}|{audio.duration}"


def describe(plan: Plan, responder: Responder) -> dict[str, Any]:
    """Return what ``run.json`` says of a run before its first sitting."""
    benchmark, settings = plan.benchmark, plan.settings
    is_folder = bool(settings.model) and Path(settings.model).is_dir()
    path = str(Path(settings.model).resolve()) if is_folder else settings.model
    meta: dict[str, Any] = {
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
            "prompts_digest": plan.prompts_digest,
            "word_limit": settings.word_limit,
            "template": _template_text(settings.mode),
            "example": plan.example,
        },
        "sampling": {**dataclasses.asdict(settings.sampling), "stop": list(settings.sampling.stop)},
        "samples": settings.samples,
        "code_version": version("sari-audio"),
        "started": now(),
        "finished": None,
        "sittings": [],
    }
    if settings.variant or settings.requests is not None:
        meta["variant"] = {"name": settings.variant, "requests_digest": plan.parts_digest}
    return meta


def check_same(there: dict[str, Any], here: dict[str, Any], folder: Path) -> None:
    """Raise BenchmarkError unless the run that is there can go on as the one that is wanted here."""
    old, new = _settings_of(there), _settings_of(here)
    # A variant stands in the folder of its run, and has no name of its own to choose.
    anew = "delete the folder to measure anew"
    advice = f"ask as it was asked (--seed too), or {anew}" if new["variant"] else f"choose another --name, or {anew}"
    changed = [f"{key} (there {old.get(key)}, here {new[key]})" for key in new if old.get(key) != new[key]]
    if changed:
        raise BenchmarkError(f"run folder {str(folder)!r} holds a run with another {'; '.join(changed)}: {advice}")
    if here["samples"] < there["samples"]:
        raise BenchmarkError(
            f"run folder {str(folder)!r} holds a run with {there['samples']} samples of each question, and "
            f"{here['samples']} are asked for: samples may grow but not shrink, so ask for {there['samples']} or more, "
            f"or {anew if new['variant'] else 'choose another --name'}"
        )


def _settings_of(meta: dict[str, Any]) -> dict[str, Any]:
    """The part of ``run.json`` that must be the same for a run to go on, by what it is called in messages."""
    variant = meta.get("variant") or {}
    return {
        "model": meta["model"].get("name"),
        "benchmark": meta["benchmark"]["name"],
        "benchmark version": meta["benchmark"]["digest"],
        "mode": meta["mode"],
        "variant": variant.get("name", ""),
        "variant's requests": variant.get("requests_digest"),
        "prompts": meta.get("prompt", {}).get("prompts_digest"),
        **{f"sampling {key}": value for key, value in meta["sampling"].items()},
    }


def machine() -> dict[str, Any]:
    """Return what this process runs on: processor, cores, Python, and torch with its device where it is loaded."""
    found: dict[str, Any] = {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    torch = sys.modules.get("torch")  # loaded by a responder, or not at all
    if torch is not None:
        found["torch"] = str(torch.__version__)
        if torch.cuda.is_available():
            found["gpu"] = torch.cuda.get_device_name()
    return found


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def used_since(before: Usage | None, responder: Responder) -> dict[str, Any] | None:
    """Return what a responder used since ``before`` (a copy of its usage), or ``None`` where it does not count."""
    usage = getattr(responder, "usage", None)
    if before is None or not isinstance(usage, Usage):
        return None
    then, current = dataclasses.asdict(before), dataclasses.asdict(usage)
    return {key: None if value is None else value - (then[key] or 0) for key, value in current.items()}


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _template_text(mode: str) -> str:
    """Return the text of the mode's prompt template, the user's own before the one that ships."""
    own = os.environ.get(TEMPLATES_VARIABLE)
    roots = [Path(own), templates_dir()] if own else [templates_dir()]
    names = (f"modes/{mode}/prompt.jinja", "modes/question.jinja")
    found = [next((root / name for root in roots if (root / name).is_file()), None) for name in names]
    return "\n".join(f"{{# {path.name} #}}\n{path.read_text(encoding='utf-8')}" for path in found if path is not None)
