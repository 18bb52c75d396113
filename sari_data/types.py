"""What a question about audio is: the one type that all three packages exchange.

All types are frozen. Durations and offsets are in seconds. Construction checks the contract and
raises :class:`~sari_data.errors.InputError`; a question that exists is therefore a valid one.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sari_data.errors import InputError

DOMAINS = ("sound", "music", "speech")
DIFFICULTIES = ("easy", "medium", "hard")
# What the answers of a pass rate heard, and the bands from never passed to always passed.
HEARD = ("own", "none", "other")
BANDS = ("never", "hard", "medium", "easy", "always")


@dataclass(frozen=True, slots=True)
class AudioRef:
    """Where the audio of a question is: a path, or the encoded file itself, and the part meant.

    Args:
        path: A file path, or for embedded audio the name it had (kept for its suffix and for people).
        data: The encoded file (WAV, FLAC, ...), or ``None`` where ``path`` is to be read.
        start: Offset of the part that is meant, in seconds from the beginning of the file.
        duration: Length of that part in seconds; ``None`` means to the end of the file.
        sha256: SHA-256 of the encoded file as hex digits, where it is known although the bytes are not held; then
            ``key`` is the same as with the bytes. :func:`hash_path` fills it in.
    """

    path: str | None = None
    data: bytes | None = field(default=None, repr=False)
    start: float = 0.0
    duration: float | None = None
    sha256: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.path is None and self.data is None:
            raise InputError("an audio reference needs a path or data; found neither: give one of them")
        if self.start < 0:
            raise InputError(f"audio start must be 0 seconds or more; found {self.start}")
        if self.duration is not None and self.duration <= 0:
            raise InputError(f"audio duration must be more than 0 seconds; found {self.duration}")

    @property
    def is_known(self) -> bool:
        """Whether the bytes or their hash are known, so that ``key`` is one of content and not of a path."""
        return self.data is not None or self.sha256 is not None

    @property
    def key(self) -> str:
        """Content key: a hash of the encoded bytes (or of the path where they are not at hand) and the part."""
        if self.data is None and self.sha256 is not None:
            digest = bytes.fromhex(self.sha256)
        else:
            digest = hashlib.sha256(self.data if self.data is not None else str(self.path).encode()).digest()
        part = f"|{self.start:.6f}|{'' if self.duration is None else f'{self.duration:.6f}'}"
        return hashlib.sha256(digest + part.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class StructuredReasoning:
    """The four sections of a structured chain of thought (SARI, section 3)."""

    planning: str
    caption: str
    reasoning: str
    summary: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A question's chains of thought, in the forms that exist for it."""

    structured: StructuredReasoning | None = None
    unstructured: str | None = None


@dataclass(frozen=True, slots=True)
class PassRate:
    """How often one responder answered a question right: ``passes`` of ``samples``.

    A pass rate belongs to a responder, a response mode, a seed and what was heard; several can live side by side.

    Args:
        passes: Right answers.
        samples: Answers.
        responder: Who answered: model and revision.
        mode: Response mode that the question was asked in.
        seed: Seed of the sampling.
        audio: What was heard: ``own``, ``none`` (the question alone) or ``other`` (another question's audio).
        estimate: Estimated probability of a right answer in [0, 1], where more is known than ``rate`` says (the mean of
            a posterior); else ``None``.
        band: Band that the calibration placed the question in, one of BANDS; ``None`` where it placed none.
    """

    passes: int
    samples: int
    responder: str
    mode: str
    seed: int
    audio: str = "own"
    estimate: float | None = None
    band: str | None = None

    def __post_init__(self) -> None:
        if self.samples < 1 or not 0 <= self.passes <= self.samples:
            raise InputError(
                f"a pass rate needs 0 <= passes <= samples and samples >= 1; found {self.passes} of {self.samples}"
            )
        if self.audio not in HEARD:
            raise InputError(f"a pass rate's audio must be one of {HEARD}; found {self.audio!r}")
        if self.estimate is not None and not 0 <= self.estimate <= 1:
            raise InputError(f"a pass rate's estimate must be in [0, 1] or absent; found {self.estimate}")
        if self.band is not None and self.band not in BANDS:
            raise InputError(f"a pass rate's band must be one of {BANDS} or absent; found {self.band!r}")

    @property
    def rate(self) -> float:
        """The share of samples that passed, in [0, 1]."""
        return self.passes / self.samples

    @property
    def level(self) -> float:
        """How likely a right answer is, in [0, 1]: the estimate, or the share of samples where there is none."""
        return self.rate if self.estimate is None else self.estimate


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a question came from and how each field was made.

    Args:
        dataset: Name of the data set or source, for instance ``scenes``.
        source_id: The item's id in it.
        licence: Licence of the audio.
        youtube_id: The YouTube video that the audio is from; empty where it is from none.
        segment_start: Where in that video the audio begins, in seconds; ``None`` where unknown.
        segment_end: Where it ends, in seconds.
        made_by: Field name to how it was made, for instance ``{"caption": "template:scenes@1a2b"}``.
    """

    dataset: str = ""
    source_id: str = ""
    licence: str = ""
    made_by: Mapping[str, str] = field(default_factory=dict)
    youtube_id: str = ""
    segment_start: float | None = None
    segment_end: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioQuestion:
    """One multiple-choice question about one recording, or about several.

    Args:
        id: Stable id; :func:`make_id` derives it from the content.
        audio: The audio that the question is about; of several recordings the first.
        question: The question's text.
        choices: Two or more options, in the order in which they are shown.
        answer: The text of the right option, exactly as it stands in ``choices``; ``None`` where
            it is withheld (a benchmark's hidden test split).
        domain: ``sound``, ``music``, ``speech``, or a mix written with ``+`` in that order.
        category: First level of the benchmark's or corpus's own grouping.
        sub_category: Second level (the skill).
        difficulty: ``easy``, ``medium``, ``hard``, or ``None`` where unknown.
        caption: What there is to hear, in words.
        reasoning: Chains of thought that lead to the answer.
        pass_rates: Calibration results, at most one for each (responder, mode, seed).
        provenance: Origin, licence and how each field was made.
        flags: Short words for what is remarkable about the question, for instance ``passes_without_audio``.
        more_audio: The further recordings, in order, where the question is about several; a corpus holds none such.

    Raises:
        InputError: The parts do not fit together.
    """

    id: str
    audio: AudioRef
    question: str
    choices: tuple[str, ...]
    answer: str | None
    domain: str
    category: str = ""
    sub_category: str = ""
    difficulty: str | None = None
    caption: str | None = None
    reasoning: Reasoning = Reasoning()
    pass_rates: tuple[PassRate, ...] = ()
    provenance: Provenance = Provenance()
    flags: tuple[str, ...] = ()
    more_audio: tuple[AudioRef, ...] = ()

    def __post_init__(self) -> None:
        where = f"question {self.id!r}"
        if not self.id or not self.question.strip():
            raise InputError(f"{where}: an id and a question text are needed; found an empty one")
        if len(self.choices) < 2 or any(not c.strip() for c in self.choices):
            raise InputError(f"{where}: two or more non-empty choices are needed; found {list(self.choices)}")
        if self.answer is not None and self.answer not in self.choices:
            raise InputError(
                f"{where}: the answer must be one of the choices; found answer {self.answer!r} and "
                f"choices {list(self.choices)}: correct the row or drop it"
            )
        check_domain(self.domain, where)
        if self.difficulty is not None and self.difficulty not in DIFFICULTIES:
            raise InputError(f"{where}: difficulty must be one of {DIFFICULTIES} or absent; found {self.difficulty!r}")

    @property
    def recordings(self) -> tuple[AudioRef, ...]:
        """All recordings that the question is about, in order."""
        return self.audio, *self.more_audio

    @property
    def answer_index(self) -> int | None:
        """Index of the (first) right option in ``choices``, or ``None`` where it is withheld."""
        return None if self.answer is None else self.choices.index(self.answer)

    def replace(self, **changes: Any) -> AudioQuestion:
        """Return a copy with ``changes`` applied and checked."""
        return dataclasses.replace(self, **changes)


def check_domain(domain: str, where: str) -> None:
    """Raise InputError unless ``domain`` is one of DOMAINS or a ``+``-joined mix in that order."""
    parts = domain.split("+")
    ordered = [d for d in DOMAINS if d in parts]
    if not parts or parts != ordered:
        raise InputError(
            f"{where}: domain must be one of {DOMAINS}, or a mix such as 'sound+speech' in that order; found {domain!r}"
        )


def make_id(audio: AudioRef, question: str, choices: Iterable[str]) -> str:
    """Derive a stable id (16 hex digits) from the audio's content key, the question and the choices."""
    digest = hashlib.sha256()
    for part in (audio.key, question, *choices):
        digest.update(part.encode())
        digest.update(b"\x00")
    return digest.hexdigest()[:16]


def hash_path(path: str | Path, *, start: float = 0.0, duration: float | None = None) -> AudioRef:
    """Return an AudioRef for a file on disk that knows the hash of the file's bytes without holding them.

    Raises:
        OSError: The file cannot be read.
    """
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return AudioRef(path=str(path), start=start, duration=duration, sha256=digest)


def hash_audio(audio: AudioRef) -> AudioRef:
    """Return audio that knows its content: of a file that is there with the hash of its bytes, else as it is.

    One recording may lie under two names, and a path says nothing about what the file will hold tomorrow.

    Raises:
        OSError: The file cannot be read.
    """
    if audio.is_known or not Path(str(audio.path)).is_file():
        return audio
    return hash_path(str(audio.path), start=audio.start, duration=audio.duration)
