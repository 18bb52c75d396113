"""A Qwen2-Audio of a given size with random weights, and one GRPO group to run through it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sari_data.audio import encode_wav
from sari_data.sources.scenes import Options, generate
from sari_data.types import AudioRef
from sari_train.batch import Encoded, Example, encode_example
from sari_train.models.base import AudioLM
from sari_train.models.load import wrap_model
from sari_train.models.tiny import build_tokenizer

SAMPLING_RATE = 16_000


@dataclass(frozen=True)
class Size:
    """Widths and depths; the window is Whisper's 30 s, or shorter where ``window`` says so."""

    audio_layers: int = 4
    audio_width: int = 256
    text_layers: int = 8
    text_width: int = 512
    text_ffn: int = 1408
    heads: int = 8
    key_heads: int = 8
    vocabulary: int = 32_000
    mels: int = 128


SMALL = Size()
# The published Qwen2-Audio-7B: Whisper-large-v3's encoder, Qwen-7B.
PUBLISHED = Size(32, 1280, 32, 4096, 11_008, 32, 32, 156_032, 128)


def build(size: Size, *, device: str = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0) -> AudioLM:
    """Build the model with random weights and its processor."""
    from transformers import (
        Qwen2AudioConfig,
        Qwen2AudioForConditionalGeneration,
        Qwen2AudioProcessor,
        WhisperFeatureExtractor,
    )

    texts = (q.question for q in generate(Options(questions={"sound": 60, "music": 0, "speech": 0}), seed=1))
    tokenizer = build_tokenizer(texts, 600)
    extractor = WhisperFeatureExtractor(feature_size=size.mels, sampling_rate=SAMPLING_RATE, chunk_length=30)
    processor = Qwen2AudioProcessor(extractor, tokenizer)
    config = Qwen2AudioConfig(
        audio_config={
            "num_mel_bins": size.mels,
            "d_model": size.audio_width,
            "encoder_layers": size.audio_layers,
            "encoder_attention_heads": max(1, size.audio_width // 64),
            "encoder_ffn_dim": 4 * size.audio_width,
            "max_source_positions": 1500,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": size.vocabulary,
            "hidden_size": size.text_width,
            "intermediate_size": size.text_ffn,
            "num_hidden_layers": size.text_layers,
            "num_attention_heads": size.heads,
            "num_key_value_heads": size.key_heads,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": False,
            "use_sliding_window": False,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    torch.manual_seed(seed)
    with torch.device(device):
        kept = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        model = Qwen2AudioForConditionalGeneration(config)
        torch.set_default_dtype(kept)
    return wrap_model(model, processor, name="random")


def noise(seconds: float, seed: int = 0) -> AudioRef:
    """A clip of noise."""
    samples = np.random.default_rng(seed).normal(size=round(seconds * SAMPLING_RATE)).astype(np.float32) * 0.1
    return AudioRef(path=f"noise-{seed}.wav", data=encode_wav(samples, SAMPLING_RATE))


def prompt(lm: AudioLM, seconds: float, text_tokens: int = 60, seed: int = 0) -> Encoded:
    """Encode a prompt about a clip, with ``text_tokens`` tokens beside those of the audio."""
    audio, text = noise(seconds, seed), "What"
    while True:
        encoded = encode_example(lm, Example(audio, text))
        missing = text_tokens - (len(encoded.prompt) - encoded.clip.tokens)
        if missing <= 0:
            return encoded
        text += " What" * max(1, missing // 2)


def lengths(group: int, total: int, seed: int = 0) -> list[int]:
    """Lengths of ``group`` completions that add up to ``total``, spread by about two thirds around their mean."""
    rng = random.Random(seed)
    mean = total / group
    drawn = [max(2, round(mean * rng.uniform(0.34, 1.66))) for _ in range(group - 1)]
    drawn = [round(x * (total - mean) / sum(drawn)) for x in drawn]
    return [*drawn, total - sum(drawn)]


def completions(lm: AudioLM, sizes: list[int], seed: int = 0) -> list[tuple[int, ...]]:
    """Random tokens; none is a special one."""
    rng = random.Random(seed)
    special = set(lm.tokenizer.all_special_ids) | set(lm.banned_ids)
    allowed: list[Any] = [i for i in range(lm.head_size) if i not in special]
    return [tuple(rng.choices(allowed, k=size)) for size in sizes]
