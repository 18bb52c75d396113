"""Chat requests and replies in the form that OpenAI-compatible servers share: pure functions, no network.

Where servers differ (as of vLLM 0.11, SGLang 0.5 and OpenAI's own API):

- A stop string is cut off the text. vLLM names it in ``stop_reason``, SGLang in ``matched_stop``; others do not say.
- vLLM takes audio as ``input_audio`` or ``audio_url``, SGLang as ``audio_url`` only, OpenAI as ``input_audio`` only.
- ``top_k`` and ``min_p`` are no fields of OpenAI's; they are sent only where they are set.
- vLLM, SGLang and TGI go on from a last message of the assistant's with ``continue_final_message``; vLLM wants
  ``add_generation_prompt`` to be false with it. They send the continuation alone. OpenAI's API has neither field.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sari_data.audio import encode_wav, load_audio
from sari_data.responder import FinishReason, Request, Sampling
from sari_data.types import AudioRef

_MIME = {"wav": "audio/wav", "mp3": "audio/mpeg"}
# Hosts' words for the two ends that an answer can have; TGI has the longer ones.
_ENDS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
}
_HEAD, _LEAST_HEAD = 24, 4
_CLOSING = re.compile(r"</([\w.-]+)>")


class MalformedReply(Exception):
    """A reply with status 200 that is no chat completion; the message says what is wrong with it."""


class WithheldAnswer(Exception):
    """The server answered, but kept the answer back: a content filter or a refusal."""


@dataclass(frozen=True, slots=True)
class Form:
    """What decides a request's body beside the request itself.

    Args:
        model: The model's name on the server.
        system: System prompt; empty: none.
        extra_body: Further fields of the body; they win over ours.
        omit: Fields that are not sent, because the server refuses them. Without ``stop`` the text is cut here.
        audio_format: How audio is encoded.
        audio_part: Kind of content part that it is sent as.
        sampling_rate: Samples a second of the audio that is sent.
        max_seconds: Only so much of the audio is sent, from its beginning; ``None``: all of it.
        samples_per_request: Most samples that one request asks for, as ``n``.
    """

    model: str
    system: str = ""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    omit: tuple[str, ...] = ()
    audio_format: Literal["wav", "mp3"] = "wav"
    audio_part: Literal["input_audio", "audio_url"] = "input_audio"
    sampling_rate: int = 16_000
    max_seconds: float | None = None
    samples_per_request: int = 1

    @property
    def digest(self) -> str:
        """8 hex digits that stand for everything here but the model."""
        settings = {name: value for name, value in asdict(self).items() if name != "model"}
        return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Choice:
    """One answer of a reply."""

    text: str
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole reply: its answers, the tokens read and written for them together, and the seconds that it took."""

    choices: tuple[Choice, ...]
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float | None = None


def sample_seed(seed: int, request_id: str, sample: int) -> int:
    """Return the seed of one sample, of 31 bits: every server takes it, whatever integers it counts in."""
    digest = hashlib.sha256(f"{seed}\x00{request_id}\x00{sample}".encode()).digest()
    return int.from_bytes(digest[:4], "little") >> 1


def write_body(
    request: Request, samples: Sequence[int], sampling: Sampling, form: Form, recordings: Sequence[str]
) -> bytes:
    """Return the JSON of one request for ``samples``.

    Args:
        request: What is asked.
        samples: Indices of the samples; the seed is the first one's.
        sampling: How to sample.
        form: What else decides the body.
        recordings: The encoded audio of each of the request's recordings in base64: a part of the user's turn for each,
            in order, before the text.
    """
    content: Any = request.prompt
    if recordings:
        content = [*(audio_part(audio, form) for audio in recordings), {"type": "text", "text": request.prompt}]
    messages = [{"role": "system", "content": form.system}] if form.system else []
    begun = [{"role": "assistant", "content": request.prefix}] if request.prefix else []
    body: dict[str, Any] = {
        "model": form.model,  # first, so that a router need not read the audio to find it
        "messages": [*messages, {"role": "user", "content": content}, *begun],
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
    }
    if sampling.temperature > 0:
        body |= {"seed": sample_seed(sampling.seed, request.id, samples[0])}
        body |= {"top_p": sampling.top_p} if sampling.top_p < 1 else {}
        body |= {"top_k": sampling.top_k} if sampling.top_k > 0 else {}
        body |= {"min_p": sampling.min_p} if sampling.min_p > 0 else {}
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if len(samples) > 1:
        body["n"] = len(samples)
    if begun:
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    body |= form.extra_body
    return json.dumps({name: value for name, value in body.items() if name not in form.omit}).encode()


def audio_part(audio: str, form: Form) -> dict[str, Any]:
    """Return the content part that carries audio in base64."""
    if form.audio_part == "audio_url":
        return {"type": "audio_url", "audio_url": {"url": f"data:{_MIME[form.audio_format]};base64,{audio}"}}
    return {"type": "input_audio", "input_audio": {"data": audio, "format": form.audio_format}}


def encode_audio(ref: AudioRef, form: Form) -> str:
    """Return the part that ``ref`` means in base64: mono, at the form's sampling rate and in its format.

    Raises:
        MissingFileError: The file is not there.
        AudioError: It does not decode.
    """
    samples = load_audio(ref, form.sampling_rate)
    if form.max_seconds is not None:
        samples = samples[: max(1, round(form.max_seconds * form.sampling_rate))]
    if form.audio_format == "wav":
        return base64.b64encode(encode_wav(samples, form.sampling_rate)).decode()
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, form.sampling_rate, format="MP3")
    return base64.b64encode(buffer.getvalue()).decode()


def read_reply(data: bytes, stop: Sequence[str], prefix: str = "") -> Completion:
    """Read a reply with status 200; stop strings that the server cut off are put back, and the prefix before it.

    Raises:
        MalformedReply: It is no chat completion, or names no reason for its end.
        WithheldAnswer: A content filter or a refusal kept an answer back, or it did not go on from the prefix.
    """
    try:
        reply = json.loads(data)
    except ValueError as error:
        raise MalformedReply(f"a body that is not JSON ({error})") from error
    if not isinstance(reply, dict):
        raise MalformedReply(f"JSON that is no object but {type(reply).__name__}")
    if not isinstance(reply.get("choices"), list) or not reply["choices"]:
        said = json.dumps(reply.get("error") or sorted(reply))[:200]
        raise MalformedReply(f"an object without choices ({said})")
    choices = tuple(_choice(choice, stop, prefix) for choice in reply["choices"])
    usage = reply.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    return Completion(choices, _count(counts.get("prompt_tokens")), _count(counts.get("completion_tokens")))


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _choice(choice: Any, stop: Sequence[str], prefix: str) -> Choice:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise MalformedReply("a choice without a message")
    reason = choice.get("finish_reason")
    if reason == "content_filter":
        raise WithheldAnswer("content filter")
    text = message.get("content")
    if isinstance(text, list) and all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in text):
        text = "".join(part["text"] for part in text)
    if text is None and isinstance(message.get("refusal"), str):
        raise WithheldAnswer(f"refusal: {message['refusal'][:200]}")
    if text is not None and not isinstance(text, str):
        raise MalformedReply(f"a message whose content is no text but {type(text).__name__}")
    if not isinstance(reason, str) or reason not in _ENDS:
        raise MalformedReply(f"a choice that ended for the reason {reason!r}")
    if begins_anew(prefix, text or ""):
        raise WithheldAnswer("it began the answer anew instead of going on after the prefix")
    cut, ended = end_at_stop(prefix + (text or ""), stop, len(prefix))
    if ended:  # also where the server knows of no stop strings and wrote on
        return Choice(cut, "stop")
    if _ENDS[reason] == "stop":
        cut += _cut_off(cut, choice, stop)
    return Choice(cut, _ENDS[reason])


def begins_anew(prefix: str, text: str) -> bool:
    """Return whether a reply has the prefix's own beginning again, so that it does not go on after it.

    A prefix of fewer than four characters says nothing; of a longer one its first two dozen are looked for.
    """
    head = prefix.strip()[:_HEAD]
    return len(head) >= _LEAST_HEAD and text.lstrip().startswith(head)


def end_at_stop(text: str, stop: Sequence[str], after: int = 0) -> tuple[str, bool]:
    """Return the text up to and with the stop string that is complete first, and whether there is one.

    Args:
        text: The text.
        stop: The stop strings.
        after: One that ends within the first ``after`` characters does not count.
    """
    found = ((string, text.find(string, max(0, after - len(string) + 1))) for string in stop)
    ends = [at + len(string) for string, at in found if at >= 0]
    return (text[: min(ends)], True) if ends else (text, False)


def _cut_off(text: str, choice: Mapping[str, Any], stop: Sequence[str]) -> str:
    """Return the stop string that the server took off the text's end; empty where there is none, or none is known."""
    for name in ("stop_reason", "matched_stop"):
        if name in choice:
            said = choice[name]
            return said if isinstance(said, str) and said in stop else ""
    # The server does not say which it was. A tag that is open and that a stop string would close leaves one reading;
    # an end of its own inside an open tag is the only other, and a model hardly ever ends there.
    for string in stop:
        tag = _CLOSING.fullmatch(string)
        if tag is not None and text.count(f"<{tag[1]}>") > text.count(string):
            return string
    return ""
