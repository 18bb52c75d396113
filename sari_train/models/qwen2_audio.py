"""Qwen2-Audio: a Whisper encoder with average pooling, a linear projector, a Qwen2 text model.

Audio and text are joined here rather than by ``Qwen2AudioForConditionalGeneration.forward``: that
builds logits for the whole prompt, encodes a clip once for every row that shares it, and falls into
a legacy path when no two audio placeholders are adjacent.
"""

from __future__ import annotations

from sari_train.models.whisper import WhisperHalf

STOP_TOKENS = ("<|im_end|>", "<|endoftext|>")
# Tokens that a response must never hold: an audio placeholder without audio breaks the next forward pass.
BANNED_TOKENS = ("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>", "<|im_start|>")


class Qwen2Audio(WhisperHalf):
    """Adapter for ``Qwen2AudioForConditionalGeneration`` (Chu et al. 2024, arXiv 2407.10759).

    It hears one window of 30 s; longer audio takes several spans, ``Audio 1: ...``, ``Audio 2: ...`` in its template.
    """

    stop_tokens = STOP_TOKENS
    banned_tokens = BANNED_TOKENS
