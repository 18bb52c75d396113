"""What ``sari-train plan`` reads: the model's config, the corpus's lengths, the device's memory.

The model is built from its config alone, on the device ``meta``, and frozen and adapted by the code that
training uses; so its weights are counted, not estimated.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sari_data.audio import probe
from sari_data.errors import CheckpointError, InputError
from sari_data.prompting import render_prompt
from sari_data.store import iter_split
from sari_data.types import AudioQuestion
from sari_train.batch import encode_text
from sari_train.config import Grpo, Sft
from sari_train.lora import add_lora
from sari_train.models.base import AudioLM
from sari_train.models.clips import Clip, Span
from sari_train.models.load import (
    DTYPES,
    _adapter_for,
    _base_of_adapter,
    _load_processor,
    _locate,
    class_and_config,
    pick_device,
)
from sari_train.models.qwen2_audio import Qwen2Audio
from sari_train.optim import split_weights
from sari_train.plan import Load
from sari_train.plan_sizes import FLOAT, Sizes

# The places of a model's weights.
PLACES = ("tower", "projector", "embeddings", "layers", "head")
# Tokens of a prompt's text, chat template included, where there is no corpus to read them from.
PROMPT_TOKENS = 160


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long prompts are, in the worst case and on average, and where that comes from."""

    longest: Load
    mean: Load
    source: str


# -- the model ------------------------------------------------------------------------------------------------------


def meta_model(name: str, table: Grpo) -> AudioLM:
    """Return a model without weights, frozen and adapted as training does it.

    Raises:
        CheckpointError: No such model, no processor, or an unknown architecture.
    """
    source = _locate(name)
    if (Path(source) / "adapter_config.json").is_file():
        return meta_model(_base_of_adapter(Path(source)), table)
    adapter = _adapter_for(source)
    processor = _load_processor(source, adapter)
    cls, config = class_and_config(source, adapter)
    try:
        with torch.device("meta"):
            model = cls(config)
    except (ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(f"model {name!r} cannot be built from its config.json ({error}): correct it") from error
    lm = adapter(model.to(DTYPES[table.dtype]), processor, name=Path(name).name, path=name)
    lm.long_audio = table.long_audio
    if table.freeze_audio:
        lm.freeze_audio()
    if table.lora is not None:
        add_lora(lm, table.lora, seed=table.seed)
    return lm


def starting_model(table: Grpo, sft: Sft) -> str:
    """The model that the run starts from; where the warm-up will make it, the one that this starts from."""
    there = any((Path(table.model) / name).is_file() for name in ("config.json", "adapter_config.json"))
    return sft.model if Path(table.model) == Path(sft.out) and not there else table.model


def read_sizes(lm: AudioLM, table: Grpo, *, cpu: bool) -> Sizes:
    """Read the sizes of a model that is frozen and adapted as ``table`` says; its weights may be on ``meta``.

    Raises:
        CheckpointError: An architecture whose layers these formulas do not describe.
    """
    if not isinstance(lm, Qwen2Audio):
        raise CheckpointError(
            f"model {lm.name!r} is a {type(lm).__name__}, and the planner knows the layers of Qwen2Audio only: "
            "measure a step instead"
        )
    audio, text = lm.model.config.audio_config, lm.model.config.text_config
    head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    places = _places(lm)
    optimizer, update = _optimizer(lm, table)
    inside = {name.split(".")[-4] for name, _ in lm.model.named_parameters() if ".lora_A." in name}
    return Sizes(
        w=lm.dtype.itemsize,
        heads=text.num_attention_heads,
        head_size=head_size,
        hidden=text.hidden_size,
        inner=text.intermediate_size,
        queries=text.num_attention_heads * head_size,
        keys=text.num_key_value_heads * head_size,
        vocabulary=lm.head_size,
        layers=text.num_hidden_layers,
        audio_width=audio.d_model,
        audio_inner=audio.encoder_ffn_dim,
        audio_layers=audio.encoder_layers,
        audio_heads=audio.encoder_attention_heads,
        mel_bands=audio.num_mel_bins,
        window=2 * audio.max_source_positions,
        context=lm.context_length,
        weights={place: _bytes(weights) for place, weights in places.items()},
        trained={place: _bytes(p for p in weights if p.requires_grad) for place, weights in places.items()},
        optimizer=optimizer,
        update=update,
        tied=lm.head_weights[0] is lm.model.get_input_embeddings().weight,
        adapters=frozenset(inside),
        rank=table.lora.rank if table.lora is not None else 0,
        adapter_w=next((p.element_size() for n, p in lm.model.named_parameters() if ".lora_A." in n), 0),
        cpu=cpu,
    )


def _places(lm: AudioLM) -> dict[str, list[Tensor]]:
    embeddings, head = lm.model.get_input_embeddings().weight, lm.head_weights[0]
    inside = {id(p) for p in lm.text_model.parameters()}
    found: dict[str, list[Tensor]] = {place: [] for place in PLACES}
    for name, weight in lm.model.named_parameters():  # a weight that is tied comes once
        if weight is embeddings:
            found["embeddings"].append(weight)
        elif weight is head:
            found["head"].append(weight)
        elif id(weight) in inside:
            found["layers"].append(weight)
        else:
            found["tower" if "audio_tower" in name else "projector"].append(weight)
    return found


def _optimizer(lm: AudioLM, table: Grpo) -> tuple[int, int]:
    """Bytes of the optimizer's state, in the weights' own types, and of one update (``optim.py``)."""
    inside, other = split_weights(lm)
    if table.optimizer == "adamw":
        return 2 * _bytes(inside + other), 0
    most = max(inside, key=lambda p: p.numel(), default=None)
    update = 0
    if most is not None:
        # The update, two orthogonalised copies in bfloat16, and two products of the shorter side with itself.
        update = most.numel() * (most.element_size() + 2 * 2) + 2 * 2 * min(most.shape) ** 2
    return _bytes(inside) + 2 * _bytes(other), update


def _bytes(weights: Iterable[Tensor]) -> int:
    return sum(p.numel() * p.element_size() for p in weights)


# -- prompts --------------------------------------------------------------------------------------------------------


def read_lengths(lm: AudioLM, table: Grpo, *, seconds: float | None = None, tokens: int | None = None) -> Lengths:
    """Return how long prompts are: as given, else the corpus's, else stated defaults.

    Args:
        lm: The model; its weights are not read.
        table: The recipe's table.
        seconds: Length of every clip.
        tokens: Tokens of every prompt's text.

    Raises:
        SariError: Numbers that mean nothing, a corpus that cannot be read, or prompts that the model cannot take.
    """
    for name, value in (("--clip-seconds", seconds), ("--prompt-tokens", tokens)):
        if value is not None and not value > 0:
            raise InputError(f"{name} must be more than 0; found {value:g}: give another")
    given = " and ".join(n for n, v in (("--clip-seconds", seconds), ("--prompt-tokens", tokens)) if v is not None)
    draws = table.steps * table.prompts_per_step
    corpus = 0
    if Path(table.corpus).is_dir():
        pairs = []
        for question in iter_split(table.corpus, table.split):
            text, length = _question_length(lm, question, table.mode)
            pairs.append((tokens or text, seconds or length))
            corpus += len(question.audio.data or b"")
        if not pairs:
            raise InputError(f"split {table.split!r} of corpus {table.corpus} is empty: name another split or corpus")
        source = f"corpus {table.corpus} ({len(pairs)} questions)" + (f" with {given}" if given else "")
        draws = min(draws, len(pairs))
    else:
        pairs = [(tokens or PROMPT_TOKENS, seconds or lm.max_seconds)]
        text_source = "--prompt-tokens" if tokens else f"{PROMPT_TOKENS} tokens of text by default"
        clip_source = "--clip-seconds" if seconds else "clips as long as the model hears"
        source = f"{text_source} and {clip_source} (there is no corpus in {table.corpus})"
    return Lengths(*_loads(lm, table, pairs, clips=draws, corpus=corpus), source)


def _loads(
    lm: AudioLM, table: Grpo, pairs: Sequence[tuple[int, float]], *, clips: int, corpus: int
) -> tuple[Load, Load]:
    """The longest prompt and the one of mean length, from (tokens of text, seconds of audio) of each question."""
    longest_clip, mean_clip = max(s for _, s in pairs), sum(s for _, s in pairs) / len(pairs)
    frames, audio = _hear(lm, longest_clip)
    prompt = max(text + round(audio * length / longest_clip) for text, length in pairs)
    completion = min(table.max_new_tokens, lm.context_length - prompt)
    if completion < 1:
        raise InputError(
            f"a prompt takes {prompt} tokens, but model {lm.name!r} has a context of {lm.context_length}: shorten the "
            "prompts or the audio"
        )
    longest = Load(
        prompt=prompt,
        audio=audio,
        frames=frames,
        completion=completion,
        mixed=any(length != longest_clip for _, length in pairs),
        clips=clips,
        corpus=corpus,
        extraction=_extraction(lm),
        process=resident(),  # by now all that training imports is imported
    )
    frames, audio = _hear(lm, mean_clip)
    prompt = round(sum(text for text, _ in pairs) / len(pairs)) + audio
    return longest, replace(longest, prompt=prompt, audio=audio, frames=frames)


def _question_length(lm: AudioLM, question: AudioQuestion, mode: str) -> tuple[int, float]:
    """Tokens of the prompt's text, and seconds of the clip."""
    nothing = Clip("", (Span(torch.empty(0), 1, 1),))
    text = len(encode_text(lm, nothing, render_prompt(question, mode)).prompt) - 1
    audio = question.audio
    rest = probe(audio).seconds - audio.start
    return text, rest if audio.duration is None else min(rest, audio.duration)


def _hear(lm: AudioLM, seconds: float) -> tuple[int, int]:
    """Frames and audio tokens of a clip.

    Raises:
        InputError: The model does not hear so long, or nothing in so short a clip.
    """
    if lm.long_audio == "truncate":
        seconds = min(seconds, lm.max_seconds)
    if seconds > lm.max_seconds:
        # Of clips in several spans the formulas know nothing.
        raise InputError(
            f"clips last up to {seconds:g} s, but model {lm.name!r} hears at most {lm.max_seconds:g} s in one "
            "span, and the plan knows no more: cut them, or set long_audio to truncate"
        )
    _, frames, tokens = lm.extract(np.zeros(max(1, round(seconds * lm.sampling_rate)), dtype=np.float32))
    if tokens < 1:
        raise InputError(f"a clip of {seconds:g} s is too short for one audio token: give longer ones")
    return frames, tokens


def _extraction(lm: AudioLM) -> int:
    """What a clip's spectrogram takes while it is made: the window's samples, their frames, and the transform."""
    extractor = lm.processor.feature_extractor
    framed = extractor.nb_max_frames * (extractor.n_fft + 2 * (extractor.n_fft // 2 + 1))
    return int(FLOAT * (extractor.n_samples + framed))


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


def resident() -> int:
    """Return the bytes that this process has in memory; 0 where the system does not say."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if status.is_file() else 0
