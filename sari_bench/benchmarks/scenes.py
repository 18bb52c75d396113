"""Held-out scenes: the embedded benchmark, made anew from a seed and ranges that no corpus uses.

It needs no download. With ``recordings`` in its options the scenes are composed of recordings, for
instance of a speaker that training never heard.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from sari_bench.benchmarks.base import Benchmark, from_questions
from sari_data.errors import InputError
from sari_data.sources.scenes import Options, generate
from sari_data.types import AudioQuestion

NAME = "scenes"
SUMMARY = "held-out scenes composed from a known truth: 300 questions each on sound, music and speech"
QUESTIONS = 900
HUB = ""
LICENCE = "CC0 1.0 (synthesized); that of the recordings where recordings are used"
HOW_TO_GET = "nothing to get: it is generated; [bench.scenes] sets its options"

SEED = 990_017
PER_DOMAIN = 300


class HeldOut(Options):
    """The benchmark's options: those of the source, with the benchmark's own defaults."""

    questions: dict[str, int] = Field(default_factory=lambda: dict.fromkeys(("sound", "music", "speech"), PER_DOMAIN))
    acoustics: Literal["corpus", "benchmark"] = "benchmark"

    @model_validator(mode="before")
    @classmethod
    def _only_the_recordings_domain(cls, value: Any) -> Any:
        """Recordings have one domain: without a word on ``questions`` the benchmark asks about that one."""
        if isinstance(value, dict) and isinstance(value.get("recordings"), dict) and "questions" not in value:
            return {**value, "questions": {value["recordings"].get("domain", "speech"): PER_DOMAIN}}
        return value


def load(questions: Path | None, audio_root: Path | None, *, audio: bool = True, **options: Any) -> Benchmark:
    """Generate the benchmark.

    Args:
        questions: Must be ``None``: scenes are generated, not read.
        audio_root: Must be ``None`` too.
        audio: Makes no difference: scenes are made with their audio.
        options: ``scenes`` (:class:`HeldOut`) and ``scenes_seed`` (default SEED).

    Raises:
        InputError: A file or folder was given, or the options do not fit.
    """
    if questions is not None or audio_root is not None:
        raise InputError(f"benchmark {NAME!r} is generated: leave --questions and --audio out")
    unknown = set(options) - {"scenes", "scenes_seed"}
    if unknown:
        raise InputError(f"benchmark {NAME!r} takes 'scenes' and 'scenes_seed'; found {sorted(unknown)}: remove them")
    return from_questions(NAME, _generate(options, None))


def some_questions(names: Collection[str], **options: Any) -> Iterator[AudioQuestion]:
    """Generate only the questions about audio of these names (``Gold.audio``): as they are in the whole benchmark."""
    return _generate(options, names)


def _generate(options: dict[str, Any], names: Collection[str] | None) -> Iterator[AudioQuestion]:
    return generate(options.get("scenes") or HeldOut(), options.get("scenes_seed", SEED), names)
