"""``[annotate]``: who writes captions, questions and chains, and what is asked of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from sari_data.annotation.asking import AGAIN, OpenAsker
from sari_data.config import Table
from sari_data.errors import InputError, PluginError
from sari_data.prompting import template_texts
from sari_data.responder import Responder, Sampling, check_registered, load_responder
from sari_data.types import DOMAINS

NONE = "none"
REHEARSAL = "rehearsal"
STAGES = ("caption", "question", "reasoning", "judge")

# What is asked for where a recipe names no skills: what MMAU (arXiv 2410.19168) and its like test, in plain words.
SKILLS: dict[str, tuple[str, ...]] = {
    "sound": (
        "sound source",
        "order of events",
        "counting events",
        "acoustic scene",
        "cause of a sound",
        "relation between sounds",
        "property of a sound",
    ),
    "music": (
        "instruments",
        "genre and style",
        "rhythm and tempo",
        "harmony and key",
        "mood",
        "texture and dynamics",
        "structure",
    ),
    "speech": (
        "emotion of a speaker",
        "intention of a speaker",
        "content of what is said",
        "way of speaking",
        "number and roles of speakers",
        "situation",
    ),
}

# Facts that a listener cannot hear; a question written from them would ask for what the audio does not tell.
HIDDEN = (
    "speaker",
    "speakers",
    "speaker_name",
    "season",
    "episode",
    "dialogue",
    "dialogue_id",
    "utterance_id",
    "title",
    "file",
    "youtube_id",
    "url",
)


class Asker(Table):
    """``[annotate.<stage>]``: who is asked in one stage, and how.

    Args:
        responder: Name of a registered responder; ``none``: the stage is left out.
        model: The responder's model; absent: its own default.
        options: Further options of the responder, by name.
        temperature: Of the sampling; 0 is greedy.
        top_p: Nucleus mass in (0, 1].
        max_new_tokens: Bound on an answer's length in tokens.
        seed: Seed of the sampling.
        tries: How often one thing is asked at most, the first time included.
        listen: Send the audio along in a stage that can do without; captions are always made from the audio.
    """

    responder: str = NONE
    model: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    temperature: float = Field(default=0.7, ge=0, allow_inf_nan=False)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_new_tokens: int = Field(default=1024, ge=1)
    seed: int = Field(default=0, ge=0)
    tries: int = Field(default=3, ge=1, le=20)
    listen: bool = False

    @field_validator("responder")
    @classmethod
    def _registered(cls, name: str) -> str:
        if name not in (NONE, REHEARSAL):
            try:
                check_registered(name)
            except PluginError as error:
                raise ValueError(str(error)) from error
        return name

    @property
    def on(self) -> bool:
        """Whether anybody is asked."""
        return self.responder != NONE

    @property
    def sampling(self) -> Sampling:
        """The sampling that the table describes; an answer is never stopped at a tag."""
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            max_new_tokens=self.max_new_tokens,
            seed=self.seed,
            stop=(),
        )


class CaptionAsker(Asker):
    """``[annotate.caption]``: as :class:`Asker`, with the bounds that a caption needs."""

    temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    max_new_tokens: int = Field(default=256, ge=1)


class JudgeAsker(Asker):
    """``[annotate.judge]``: as :class:`Asker`, greedy and short."""

    temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    max_new_tokens: int = Field(default=256, ge=1)


class Annotate(Table):
    """``[annotate]``: the stages, and what is asked for.

    Args:
        caption: Who listens and says what there is to hear.
        question: Who writes questions from caption, labels and facts.
        reasoning: Who writes the chains of thought.
        judge: Who checks the chains against the captions.
        cache: File that answers are kept in; absent: the user's own cache; empty: they are not kept.
        rehearse: Ask nobody: the stages that are on answer themselves, with text that only has the right form.
        questions_per_clip: Questions asked for about each clip.
        options_per_question: Options of each.
        skills: Domain to what its questions may test; a domain that is left out keeps its own list.
        difficulty: Whether the writer says how hard a question is.
        hidden_facts: Facts of a clip, by name, that nobody is told because they cannot be heard.
        language: Language that questions, captions and chains are written in.
        chains: Forms of chain that each question gets.
        chain_words: Words that a chain may have.
        tell_answer: Whether the writer of chains is told the right option; if not, only chains that find it count.
        judge_disagrees: ``reject``: a chain that the judge disagrees with is written again, and set aside where that
            does not help; ``flag``: it is kept and marked ``judge_disagrees``.
    """

    caption: CaptionAsker = CaptionAsker()
    question: Asker = Asker()
    reasoning: Asker = Asker()
    judge: JudgeAsker = JudgeAsker()
    cache: str | None = None
    rehearse: bool = False
    questions_per_clip: int = Field(default=1, ge=1, le=20)
    options_per_question: int = Field(default=4, ge=2, le=10)
    skills: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    difficulty: bool = False
    hidden_facts: tuple[str, ...] = HIDDEN
    language: str = Field(default="English", min_length=1)
    chains: tuple[Literal["structured", "unstructured"], ...] = ("structured", "unstructured")
    chain_words: int = Field(default=250, ge=20, le=5000)
    tell_answer: bool = True
    judge_disagrees: Literal["flag", "reject"] = "reject"

    @field_validator("skills")
    @classmethod
    def _known_domains(cls, skills: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for domain, names in skills.items():
            if domain not in DOMAINS:
                raise ValueError(f"expected the domains {', '.join(DOMAINS)} as keys, not {domain!r}")
            if not names or not all(name.strip() for name in names):
                raise ValueError(f"expected one or more skills for {domain}")
        return skills

    @field_validator("chains")
    @classmethod
    def _different_chains(cls, chains: tuple[str, ...]) -> tuple[str, ...]:
        if not chains or len(set(chains)) < len(chains):
            raise ValueError("expected 'structured', 'unstructured' or both, each once")
        return chains

    @field_validator("judge")
    @classmethod
    def _something_to_judge(cls, judge: JudgeAsker, info: Any) -> JudgeAsker:
        reasoning = info.data.get("reasoning")
        if judge.on and reasoning is not None and not reasoning.on:
            raise ValueError(
                "a judge needs chains to judge: set annotate.reasoning.responder, or the judge's to 'none'"
            )
        return judge

    def skills_for(self, domain: str) -> tuple[str, ...]:
        """Return the skills of a domain; of a mix, those of all its parts."""
        return tuple(skill for part in domain.split("+") for skill in self.skills.get(part, SKILLS[part]))


def prompt_texts(table: Annotate) -> dict[str, str]:
    """Return the templates that the stages of a table ask with, by name, so that a corpus can keep its prompts."""
    names = {
        "caption": ["clip_caption"],
        "question": ["clip_questions"],
        "reasoning": [f"chain_{form}" for form in table.chains],
        "judge": ["chain_judge"],
    }
    used = [name for stage in STAGES if getattr(table, stage).on for name in names[stage]]
    return template_texts(*(f"annotate/{name}.jinja" for name in used), AGAIN) if used else {}


@dataclass(frozen=True, slots=True)
class OpenAskers:
    """The askers of all stages; ``None`` where a stage is off."""

    caption: OpenAsker | None = None
    question: OpenAsker | None = None
    reasoning: OpenAsker | None = None
    judge: OpenAsker | None = None

    @property
    def responders(self) -> tuple[Responder, ...]:
        """The responders, each once, for instance to add up what they used."""
        found = (self.caption, self.question, self.reasoning, self.judge)
        return tuple({id(a.responder): a.responder for a in found if a is not None}.values())


def open_askers(table: Annotate, *, load: Callable[..., Responder] = load_responder) -> OpenAskers:
    """Open the responders of all stages that are on, before any work; stages with the same settings share one.

    Answers of those that are ``cacheable`` are kept in the cache that the table names.

    Args:
        table: The recipe's table.
        load: How a responder is made from its name and options.

    Raises:
        PluginError: A responder is not registered or fails to load.
        InputError: One does not take its options; the message names the key.
        SariError: It cannot be opened, for its own reasons.
    """
    opened: dict[str, Responder] = {}
    found: dict[str, OpenAsker] = {}
    for stage in STAGES:
        asker: Asker = getattr(table, stage)
        if not asker.on:
            continue
        name = REHEARSAL if table.rehearse else asker.responder
        key = name if name == REHEARSAL else json.dumps([name, asker.model, asker.options], sort_keys=True, default=str)
        if key not in opened:
            opened[key] = _open(stage, name, asker, table.cache, load)
        found[stage] = OpenAsker(opened[key], asker.sampling, asker.tries, asker.listen)
    return OpenAskers(**found)


def _open(stage: str, name: str, asker: Asker, cache: str | None, load: Callable[..., Responder]) -> Responder:
    if name == REHEARSAL:
        from sari_data.responders.rehearsal import RehearsalResponder

        return RehearsalResponder()
    options = dict(asker.options) | ({} if asker.model is None else {"model": asker.model})
    try:
        responder = load(name, **options)
    except TypeError as error:
        raise InputError(
            f"responder {name!r} could not be made with the options {sorted(options)} ({error}): "
            f"correct annotate.{stage}.model and annotate.{stage}.options"
        ) from error
    if cache == "" or not getattr(responder, "cacheable", True):
        return responder
    from sari_data.answer_cache import CachedResponder, default_cache

    cached: Any = CachedResponder(responder, Path(cache) if cache is not None else default_cache())
    kept: Responder = cached  # its name is the responder's own, so it cannot be set, which the protocol would allow
    return kept
