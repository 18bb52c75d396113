"""The least time that a GRPO step's phases could take on this machine: their operations over its measured rates.

Counted are multiplications and additions of the matrix products (2 for each pair) and of attention's two; norms,
rotations, softmax and sampling are not, so a floor is a little below what could ever be reached.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from sari_train.batch import Encoded
from sari_train.models.base import AudioLM


def of(lm: AudioLM, prompt: Encoded, sizes: Sequence[int], device: str, dtype: torch.dtype) -> dict[str, Any]:
    """Return rates of the machine, and operations and floor seconds of each phase."""
    rate, bandwidth = matrix_rate(device, dtype), read_rate(device, dtype)
    audio, prefill, decode, packed, head = operations(lm, prompt, sizes)
    text_bytes = sum(p.numel() * p.element_size() for p in lm.text_model.parameters())
    head_bytes = lm.head_weights[0].numel() * lm.head_weights[0].element_size()
    reads = max(sizes) * (text_bytes + head_bytes) / bandwidth
    counts = {
        "rollout": audio + prefill + decode + head,
        "reference": audio + packed + head,
        # Backward takes two products for each of the forward pass; the head's gradients are among them.
        "policy": 3 * (audio + packed + head),
    }
    seconds = {name: count / rate for name, count in counts.items()}
    seconds["rollout"] = (audio + prefill) / rate + max((decode + head) / rate, reads)
    seconds["step"] = sum(seconds.values())
    return {
        "matrix_gflops": round(rate / 1e9, 1),
        "read_gb_per_second": round(bandwidth / 1e9, 1),
        "gflop": {name: round(count / 1e9, 1) for name, count in counts.items()},
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }


def operations(lm: AudioLM, prompt: Encoded, sizes: Sequence[int]) -> tuple[float, float, float, float, float]:
    """Operations of the audio tower, the prefill, decoding, the packed pass, and the head at completion tokens."""
    audio_config, text = lm.model.config.audio_config, lm.model.config.text_config
    p, n = len(prompt.prompt), sum(sizes)
    frames = prompt.clip.frames
    s, d, m = (frames - 1) // 2 + 1, audio_config.d_model, audio_config.num_mel_bins
    layer = 2 * s * (4 * d * d + 2 * d * audio_config.encoder_ffn_dim) + 4 * s * s * d
    audio = 2 * 3 * (frames * m * d + s * d * d) + audio_config.encoder_layers * layer
    audio += 2 * prompt.clip.tokens * d * text.hidden_size
    h, size = text.hidden_size, getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    keys = 2 * h * size * text.num_key_value_heads
    width = size * text.num_attention_heads
    others = 2 * h * width + 3 * h * text.intermediate_size
    layers = text.num_hidden_layers
    causal = 2 * p * p * width  # half of the p x p scores, two products of 2 operations each
    suffix = sum(4 * (c - 1) * p * width + 2 * (c - 1) ** 2 * width for c in sizes)
    fed = n - len(sizes)
    prefill = layers * 2 * p * keys + (layers - 1) * (2 * p * others + causal) + 2 * others
    decode = layers * (2 * fed * (keys + others) + suffix)
    packed = prefill + decode
    head = 2 * n * h * lm.head_size
    return float(audio), float(prefill), float(decode), float(packed), float(head)


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Operations a second of a square matrix product (best of five)."""
    n = 1536 if device == "cpu" else 8192
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    return 2 * n**3 / _best(lambda: a @ b, device)


def read_rate(device: str, dtype: torch.dtype) -> float:
    """Bytes a second of a matrix too large for any cache, read by a product with one vector (best of five)."""
    n = 8192 if device == "cpu" else 32_768
    a, x = torch.randn(n, n, device=device, dtype=dtype), torch.randn(n, 1, device=device, dtype=dtype)
    return a.numel() * a.element_size() / _best(lambda: a @ x, device)


def _best(work: Callable[[], Any], device: str) -> float:
    times = []
    for _ in range(6):
        if device != "cpu":
            torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        if device != "cpu":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return min(times[1:])
