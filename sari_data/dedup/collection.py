"""A corpus and its benchmarks as the search holds them: numbers, hashes, short texts and fingerprints."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sari_data.dedup.findings import Dedup
from sari_data.dedup.prints import Prints
from sari_data.dedup.text import Text, Texts, digest
from sari_data.fingerprint_cache import default_cache, fingerprints
from sari_data.references import Against, read_references
from sari_data.segments import Segment, of_provenance
from sari_data.types import AudioQuestion, AudioRef, hash_audio

_EXAMPLES = 5


@dataclass(slots=True)
class Clips:
    """Different recordings, by their content.

    Args:
        numbers: Content key to number.
        segments: Of each, the part of a video that it is.
        peaks: Of each, its fingerprint; empty where it is silent, could not be read, or was not asked for.
        unreadable: How many could not be read.
        silent: How many have nothing to compare.
        examples: Some sentences that say why audio could not be read.
    """

    numbers: dict[str, int] = field(default_factory=dict)
    segments: list[Segment | None] = field(default_factory=list)
    peaks: Prints = field(default_factory=Prints)
    unreadable: int = 0
    silent: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, key: str, segment: Segment | None) -> tuple[int, bool]:
        """Return the clip's number, and whether it is new."""
        number = self.numbers.setdefault(key, len(self.segments))
        new = number == len(self.segments)
        if new:
            self.segments.append(segment)
            self.peaks.grow()
        elif self.segments[number] is None:
            self.segments[number] = segment
        return number, new

    def hear(self, new: Iterable[tuple[int, AudioRef]], table: Dedup) -> None:
        """Fill in the fingerprints of clips; where the table compares no sounds, only take the clips."""
        if not table.sound:
            for _ in new:
                pass
            return
        cache = default_cache() if table.cache else None
        for number, outcome in fingerprints(new, processes=table.processes, cache=cache):
            if isinstance(outcome, str):
                self.unreadable += 1
                if len(self.examples) < _EXAMPLES:
                    self.examples.append(outcome)
            elif outcome.size:
                self.peaks.put(number, outcome)
            else:
                self.silent += 1

    @property
    def heard(self) -> int:
        """How many have a fingerprint."""
        return self.peaks.filled


@dataclass(slots=True)
class Held:
    """Questions, each as its id, the number of its text (-1: none) and of its clip (-1: none)."""

    ids: list[str] = field(default_factory=list)
    text_numbers: array[int] = field(default_factory=lambda: array("i"))
    clip_numbers: array[int] = field(default_factory=lambda: array("i"))
    texts: Texts = field(default_factory=Texts)
    clips: Clips = field(default_factory=Clips)

    @property
    def text_of(self) -> NDArray[np.int32]:
        """The number of each question's text."""
        return np.array(self.text_numbers, np.int32)

    @property
    def clip_of(self) -> NDArray[np.int32]:
        """The number of each question's clip."""
        return np.array(self.clip_numbers, np.int32)


@dataclass(slots=True)
class Benchmark(Held):
    """A benchmark's questions; one about several recordings is there with each, and with its text once.

    ``segments`` are by question, because a segment may be known without audio. ``named`` has a hash of what a question
    calls audio that is not at hand, else 0. ``question_numbers`` counts the questions: ids need not be unique.
    """

    name: str = ""
    path: str = ""
    segments: list[Segment | None] = field(default_factory=list)
    named: array[int] = field(default_factory=lambda: array("Q"))
    question_numbers: array[int] = field(default_factory=lambda: array("i"))

    @property
    def questions(self) -> int:
        """How many questions there are."""
        return self.question_numbers[-1] + 1 if self.question_numbers else 0

    @property
    def heard_questions(self) -> int:
        """How many questions have a fingerprint of each of their recordings."""
        sizes = self.clips.peaks.sizes
        pairs = zip(self.question_numbers, self.clip_numbers, strict=True)
        return self.questions - len({number for number, clip in pairs if clip < 0 or not sizes[clip]})

    @property
    def about(self) -> dict[str, Any]:
        """What a report says of it: name, path, how many questions, and how many could be compared by what.

        A question about several recordings is there with each of them. It counts once, and its sound where all of them
        could be heard. ``unreadable`` is how many recordings could not be read.
        """
        texts = zip(self.question_numbers, self.text_numbers, strict=True)
        segments = zip(self.question_numbers, self.segments, strict=True)
        compared = {
            "texts": len({number for number, text in texts if text >= 0}),
            "segments": len({number for number, part in segments if part is not None}),
            "sounds": self.heard_questions,
            "unreadable": self.clips.unreadable,
        }
        return {"name": self.name, "path": self.path, "questions": self.questions, "compared": compared}


def content_key(audio: AudioRef, side: str) -> str:
    """Return the key of audio by its bytes; where these are not known, one that no audio of another side has.

    Two files that are both missing are not the same recording because their paths are the same.
    """
    return audio.key if audio.is_known else f"{side}\n{audio.key}"


def hold_corpus(questions: Iterable[AudioQuestion], table: Dedup, advance: Callable[[int], None]) -> Held:
    """Read a corpus once, and hear its clips on the way where the table says so."""
    held = Held()

    def new_clips() -> Iterator[tuple[int, AudioRef]]:
        for question in questions:
            held.ids.append(question.id)
            text = Text.of(question.question, question.choices, question.answer)
            held.text_numbers.append(held.texts.add(text))
            number, new = held.clips.add(question.audio.key, of_provenance(question.provenance))
            held.clip_numbers.append(number)
            advance(1)
            if new:
                yield number, question.audio

    held.clips.hear(new_clips(), table)
    return held


def hold_benchmark(against: Against, table: Dedup) -> Benchmark:
    """Read a benchmark once, and hear what audio of it is there.

    Raises:
        MissingFileError: It is not there.
        BenchmarkError: It cannot be read.
    """
    held = Benchmark(name=against.title, path=against.path)

    def new_clips() -> Iterator[tuple[int, AudioRef]]:
        for reference in read_references(against):
            held.ids.append(reference.id)
            held.question_numbers.append(held.questions - reference.further)
            text = Text.of(reference.question, reference.choices, reference.answer)
            held.text_numbers.append(held.texts.add(text) if text.question else -1)
            held.segments.append(reference.segment)
            audio = reference.audio
            if audio is None:
                held.clip_numbers.append(-1)
                held.named.append(digest(reference.named) if reference.named else 0)
                continue
            held.named.append(0)
            audio = hash_audio(audio)
            number, new = held.clips.add(content_key(audio, held.name), reference.segment)
            held.clip_numbers.append(number)
            if new:
                yield number, audio

    held.clips.hear(new_clips(), table)
    return held
