"""Small Voxtral and Audio Flamingo 3 models with random weights, their processors from real classes, and a reference.

The windows are the published ones (30 s, 3000 frames, 375 or 750 tokens), so that the processors' own constants hold.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from train_helpers import make_clip, waveform
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm

from sari_data.types import AudioRef
from sari_train.batch import Encoded, Example, collate, encode_example
from sari_train.config import Lora
from sari_train.logprobs import completion_logprobs
from sari_train.lora import add_lora
from sari_train.models.base import AudioLM
from sari_train.models.load import wrap_model

MELS = 16
TEXTS = ["What do you hear first? Say one word.", "How many bells ring?", "two or three of them, then a dog: the end"]
CLIPS = [(1, 0.7, TEXTS[1]), (2, 31.3, TEXTS[0]), (3, 2.0, "How many?")]  # the second takes two windows
WORDS = ["one", "two or three of them", "a bell rings, then a dog", "x"]
OWNERS = [1, 0, 1, 2]
TEMPERATURE = 0.8
QWEN_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<sound>"]
# As in Voxtral's tekken.json, where a name stands at its rank.
MISTRAL_TOKENS = """
<unk> <s> </s> [INST] [/INST] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS] [TOOL_RESULTS] [/TOOL_RESULTS] [TOOL_CALLS] [IMG]
<pad> [IMG_BREAK] [IMG_END] [PREFIX] [MIDDLE] [SUFFIX] [SYSTEM_PROMPT] [/SYSTEM_PROMPT] [TOOL_CONTENT] <SPECIAL_20>
<SPECIAL_21> <SPECIAL_22> <SPECIAL_23> [AUDIO] [BEGIN_AUDIO] <SPECIAL_26> <SPECIAL_27> <SPECIAL_28> <SPECIAL_29>
<SPECIAL_30> <SPECIAL_31> [ARGS] [CALL_ID] [TRANSCRIBE]
"""
SPECIALS = MISTRAL_TOKENS.split() + [f"<SPECIAL_{rank}>" for rank in range(35, 40)]
SOUND_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% set ns = namespace(found=False, text='') %}{% for c in m['content'] %}"
    "{% if c.get('type') == 'audio' %}{% set ns.found = True %}{% else %}{% set ns.text = ns.text + c['text'] %}"
    "{% endif %}{% endfor %}{% if ns.found %}<sound>{% endif %}{{ ns.text }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
INST_TEMPLATE = (
    "<s>{% for m in messages %}[INST]{% for c in m['content'] %}"
    "{% if c['type'] == 'audio' %}[BEGIN_AUDIO][AUDIO]{% else %}{{ c['text'] }}{% endif %}{% endfor %}[/INST]"
    "{% endfor %}"
)
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
TOWER = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def bpe(specials: Sequence[str], **options: Any) -> Any:
    """A byte-level BPE tokenizer whose first ids are ``specials``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=len(specials) + 330, special_tokens=[*specials], initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator([*TEXTS, *WORDS], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, **options)


def extractor() -> Any:
    """Whisper's features in a few bands."""
    from transformers import WhisperFeatureExtractor

    return WhisperFeatureExtractor(feature_size=MELS, return_attention_mask=True)


def flamingo_processor(**options: Any) -> Any:
    """An AudioFlamingo3Processor with the published chat template."""
    from transformers import AudioFlamingo3Processor

    tokenizer = bpe(QWEN_TOKENS, pad_token="<|endoftext|>", eos_token="<|im_end|>", chat_template=SOUND_TEMPLATE)
    return AudioFlamingo3Processor(extractor(), tokenizer, chat_template=SOUND_TEMPLATE, **options)


def voxtral_processor(folder: Path | None = None) -> Any:
    """A VoxtralProcessor: on Mistral's own tokenizer, written to ``folder``, or on one with a chat template."""
    from transformers import VoxtralProcessor

    if folder is None:
        named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
        return VoxtralProcessor(extractor(), bpe(SPECIALS, chat_template=INST_TEMPLATE, **named))
    from transformers.tokenization_mistral_common import MistralCommonBackend

    return VoxtralProcessor(extractor(), MistralCommonBackend(write_tekken(folder / "tekken.json")))


def write_tekken(path: Path, version: str = "v7") -> Path:
    """A small tekken.json in the form of the published one."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte_of = {letter: byte for byte, letter in bytes_to_unicode().items()}
    vocab = bpe(SPECIALS).get_vocab()
    pieces = [bytes(byte_of[c] for c in piece) for piece in sorted(vocab, key=lambda p: vocab[p])[len(SPECIALS) :]]
    merged = [piece for piece in pieces if len(piece) > 1]
    ranked = [bytes([byte]) for byte in range(256)] + merged
    entries = [
        {"rank": rank, "token_bytes": base64.b64encode(piece).decode(), "token_str": piece.decode(errors="replace")}
        for rank, piece in enumerate(ranked)
    ]
    config = {
        "pattern": r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        "num_vocab_tokens": len(entries),
        "default_vocab_size": len(entries) + len(SPECIALS),
        "default_num_special_tokens": len(SPECIALS),
        "version": version,
    }
    audio = {
        "sampling_rate": 16_000,
        "frame_rate": 12.5,
        "audio_encoding_config": {"num_mel_bins": 128, "hop_length": 160, "window_size": 400},
        "chunk_length_s": 30.0,
    }
    specials = [{"rank": rank, "token_str": name, "is_control": True} for rank, name in enumerate(SPECIALS)]
    body = {"config": config, "vocab": entries, "special_tokens": specials, "audio": audio, "version": 1}
    path.write_text(json.dumps(body), encoding="utf-8")
    return path


def random_model(cls: Any, config: Any, seed: int) -> Any:
    """Random weights, scaled up so that next tokens are far from uniform, and audio that is as loud as words."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = cls(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "embed_positions" not in name:
                weight.mul_(6)
    model.generation_config.pad_token_id = None
    return model.eval()


def flamingo_model(processor: Any, seed: int = 0) -> Any:
    """An Audio Flamingo 3 with a few thousand weights."""
    from transformers import AudioFlamingo3Config, AudioFlamingo3ForConditionalGeneration

    size = {"vocab_size": len(processor.tokenizer), "max_position_embeddings": 2048}
    config = AudioFlamingo3Config(
        audio_config={"model_type": "audioflamingo3_encoder", "num_mel_bins": MELS, **TOWER},
        text_config={"model_type": "qwen2", **TEXT, **size},
        audio_token_id=processor.audio_token_id,
    )
    return random_model(AudioFlamingo3ForConditionalGeneration, config, seed)


def voxtral_model(processor: Any, seed: int = 0) -> Any:
    """A Voxtral with a few thousand weights."""
    from transformers import VoxtralConfig, VoxtralForConditionalGeneration

    size = {"vocab_size": len(processor.tokenizer), "max_position_embeddings": 2048, "head_dim": 10}
    config = VoxtralConfig(
        audio_config={"model_type": "voxtral_encoder", "num_mel_bins": MELS, **TOWER},
        text_config={"model_type": "llama", **TEXT, **size},
        audio_token_id=processor.audio_token_id,
    )
    return random_model(VoxtralForConditionalGeneration, config, seed)


def norms_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers' RMS norms go through float32; in float64 that would hide errors of 1e-8."""
    for cls in (Qwen2RMSNorm, LlamaRMSNorm):

        def forward(self: Any, hidden: Tensor, plain: Callable[[Any, Tensor], Tensor] = cls.forward) -> Tensor:
            if hidden.dtype != torch.float64:
                return plain(self, hidden)
            return self.weight * hidden * torch.rsqrt(hidden.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

        monkeypatch.setattr(cls, "forward", forward)


# -- the reference -------------------------------------------------------------------------------------------------

Inputs = Callable[[Any, AudioRef, str], dict[str, Any]]


def flamingo_inputs(processor: Any, audio: AudioRef, prompt: str) -> dict[str, Any]:
    """What the processor makes of a clip and a prompt."""
    content = [{"type": "audio", "audio": waveform(audio)}, {"type": "text", "text": prompt}]
    chat = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    return dict(processor(text=[chat], audio=[waveform(audio)], text_kwargs={"add_special_tokens": False}))


def voxtral_inputs(processor: Any, audio: AudioRef, prompt: str) -> dict[str, Any]:
    """What the processor makes of a clip and a prompt; where it needs Mistral's tokenizer for that, by hand."""
    assert audio.data is not None
    encoded = base64.b64encode(audio.data).decode()
    content = [{"type": "audio", "base64": encoded}, {"type": "text", "text": prompt}]
    found = dict(processor.apply_chat_template([{"role": "user", "content": content}]))
    if "input_features" not in found:
        settings = {k: v for k, v in processor.audio_kwargs.items() if k != "max_source_positions"}
        features = processor._retrieve_input_features([waveform(audio)], 3000, **settings)
        ids = found["input_ids"][0].tolist()
        at = ids.index(processor.audio_token_id)
        ids[at : at + 1] = [processor.audio_token_id] * 375 * len(features)
        found = {"input_ids": torch.tensor([ids]), "input_features": features}
    return found


@dataclass
class Found:
    """Log-probabilities of all completion tokens, and the gradient of each weight."""

    logps: Tensor
    grads: dict[str, Tensor]

    def error(self, other: Found) -> dict[str, float]:
        """Relative errors over all numbers: the norm of the difference over the norm."""
        assert self.grads.keys() == other.grads.keys()
        a, b = (torch.cat([f.grads[name].double().flatten() for name in self.grads]) for f in (self, other))
        pairs = {"logps": (self.logps, other.logps), "grads": (a, b)}
        return {name: ((x.double() - y.double()).norm() / y.double().norm()).item() for name, (x, y) in pairs.items()}


def build(model: Any, processor: Any, setting: str, dtype: torch.dtype) -> AudioLM:
    """The model behind its adapter; with ``adapters`` in ``setting``, with LoRA that changes something."""
    lm = wrap_model(model.to(dtype), processor, name="small")
    if "frozen" in setting:
        lm.freeze_audio()
    if "adapters" in setting:
        add_lora(lm, Lora(rank=2), seed=0)
        with torch.no_grad():
            for name, weight in lm.model.named_parameters():
                if "lora_B" in name:
                    weight.copy_(torch.linspace(-0.2, 0.2, weight.numel()).view_as(weight))
    lm.checkpointing = "checkpointing" in setting
    return lm


def completions(lm: AudioLM) -> list[tuple[int, ...]]:
    """Ids of some answers."""
    return [tuple(lm.tokenizer(word, add_special_tokens=False)["input_ids"]) for word in WORDS]


def weights_of(tokens: int) -> Tensor:
    """A weight of either sign for each token: what a loss might want."""
    return torch.linspace(-1, 1.3, tokens, dtype=torch.float64)


def rows(lm: AudioLM) -> list[Encoded]:
    """Several completions of several prompts, not in the prompts' order."""
    prompts = [encode_example(lm, Example(make_clip(seed, seconds), text)) for seed, seconds, text in CLIPS]
    pairs = zip(OWNERS, completions(lm), strict=True)
    return [Encoded(prompts[o].clip, prompts[o].prompt, completion) for o, completion in pairs]


def ours(lm: AudioLM) -> Found:
    """All rows in one batch through this package."""
    batch = collate(lm, rows(lm))
    logps, _ = completion_logprobs(lm, batch, TEMPERATURE, banned=lm.banned_ids)
    mask = batch.completion_mask_BC
    (logps[mask].double() * weights_of(int(mask.sum()))).sum().backward()
    return Found(logps[mask].detach(), _gradients(lm))


def reference(lm: AudioLM, inputs: Inputs, **planted: Any) -> Found:
    """Row by row through the processor and the model's own forward."""
    lm.model.set_attn_implementation("sdpa")
    answers, logps = completions(lm), []
    weights = weights_of(sum(map(len, answers))).split([len(answer) for answer in answers])
    for at, (owner, answer, weight) in enumerate(zip(OWNERS, answers, weights, strict=True)):
        seed, seconds, text = CLIPS[owner]
        made = inputs(lm.processor, make_clip(seed + 7 * (planted.get("clip") == at), seconds), text)
        prompt = made["input_ids"][0].tolist()
        ids = torch.tensor([prompt + list(answer)])
        options = {"input_features": made["input_features"].to(lm.dtype)}
        if "input_features_mask" in made:
            options["input_features_mask"] = made["input_features_mask"]
        if planted.get("windows") and len(made["input_features"]) > 1:
            options = {name: x.flip(0) for name, x in options.items()}
        logits = lm.model(input_ids=ids, attention_mask=torch.ones_like(ids), **options).logits
        table = logits[0, len(prompt) - 1 : -1].double() / planted.get("temperature", TEMPERATURE)
        banned = torch.tensor(lm.banned_ids if planted.get("ban", True) else lm.banned_ids[1:])
        found = table.index_fill(-1, banned, float("-inf")).log_softmax(-1).gather(-1, torch.tensor(answer)[:, None])
        (found[:, 0] * weight).sum().backward()
        logps.append(found[:, 0].detach())
    return Found(torch.cat(logps), _gradients(lm))


def _gradients(lm: AudioLM) -> dict[str, Tensor]:
    found = {n: p.grad.clone() for n, p in lm.model.named_parameters() if p.grad is not None}
    lm.model.zero_grad()
    return found
