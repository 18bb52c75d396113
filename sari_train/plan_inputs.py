"""What ``sari-train plan`` reads beside the model: the corpus's lengths, the device's memory."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from sari_data.errors import InputError
from sari_data.prompting import render_prompt, render_target
from sari_data.store import iter_split
from sari_train.batch import encode_text
from sari_train.config import Grpo, Sft, Training
from sari_train.models.base import AudioLM
from sari_train.models.clips import Clip, Span
from sari_train.models.load import pick_device
from sari_train.models.long_audio import part_seconds
from sari_train.models.voxtral import Voxtral
from sari_train.models.whisper import WhisperHalf
from sari_train.phases import resident
from sari_train.plan import Load
from sari_train.plan_text import FLOAT

# Seconds of a clip where there is no corpus and the model hears longer ones.
CLIP_SECONDS = 30.0
# Tokens of a prompt's text, chat template included, where there is no corpus to read them from.
PROMPT_TOKENS = 160


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long prompts are, in the worst case and on average, and where that comes from."""

    longest: Load
    mean: Load
    source: str


def starting_model(table: Grpo, sft: Sft) -> str:
    """The model that the run starts from; where the warm-up will make it, the one that this starts from."""
    there = any((Path(table.model) / name).is_file() for name in ("config.json", "adapter_config.json"))
    return sft.model if Path(table.model) == Path(sft.out) and not there else table.model


# -- prompts --------------------------------------------------------------------------------------------------------


def read_lengths(lm: AudioLM, table: Training, *, seconds: float | None = None, tokens: int | None = None) -> Lengths:
    """Return how long prompts are: as given, else the corpus's, else stated defaults.

    Args:
        lm: The model; its weights are not read.
        table: The recipe's table; of ``[sft]`` the longest target is the completion.
        seconds: Length of every clip.
        tokens: Tokens of every prompt's text.

    Raises:
        SariError: Numbers that mean nothing, a corpus that cannot be read, or prompts that the model cannot take.
    """
    for name, value in (("--clip-seconds", seconds), ("--prompt-tokens", tokens)):
        if value is not None and not value > 0:
            raise InputError(f"{name} must be more than 0; found {value:g}: give another")
    given = " and ".join(n for n, v in (("--clip-seconds", seconds), ("--prompt-tokens", tokens)) if v is not None)
    draws, split = _draws(table)
    corpus, target = 0, None
    if Path(table.corpus).is_dir():
        pairs = []
        for question in islice(iter_split(table.corpus, split), table.chains if isinstance(table, Sft) else None):
            length = seconds or part_seconds(question.audio)
            text = tokens or text_tokens(lm, render_prompt(question, table.mode), span_count(lm, length))
            pairs.append((text, length))
            corpus += len(question.audio.data or b"")
            if isinstance(table, Sft):
                ids = lm.tokenizer(render_target(question, table.mode), add_special_tokens=False)["input_ids"]
                target = max(target or 0, len(ids) + 1)
        if not pairs:
            raise InputError(f"split {split!r} of corpus {table.corpus} is empty: name another split or corpus")
        source = f"corpus {table.corpus} ({len(pairs)} questions)" + (f" with {given}" if given else "")
        draws = min(draws, len(pairs))
    else:
        pairs = [(tokens or PROMPT_TOKENS, seconds or min(lm.max_seconds, CLIP_SECONDS))]
        text_source = "--prompt-tokens" if tokens else f"{PROMPT_TOKENS} tokens of text by default"
        short = f"clips of {CLIP_SECONDS:g} s" if lm.max_seconds > CLIP_SECONDS else "clips as long as the model hears"
        clip_source = "--clip-seconds" if seconds else short
        source = f"{text_source} and {clip_source} (there is no corpus in {table.corpus})"
    return Lengths(*make_loads(lm, table, pairs, clips=draws, corpus=corpus, completion=target), source)


def _draws(table: Training) -> tuple[int, str]:
    """Questions that a run draws at most, and the split that they come from."""
    if isinstance(table, Sft):
        return table.steps * table.batch_size, table.split
    assert isinstance(table, Grpo)
    return table.steps * table.prompts_per_step * (1 + table.dynamic_sampling), table.split


def make_loads(
    lm: AudioLM,
    table: Training,
    pairs: Sequence[tuple[int, float]],
    *,
    clips: int,
    corpus: int,
    completion: int | None = None,
) -> tuple[Load, Load]:
    """Return the longest question and the one of mean length.

    Args:
        lm: The model; its weights are not read.
        table: The recipe's table.
        pairs: Of each question the tokens of its text, and the seconds of its audio.
        clips: Distinct clips that a run draws.
        corpus: Bytes of encoded audio that the questions hold.
        completion: Tokens of the longest completion; default: ``max_new_tokens``.

    Raises:
        InputError: Audio that the model does not hear, or prompts that its context has no room for.
    """
    longest_clip, mean_clip = max(s for _, s in pairs), sum(s for _, s in pairs) / len(pairs)
    spans, audio = _hear(lm, longest_clip)
    prompt = max(text + round(audio * length / longest_clip) for text, length in pairs)
    wanted = table.max_new_tokens if completion is None else completion
    completion = min(wanted, lm.context_length - prompt)
    if completion < 1:
        raise InputError(
            f"a prompt takes {prompt} tokens, but model {lm.name!r} has a context of {lm.context_length}: shorten the "
            "prompts or the audio"
        )
    longest = Load(
        prompt=prompt,
        audio=audio,
        frames=max(spans),
        completion=completion,
        mixed=any(length != longest_clip for _, length in pairs),
        clips=clips,
        corpus=corpus,
        extraction=_extraction(lm, longest_clip),
        process=resident(),  # by now all that training imports is imported
        spans=spans,
    )
    spans, audio = _hear(lm, mean_clip)
    prompt = round(sum(text for text, _ in pairs) / len(pairs)) + audio
    mean = {"prompt": prompt, "audio": audio, "frames": max(spans), "spans": spans}
    return longest, replace(longest, **mean)  # type: ignore[arg-type]


def text_tokens(lm: AudioLM, prompt: str, spans: int) -> int:
    """Tokens of a prompt's text in the chat template, with what stands around each span of audio."""
    nothing = Clip("", (Span(torch.empty(0), 1, 1),) * spans)
    return len(encode_text(lm, nothing, prompt).prompt) - spans


def span_count(lm: AudioLM, seconds: float) -> int:
    """Spans of a clip of so many seconds, as ``long_audio`` has it."""
    return max(1, math.ceil(seconds / lm.max_seconds)) if lm.long_audio == "split" else 1


def _hear(lm: AudioLM, seconds: float) -> tuple[tuple[int, ...], int]:
    """True frames of each span of a clip, and audio tokens of all.

    Raises:
        InputError: The model does not hear so long, or nothing in so short a clip.
    """
    if lm.long_audio == "truncate":
        seconds = min(seconds, lm.max_seconds)
    if lm.long_audio == "error" and seconds > lm.max_seconds:
        raise InputError(
            f"clips last up to {seconds:g} s, but model {lm.name!r} hears at most {lm.max_seconds:g} s in one "
            "span: cut them, or set long_audio to split or truncate"
        )
    samples = max(1, round(seconds * lm.sampling_rate))
    full, rest = divmod(samples, lm.max_samples)
    found = []
    for length, count in ((lm.max_samples, full), (rest, 1)):
        if length and count:
            _, frames, tokens = lm.extract(np.zeros(length, dtype=np.float32))
            found += [(frames, tokens)] * count
    # A last span that is too short for one token is left out.
    kept = [span for span in found if span[1] > 0]
    if not kept:
        raise InputError(f"a clip of {seconds:g} s is too short for one audio token: give longer ones")
    return tuple(frames for frames, _ in kept), sum(tokens for _, tokens in kept)


def _extraction(lm: AudioLM, seconds: float) -> int:
    """What a clip's spectrogram takes while it is made: the samples, their frames, and the transform."""
    extractor = lm.processor.feature_extractor
    samples = round(min(seconds, lm.max_seconds) * lm.sampling_rate)
    if isinstance(lm, WhisperHalf):  # whole windows: of Voxtral all at once, else one after another
        windows = max(1, -(-samples // extractor.n_samples)) if isinstance(lm, Voxtral) else 1
        samples = windows * extractor.n_samples
    framed = samples // extractor.hop_length * (extractor.n_fft + 2 * (extractor.n_fft // 2 + 1))
    return int(FLOAT * (samples + framed))


# -- the device -----------------------------------------------------------------------------------------------------


def find_device(device: str, memory_gib: float | None) -> torch.device:
    """Return the device to plan for; a GPU that is not here needs ``memory_gib``.

    Raises:
        InputError: No such device, one whose memory cannot be known, or a memory that means nothing.
    """
    if memory_gib is not None and not 0 < memory_gib < float("inf"):
        raise InputError(f"--memory must be more than 0 GiB and finite; found {memory_gib:g}: give another")
    if device == "cuda" and not torch.cuda.is_available():
        if memory_gib is None:
            raise InputError(
                "device cuda was asked for, but torch finds no GPU whose memory could be read: give --memory GIB"
            )
        return torch.device("cuda")
    return pick_device(device)


def find_memory(place: torch.device, memory_gib: float | None) -> tuple[int, str]:
    """Bytes that a run may take, and how that is known."""
    if memory_gib is not None:
        return round(memory_gib * 2**30), "--memory"
    if place.type == "cuda":
        return int(torch.cuda.mem_get_info(place)[0]), "free on the GPU now"
    if place.type != "cpu":
        raise InputError(f"the memory of device {place} cannot be read: give --memory GIB")
    info = Path("/proc/meminfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                available, limit = int(line.split()[1]) * 1024, container_limit()
                if limit is not None and limit < available:
                    return limit, "left of this container's limit"
                return available, "available now"
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "of the machine"


def container_limit(folder: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return what the control group of this process may still take (version 2, else 1), or ``None`` without a limit."""
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        if (folder / limit).is_file() and (folder / used).is_file():
            bound = (folder / limit).read_text().strip()
            return None if bound == "max" else max(0, int(bound) - int((folder / used).read_text()))
    return None
