"""Small models of the published architectures with random weights, and their processors from real classes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor


def stay_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no tensor in float64 go through float32: transformers' norms and routers do, which hides errors of 1e-8."""
    to, softmax = Tensor.to, torch.nn.functional.softmax

    def kept(self: Tensor, *args: Any, **options: Any) -> Tensor:
        narrows = self.dtype == torch.float64 and args == (torch.float32,)
        return self if narrows else to(self, *args, **options)

    def wide(x: Tensor, *args: Any, **options: Any) -> Tensor:
        if x.dtype == torch.float64:
            options.pop("dtype", None)
        return softmax(x, *args, **options)

    monkeypatch.setattr(Tensor, "to", kept)
    monkeypatch.setattr(torch.nn.functional, "softmax", wide)


# Names of the Omni models' tokens, as their tokenizers have them.
TOKENS = {
    "qwen2.5-omni": {
        "audio_token": "<|AUDIO|>",
        "audio_bos_token": "<|audio_bos|>",
        "audio_eos_token": "<|audio_eos|>",
        "image_token": "<|IMAGE|>",
        "video_token": "<|VIDEO|>",
        "vision_bos_token": "<|vision_bos|>",
        "vision_eos_token": "<|vision_eos|>",
    },
    "qwen3-omni": {
        "audio_token": "<|audio_pad|>",
        "audio_bos_token": "<|audio_start|>",
        "audio_eos_token": "<|audio_end|>",
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_bos_token": "<|vision_start|>",
        "vision_eos_token": "<|vision_end|>",
    },
}
OMNI = tuple(TOKENS)
# What the published templates render of text and audio; Qwen2.5-Omni's says first who it is.
_SYSTEM = (
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}"
)
_TEMPLATE = (
    "{% for message in messages %}SYSTEM<|im_start|>{{ message['role'] }}\n"
    "{% for content in message['content'] %}{% if content['type'] == 'audio' or 'audio_url' in content %}AUDIO"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_AUDIO = {
    "qwen2.5-omni": {
        "num_mel_bins": 16,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 24,
        "d_model": 16,
        "max_source_positions": 50,
        "n_window": 13,  # an odd number of positions: averaging then crosses windows
        "output_dim": 32,
    },
    "qwen3-omni": {
        "num_mel_bins": 16,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 24,
        "d_model": 16,
        "max_source_positions": 50,
        "n_window": 50,
        "n_window_infer": 200,
        "conv_chunksize": 3,
        "downsample_hidden_size": 4,
        "output_dim": 32,
    },
}
_EYES = {
    "depth": 1,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_heads": 2,
    "out_hidden_size": 32,
    "patch_size": 4,
}
_TALKER = {
    "vocab_size": 50,
    "embedding_size": 32,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
}
_ROPE = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 1, 1]}
_DIT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "head_dim": 8,
    "num_embeds": 20,
    "emb_dim": 8,
    "mel_dim": 8,
    "enc_dim": 8,
    "enc_emb_dim": 8,
    "enc_channels": [8, 8, 8, 8, 24],
    "enc_attention_channels": 8,
    "enc_se_channels": 8,
    "look_ahead_layers": [0],
    "look_backward_layers": [0],
}
_VOCODER = {
    "mel_dim": 8,
    "upsample_initial_channel": 16,
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3, 5]],
    "upsample_rates": [2, 2],
    "upsample_kernel_sizes": [4, 4],
}
_CODE_TO_WAVE = {
    "codebook_size": 20,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "decoder_dim": 16,
    "upsample_rates": [2],
    "upsampling_ratios": [2],
    "num_quantizers": 2,
}


def omni_processor(kind: str, texts: list[str]) -> Any:
    """A processor of 3 s (Qwen2.5-Omni cuts there, Qwen3-Omni never), its tokenizer trained on ``texts``."""
    from transformers import PreTrainedTokenizerFast, WhisperFeatureExtractor

    from sari_train.models.omni_processor import OmniProcessor
    from sari_train.models.tiny import build_tokenizer

    core = build_tokenizer(texts, 400).backend_tokenizer
    core.add_special_tokens(list(TOKENS[kind].values()))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        clean_up_tokenization_spaces=False,
        padding_side="left",
        extra_special_tokens=TOKENS[kind],
    )
    audio = "".join(TOKENS[kind][f"audio_{part}"] for part in ("bos_token", "token", "eos_token"))
    template = _TEMPLATE.replace("SYSTEM", _SYSTEM if kind == "qwen2.5-omni" else "").replace("AUDIO", audio)
    return OmniProcessor(tokenizer, WhisperFeatureExtractor(feature_size=16, chunk_length=3), template)


def whole_processor(kind: str, processor: Any) -> Any:
    """The same as transformers' own class; its eyes, which need torchvision, stay closed."""
    import transformers

    cls = {"qwen2.5-omni": "Qwen2_5OmniProcessor", "qwen3-omni": "Qwen3OmniMoeProcessor"}[kind]
    parts = {"image_processor": None, "video_processor": None, "feature_extractor": processor.feature_extractor}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers.ProcessorMixin, "check_argument_for_proper_class", lambda *_: None)
        made = getattr(transformers, cls)(**parts, tokenizer=processor.tokenizer, chat_template=processor.chat_template)
    return made


def thinker_config(kind: str, processor: Any) -> dict[str, Any]:
    """A thinker of a few thousand weights, as a full model's configuration has it."""
    token = processor.tokenizer.convert_tokens_to_ids
    text = {
        "vocab_size": len(processor.tokenizer) + 3,  # published heads have rows that no token has
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 512,
        "rope_parameters": _ROPE,
        "tie_word_embeddings": False,
        "eos_token_id": processor.tokenizer.eos_token_id,
        "pad_token_id": processor.tokenizer.pad_token_id,
    }
    names = ("audio_token_id", "image_token_id", "video_token_id", "audio_start_token_id", "vision_start_token_id")
    eyes = _EYES | {"fullatt_block_indexes": [0]}
    if kind == "qwen3-omni":
        text |= {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
        eyes = _EYES | {"deepstack_visual_indexes": [0], "num_position_embeddings": 16}
    else:
        names = ("audio_token_index", "image_token_index", "video_token_index", *names[3:])
    parts = ("audio_token", "image_token", "video_token", "audio_bos_token", "vision_bos_token")
    ids = {name: token(TOKENS[kind][part]) for name, part in zip(names, parts, strict=True)}
    return {"audio_config": _AUDIO[kind], "vision_config": eyes, "text_config": text, **ids}


def thinker(kind: str, processor: Any, seed: int = 0) -> Any:
    """A thinker with random weights, scaled up so that its next tokens are far from uniform."""
    import transformers

    name = {"qwen2.5-omni": "Qwen2_5Omni", "qwen3-omni": "Qwen3OmniMoe"}[kind]
    config = getattr(transformers, f"{name}ThinkerConfig")(**thinker_config(kind, processor))
    return _random(getattr(transformers, f"{name}ThinkerForConditionalGeneration"), config, seed)


def omni_lm(kind: str, processor: Any, seed: int = 0, dtype: torch.dtype = torch.float32) -> Any:
    """The thinker behind its adapter."""
    from sari_train.models.load import wrap_model

    return wrap_model(in_type(thinker(kind, processor, seed), dtype), processor, name=kind)


def in_type(model: Any, dtype: torch.dtype) -> Any:
    """The model in a type; in float64 the experts run one by one, since their joint products are not there for it."""
    if dtype == torch.float64 and hasattr(model.config.text_config, "num_experts"):
        model.set_experts_implementation("eager")
    return model.to(dtype)


def full_omni(kind: str, processor: Any, seed: int = 0) -> Any:
    """The whole model with random weights: thinker, talker and vocoder."""
    import transformers

    config: dict[str, Any] = {"thinker_config": thinker_config(kind, processor)}
    if kind == "qwen2.5-omni":
        config["talker_config"] = _TALKER | {"rope_parameters": _ROPE}
        config["token2wav_config"] = {"dit_config": _DIT, "bigvgan_config": _VOCODER}
        return _random(transformers.Qwen2_5OmniForConditionalGeneration, transformers.Qwen2_5OmniConfig(**config), seed)
    text = _TALKER | {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16, "rope_parameters": _ROPE}
    text |= {"shared_expert_intermediate_size": 16}
    predictor = {k: v for k, v in _TALKER.items() if k != "embedding_size"} | {"num_code_groups": 2}
    config["talker_config"] = {
        "text_config": text,
        "code_predictor_config": predictor,
        "num_code_groups": 2,
        "thinker_hidden_size": 32,
        "spatial_merge_size": 2,
    }
    config["code2wav_config"] = _CODE_TO_WAVE
    return _random(transformers.Qwen3OmniMoeForConditionalGeneration, transformers.Qwen3OmniMoeConfig(**config), seed)


def _random(cls: Any, config: Any, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = cls(config).eval()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if ".experts." in name:  # transformers leaves some of these as memory happened to be
                    weight.normal_(std=0.02)
                weight.mul_(4) if weight.dim() > 1 else weight.add_(0.1 * torch.randn_like(weight))
    return model
