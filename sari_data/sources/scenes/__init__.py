"""The embedded source: short scenes composed from labelled clips, whose truth is known.

A question's events are drawn so that each answer of its family comes up about equally often, the
waveform is composed from them, and question, caption and chains of thought are written from the
truth by the templates in ``templates/annotate/scenes/``: they are right by construction. Gold
positions are dealt out evenly. The same options and seed give the same questions, bit for bit, and
question ``i`` of a domain does not depend on how many others are asked for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from sari_data.config import Table
from sari_data.errors import InputError
from sari_data.sources.base import About
from sari_data.sources.scenes import synth
from sari_data.sources.scenes.clips import Clips, Folder, Synthesizer
from sari_data.sources.scenes.compose import Acoustics, compose
from sari_data.sources.scenes.families import ELASTIC, FAMILIES, NUMERIC, SKILLS, VOICED, Draft, World
from sari_data.sources.scenes.wording import Text
from sari_data.types import DOMAINS, AudioQuestion, AudioRef, Provenance, Reasoning, StructuredReasoning, make_id

ABOUT = About(
    name="scenes",
    title="Composed scenes (the embedded default)",
    gives="short scenes with questions, captions and chains of thought, right by construction",
    needs=("nothing; or a folder of labelled recordings (build.scenes.recordings)",),
    licence="CC0-1.0",
    audio_licence="CC0-1.0; with recordings theirs",
    share_audio=True,
    get=("nothing to fetch: the clips are synthesized",),
)

OPTIONS_SHOWN = 4
MOST_EVENTS = 50
_CHUNK = 16  # questions that a process makes at a time
_CHUNKS = 16  # of those, how many each process makes before the caller gets them
_WORTH_A_PROCESS = 200  # starting one costs as much as making so many questions
_TRIES = 50  # recordings vary in length: how often a scene that does not fit is drawn anew

# The benchmark's scenes are longer-spaced, less even in level and noisier than the corpus's.
ACOUSTICS = {
    "corpus": Acoustics(),
    "benchmark": Acoustics(short=(0.25, 0.36), gap=(0.08, 0.26), jitter_db=2.0, noise_db=(-52.0, -43.0)),
}


class Recordings(Table):
    """A labelled folder of recordings to compose scenes from, in place of the synthesizer."""

    folder: str
    domain: Literal["sound", "music", "speech"] = "speech"
    pattern: str | None = None
    labels_csv: str | None = None
    only_voices: tuple[str, ...] = ()
    without_voices: tuple[str, ...] = ()
    licence: str = ""


class Options(Table):
    """What scenes to make.

    Args:
        questions: Number of questions for each domain.
        families: Families to ask for each domain; a domain that is absent takes all that its clips allow.
        events: Fewest and most events in a scene, for each domain.
        seconds: Longest scene, in seconds.
        acoustics: ``corpus`` or ``benchmark``: the ranges of lengths, silences, levels and noise.
        recordings: Compose from these recordings; without it clips are synthesized.
    """

    questions: dict[str, int] = Field(default_factory=lambda: {"sound": 800, "music": 800, "speech": 800})
    families: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    events: dict[str, tuple[int, int]] = Field(
        default_factory=lambda: {"sound": (3, 5), "music": (3, 5), "speech": (2, 4)}
    )
    seconds: float = Field(default=3.0, gt=0.5, le=30)
    acoustics: Literal["corpus", "benchmark"] = "corpus"
    recordings: Recordings | None = None

    @field_validator("questions", "families", "events")
    @classmethod
    def _known_domains(cls, value: dict[str, Any]) -> dict[str, Any]:
        unknown = [d for d in value if d not in DOMAINS]
        if unknown:
            raise ValueError(f"unknown domain {unknown[0]!r}, expected some of {', '.join(DOMAINS)}")
        return value

    @field_validator("questions")
    @classmethod
    def _not_negative(cls, value: dict[str, int]) -> dict[str, int]:
        wrong = next((domain for domain, number in value.items() if number < 0), None)
        if wrong is not None:
            raise ValueError(f"{wrong} must have 0 questions or more")
        return value

    @field_validator("events")
    @classmethod
    def _a_range(cls, value: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        wrong = next((domain for domain, (low, high) in value.items() if not 1 <= low <= high <= MOST_EVENTS), None)
        if wrong is not None:
            raise ValueError(f"{wrong} must be the fewest and the most events, 1 to {MOST_EVENTS}")
        return value

    @field_validator("families")
    @classmethod
    def _known_families(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for domain, names in value.items():
            for name in names:
                if name not in FAMILIES[domain]:
                    raise ValueError(f"{domain} has no family {name!r}, expected some of {', '.join(FAMILIES[domain])}")
        return value


def generate(options: Options, seed: int, only: Collection[str] | None = None) -> Iterator[AudioQuestion]:
    """Yield the questions, domains interleaved.

    A question takes milliseconds, so many are made by several processes, at most one for each core
    (``LOKY_MAX_CPU_COUNT`` in the environment sets another bound). That changes nothing in them or their order; an
    error may come some hundred questions earlier.

    Args:
        options: What scenes to make.
        seed: Of everything that is drawn.
        only: Names of audio (``AudioRef.path``): only the questions about these are made, as they are among all.

    Raises:
        InputError: The clips do not allow a family that was asked for, or never fit into a scene.
    """
    import joblib

    make = _Maker(options)
    asked = [
        (domain, index)
        for index in range(max(options.questions.values(), default=0))
        for domain in make.families
        if index < options.questions[domain] and (only is None or _audio_name(seed, domain, index) in only)
    ]
    processes = min(joblib.cpu_count(), len(asked) // _WORTH_A_PROCESS)
    if processes < 2:
        yield from (make(domain, index, seed) for domain, index in asked)
        return
    described = _absolute(options).model_dump_json()
    # One window after another, each to its end: what is made but not yet wanted stays bounded, and nothing is under way
    # while the caller has the floor. Idle processes leave after some seconds, for they hold memory.
    window = processes * _CHUNKS * _CHUNK
    for begin in range(0, len(asked), window):
        some = asked[begin : begin + window]
        chunks = (some[i : i + _CHUNK] for i in range(0, len(some), _CHUNK))
        parallel = joblib.Parallel(processes, idle_worker_timeout=5)
        for questions in parallel(joblib.delayed(_make_chunk)(described, seed, chunk) for chunk in chunks):
            yield from questions


def _absolute(options: Options) -> Options:
    """The same options for processes whose working folder may be another."""
    if options.recordings is None:
        return options
    given = options.recordings
    paths = {"folder": str(Path(given.folder).resolve())}
    if given.labels_csv is not None:
        paths["labels_csv"] = str(Path(given.labels_csv).resolve())
    return options.model_copy(update={"recordings": given.model_copy(update=paths)})


def _make_chunk(options: str, seed: int, asked: Sequence[tuple[str, int]]) -> list[AudioQuestion]:
    """Make some of the questions, in a process beside the caller's."""
    make = _maker(options)
    return [make(domain, index, seed) for domain, index in asked]


@lru_cache(maxsize=1)
def _maker(options: str) -> _Maker:
    return _Maker(Options.model_validate_json(options))


class _Maker:
    """Clips and families for some options; makes any of their questions.

    Raises:
        InputError: The clips do not allow a family that was asked for.
    """

    def __init__(self, options: Options) -> None:
        self.options, self.clips = options, _clips(options)
        domains = [d for d in DOMAINS if options.questions.get(d, 0) > 0]
        self.families = {d: _families(options, self.clips, d) for d in domains}

    def __call__(self, domain: str, index: int, seed: int) -> AudioQuestion:
        return _question(self.options, self.clips, domain, self.families[domain], index, seed)


def _clips(options: Options) -> Clips:
    if options.recordings is None:
        return Synthesizer()
    r = options.recordings
    return Folder(
        r.folder,
        r.domain,
        pattern=r.pattern,
        labels_csv=r.labels_csv,
        only_voices=r.only_voices,
        without_voices=r.without_voices,
        licence=r.licence,
    )


def _families(options: Options, clips: Clips, domain: str) -> list[str]:
    """Names of the families to ask, in turn."""
    labels, voices = clips.labels(domain), clips.voices(domain)
    if not labels:
        raise InputError(f"build.scenes.questions asks for {domain}, but the clips have none: set {domain} to 0")
    barred = set()
    if not isinstance(clips, Synthesizer):
        barred |= ELASTIC
    # A question about who speaks needs every label in every voice.
    if len(voices) < 2 or any(len(clips.voices(domain, label)) < len(voices) for label in labels):
        barred |= VOICED
    if not _are_numbers(labels):
        barred |= NUMERIC
    asked = options.families.get(domain) or tuple(f for f in FAMILIES[domain] if f not in barred)
    refused = [f for f in asked if f in barred]
    if refused:
        raise InputError(f"the clips of {domain} do not allow the families {refused}: leave them out")
    return list(asked)


def _are_numbers(labels: Sequence[str]) -> bool:
    """Whether all labels are whole numbers as people write them: "07" would be another option than 7."""
    return all(label.isascii() and label.isdigit() and label == str(int(label)) for label in labels)


def _question(options: Options, clips: Clips, domain: str, families: list[str], index: int, seed: int) -> AudioQuestion:
    """Make question ``index`` of ``domain``."""
    cycle, turn = divmod(index, len(families))
    order = np.random.default_rng([seed, DOMAINS.index(domain), cycle]).permutation(len(families))
    name = families[order[turn]]
    rng = np.random.default_rng([seed, DOMAINS.index(domain), index, 1])
    world = World(clips, domain, options.events.get(domain, (3, 4)), rng)
    for attempt in range(_TRIES):
        draft = FAMILIES[domain][name](world)
        try:
            wave, _ = compose(
                clips, domain, draft.events, ACOUSTICS[options.acoustics], rng, seconds=options.seconds, gap=draft.gap
            )
            break
        except InputError:
            # A scene of long recordings can overflow; another draw of the same family may not.
            if attempt == _TRIES - 1:
                raise
    return _write(draft, wave, domain, clips, rng, _source_id(seed, domain, index), _gold_position(seed, domain, index))


def _source_id(seed: int, domain: str, index: int) -> str:
    return f"{seed}/{domain}/{index}"


def _audio_name(seed: int, domain: str, index: int) -> str:
    return f"{_source_id(seed, domain, index).replace('/', '-')}.wav"


def _gold_position(seed: int, domain: str, index: int) -> float:
    """Where the right option goes, as a share of the options: every quarter equally often, in random order."""
    block, turn = divmod(index, 12)
    order = np.random.default_rng([seed, DOMAINS.index(domain), block, 2]).permutation(12)
    return float(order[turn]) / 12


def _write(
    draft: Draft, wave: synth.Signal, domain: str, clips: Clips, rng: np.random.Generator, source_id: str, gold: float
) -> AudioQuestion:
    """Put a draft into words."""
    from sari_data.audio import encode_wav

    wrong = list(dict.fromkeys(draft.wrong))[: OPTIONS_SHOWN - 1]
    choices = [wrong[i] for i in rng.permutation(len(wrong))]
    choices.insert(int(gold * (len(wrong) + 1)), draft.answer)
    text = Text(draft, domain, clips, choices, rng)
    caption = text.caption()
    lines = text.lines()
    structured = StructuredReasoning(
        planning=lines["planning"], caption=caption, reasoning=lines["reasoning"], summary=lines["summary"]
    )
    category, sub_category = SKILLS[draft.family]
    audio = AudioRef(path=f"{source_id.replace('/', '-')}.wav", data=encode_wav(wave, synth.RATE))
    made = f"template:scenes/{draft.family}"
    return AudioQuestion(
        id=make_id(audio, lines["question"], choices),
        audio=audio,
        question=lines["question"],
        choices=tuple(choices),
        answer=draft.answer,
        domain=domain,
        category=category,
        sub_category=sub_category,
        difficulty=_difficulty(draft),
        caption=caption,
        reasoning=Reasoning(structured=structured, unstructured=text.thought(caption, lines)),
        provenance=Provenance(
            dataset="scenes",
            source_id=source_id,
            licence=clips.licence,
            made_by={"question": made, "caption": "truth", "reasoning": made},
        ),
    )


def _difficulty(draft: Draft) -> str:
    """Steps of thought plus events to keep in mind."""
    load = draft.steps + len(draft.events)
    return "easy" if load <= 5 else "medium" if load <= 6 else "hard"
