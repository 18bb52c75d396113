"""The one interface to "something that answers questions about audio".

Annotation, calibration, GRPO rollouts and benchmark runs all speak it. Implementations register
under the entry-point group ``sari.responders``; the object there is a factory that is called with
keyword options and returns a :class:`Responder`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from typing import Any, Literal, Protocol, runtime_checkable

from sari_data.errors import InputError, PluginError
from sari_data.types import AudioRef

GROUP = "sari.responders"

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample. ``temperature=0`` is greedy decoding; then every sample of a prompt is the same.

    Args:
        temperature: Divides the logits; 0 means greedy.
        top_p: Nucleus mass in (0, 1]; 1 keeps everything.
        top_k: Number of tokens kept; 0 keeps everything.
        min_p: Least probability of a token that is kept, as a share of the most likely one's; 0 keeps everything.
        max_new_tokens: Bound on a response's length in tokens.
        seed: Seed of the whole run. The random numbers of one sample derive from
            (seed, request id, sample index) alone, never from what else is in the batch.
        stop: Strings that end a response; they stay part of its text.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int = 256
    seed: int = 0
    stop: tuple[str, ...] = ("</answer>",)
    min_p: float = 0.0


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt, as a rule about one recording, to be answered ``samples`` times.

    ``prompt`` is the user's text alone; where the audio goes in the chat is the responder's matter. ``audio`` is
    ``None`` where only text is asked about. ``more_audio`` are further recordings, where the prompt is about several:
    they are separate inputs of the same turn, in this order after ``audio``. ``first_sample`` is the index of the first
    answer wanted: the samples are ``first_sample`` to ``first_sample + samples - 1``, so that more answers can be had
    later without the earlier ones. ``prefix`` is what the answer begins with, put into the model's mouth: it goes on
    from there, and the text of the response is the whole, prefix included. A responder that cannot do that raises
    InputError.
    """

    id: str
    audio: AudioRef | None
    prompt: str
    samples: int = 1
    first_sample: int = 0
    prefix: str = ""
    more_audio: tuple[AudioRef, ...] = ()

    def __post_init__(self) -> None:
        if self.more_audio and self.audio is None:
            raise InputError(
                f"request {self.id!r} has {len(self.more_audio)} further recordings and no first one: give the first "
                "as audio"
            )

    @property
    def wanted(self) -> range:
        """The indices of the samples that are wanted."""
        return range(self.first_sample, self.first_sample + self.samples)

    @property
    def recordings(self) -> tuple[AudioRef, ...]:
        """All recordings of the prompt, in order; empty where only text is asked about."""
        return () if self.audio is None else (self.audio, *self.more_audio)


@dataclass(frozen=True, slots=True)
class Response:
    """One sampled answer: raw text, why it ended, and the tokens of answer and prompt (0 where unknown).

    A prefix that was asked for is part of the text, and of the prompt's tokens. ``seconds`` is what this request alone
    took, where requests run individually; ``None`` where they run together or the answer was there already.
    """

    request_id: str
    sample: int
    text: str
    finish_reason: FinishReason
    tokens: int = 0
    prompt_tokens: int = 0
    seconds: float | None = field(default=None, compare=False)


@dataclass(slots=True)
class Usage:
    """What a responder has used so far; it changes while answers come in.

    Args:
        requests: Requests that were answered (a retry is none of its own).
        retries: Requests that had to be sent again.
        cached: Answers that were there already and cost nothing.
        prompt_tokens: Tokens read.
        completion_tokens: Tokens written.
        cost: In the currency of the prices that the responder was given; ``None`` where it was given none.
    """

    requests: int = 0
    retries: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None


@runtime_checkable
class Responder(Protocol):
    """Answers requests. ``name`` identifies model and revision; it is recorded with every result.

    Besides the name and the prompt nothing but the audio and the sampling may decide an answer. A responder may have
    ``usage``, a :class:`Usage`; ``cacheable = False``, where its answers may change under the same name; and
    ``hears_several = True``, where it heeds ``Request.more_audio``: one that does not say so is never given a
    request about several recordings (:func:`hears_several`).
    """

    @property
    def name(self) -> str:
        """Model and revision."""
        ...

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        """Yield every sample of every request, in any order, as they finish."""
        ...


def hears_several(responder: Responder) -> bool:
    """Return whether a responder says that it hears all recordings of a request about several.

    One that says nothing may have been written before there were such requests, and would answer about the first.
    """
    return getattr(responder, "hears_several", False) is True


def stretches(samples: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, count) of each stretch of consecutive samples: what one request can ask for."""
    start = 0
    for end in range(1, len(samples) + 1):
        if end == len(samples) or samples[end] != samples[end - 1] + 1:
            yield samples[start], end - start
            start = end


def list_responders() -> dict[str, EntryPoint]:
    """Return the registered responders by name, without importing any of them."""
    return {ep.name: ep for ep in entry_points(group=GROUP)}


def check_registered(name: str) -> EntryPoint:
    """Return the entry point of a responder, without importing it.

    Raises:
        PluginError: The name is not registered.
    """
    found = list_responders()
    if name not in found:
        raise PluginError(
            f"responder {name!r} is not registered; found {sorted(found)}: install the package that has it"
        )
    return found[name]


def load_responder(name: str, /, **options: Any) -> Responder:
    """Import the responder registered as ``name`` and construct it with ``options``.

    Raises:
        PluginError: The name is not registered, or its package fails to import; both name it.
        TypeError: It has no such option; the message says which it has.
    """
    entry = check_registered(name)
    try:
        factory = entry.load()
    except Exception as error:
        raise PluginError(
            f"responder {name!r} ({entry.value}) fails to load: {type(error).__name__}: {error}: "
            "repair or uninstall the package that registers it"
        ) from error
    _check_options(factory, options)
    responder: Responder = factory(**options)
    return responder


def _check_options(factory: Any, options: Mapping[str, Any]) -> None:
    """Raise TypeError as the call would, but in words for people: with the options that there are."""
    try:
        parameters = signature(factory).parameters.values()
    except (TypeError, ValueError):  # a factory that does not say what it takes; it may refuse by itself
        return
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return
    known = [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    unknown = [repr(option) for option in options if option not in known]
    if unknown:
        raise TypeError(f"it has no option {' or '.join(unknown)}, only {', '.join(sorted(known))}")
