"""Models of every architecture, large enough for their tensors to outweigh all else, and torch's counts of bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from model_builders import omni_processor, thinker_config
from model_builders_more import TEXTS, WORDS, flamingo_processor, voxtral_processor
from train_helpers import make_clip

from sari_train.batch import Encoded, encode_text
from sari_train.config import Training
from sari_train.lora import add_lora
from sari_train.models.base import AudioLM
from sari_train.models.load import DTYPES, wrap_model

FAMILIES = ("audio-flamingo-3", "voxtral", "qwen2.5-omni", "qwen3-omni")
TEXT = {
    "hidden_size": 128,
    "intermediate_size": 344,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "vocab_size": 1500,
    "max_position_embeddings": 8192,
}
TOWER = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "num_mel_bins": 16}
OMNI_TOWER = {"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 192}
PROMPT = TEXTS[0]


@cache
def family_processor(family: str) -> Any:
    """The architecture's processor, with a tokenizer of a few hundred tokens."""
    if family == "audio-flamingo-3":
        return flamingo_processor()
    return voxtral_processor() if family == "voxtral" else omni_processor(family, [*TEXTS, *WORDS])


def family_model(family: str) -> Any:
    """A model of a few hundred thousand weights."""
    import transformers

    processor = family_processor(family)
    if family == "audio-flamingo-3":
        config: Any = transformers.AudioFlamingo3Config(
            audio_config={"model_type": "audioflamingo3_encoder", "intermediate_size": 192, **TOWER},
            text_config={"model_type": "qwen2", **TEXT},
            audio_token_id=processor.audio_token_id,
        )
        cls: Any = transformers.AudioFlamingo3ForConditionalGeneration
    elif family == "voxtral":
        config = transformers.VoxtralConfig(
            audio_config={"model_type": "voxtral_encoder", "intermediate_size": 256, **TOWER},
            # Heads that together are wider than the hidden states.
            text_config={"model_type": "llama", **TEXT, "head_dim": 40},
            audio_token_id=processor.audio_token_id,
        )
        cls = transformers.VoxtralForConditionalGeneration
    else:
        given = thinker_config(family, processor)
        rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [6, 5, 5]}
        given["text_config"] |= TEXT | {"rope_parameters": rope}
        given["audio_config"] = given["audio_config"] | OMNI_TOWER | {"output_dim": 128}
        given["vision_config"] = given["vision_config"] | {"out_hidden_size": 128}
        if family == "qwen3-omni":
            given["text_config"] |= {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 96}
            given["audio_config"] |= {"downsample_hidden_size": 24}
        name = {"qwen2.5-omni": "Qwen2_5Omni", "qwen3-omni": "Qwen3OmniMoe"}[family]
        config = getattr(transformers, f"{name}ThinkerConfig")(**given)
        cls = getattr(transformers, f"{name}ThinkerForConditionalGeneration")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return cls(config)


def family_lm(family: str, table: Training) -> AudioLM:
    """The model behind its adapter, frozen and adapted as the table says."""
    model = family_model(family).to(DTYPES[table.dtype])
    lm = wrap_model(model, family_processor(family), name=family)
    lm.checkpointing, lm.long_audio = table.checkpointing, table.long_audio
    if table.freeze_audio:
        lm.freeze_audio()
    if table.lora is not None:
        add_lora(lm, table.lora, seed=0)
    return lm


def encoded_prompts(lm: AudioLM, count: int, seconds: float) -> list[Encoded]:
    """The same prompt about distinct clips of one length."""
    return [encode_text(lm, lm.clip(make_clip(at, seconds)), PROMPT) for at in range(count)]


def some_ids(seed: int, count: int) -> tuple[int, ...]:
    """Token ids of a completion."""
    return tuple(np.random.default_rng(seed).integers(60, 300, count).tolist())


def saved_by(lm: AudioLM, function: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, int]:
    """What a function returns, and the bytes that autograd saves for it beside the weights."""
    weights = {p.untyped_storage().data_ptr() for p in lm.model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = function()
    assert result.requires_grad
    return result, sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def allocations(events: Iterable[Any]) -> Iterator[tuple[int, int, int]]:
    """Every allocation among a profile's events and below them: time, address, and bytes, negative where freed."""
    for event in events:
        tag, what = event.typed
        if tag == torch._C._profiler._EventType.Allocation:
            yield event.start_time_ns, what.ptr, what.alloc_size
        yield from allocations(event.children)


class Counter:
    """Counts the bytes of tensors that calls allocate, as torch's profiler reports them."""

    def __init__(self) -> None:
        self.highest: dict[str, int] = {}
        self.left: dict[str, int] = {}

    def call(self, name: str, function: Callable[..., Any], *given: Any, **options: Any) -> Any:
        """Call a function; its peak, and what it leaves behind, go under ``name``.

        What the call frees counts only where the call itself allocated it. Of an older block the profiler knows no
        size but that of whatever an earlier profile saw at the same address, in this process and its other tests too.
        """
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
            done = function(*given, **options)
        results = seen.profiler.kineto_results
        own: dict[int, int] = {}
        alive = highest = 0
        for _, address, change in sorted(allocations(results.experimental_event_tree()), key=lambda event: event[0]):
            if change > 0:
                own[address] = change
                alive += change
            else:
                alive -= own.pop(address, 0)
            highest = max(highest, alive)
        self.highest[name], self.left[name] = highest, alive
        return done
