"""The embedded architecture: a real Qwen2-Audio of about a million parameters.

Model, processor, tokenizer and chat template are transformers' own classes with small numbers in
their configs, so every line of code that serves Qwen2-Audio-7B serves this model and nothing is
special to it. It hears ``SECONDS`` seconds in 64 mel bands and gives the text model one vector for
every 80 ms.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor

SECONDS = 3
SAMPLING_RATE = 16_000
HOP = 320  # samples between frames: 20 ms
CONTROL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|audio_bos|>", "<|AUDIO|>", "<|audio_eos|>")
# Transformers' 0.02 suits widths in the thousands; at a width of 100 it leaves attention flat for long.
INIT_STD = 0.06
# The tags of a response are whole tokens, as they are in tokenizers of models trained to think; ordinary
# text to everything else (they decode, and skip_special_tokens keeps them).
TAGS = tuple(
    f"<{slash}{name}>"
    for name in ("think", "planning", "caption", "reasoning", "summary", "answer")
    for slash in ("", "/")
)
# Qwen2's own split: words with their leading space, single digits, runs of punctuation.
_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def build_tokenizer(texts: Iterable[str], vocab_size: int = 1024) -> Any:
    """Train a byte-level BPE tokenizer on ``texts``, with Qwen2-Audio's special tokens.

    Any string can be encoded: what the texts do not cover falls apart into bytes.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.normalizer = normalizers.NFC()
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(CONTROL_TOKENS) - len(TAGS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.add_special_tokens(list(CONTROL_TOKENS))
    core.add_tokens([AddedToken(tag, normalized=False) for tag in TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )


def build_processor(texts: Iterable[str], vocab_size: int = 1024) -> Qwen2AudioProcessor:
    """Build the Qwen2AudioProcessor: Whisper features of SECONDS seconds, and a tokenizer trained on ``texts``."""
    from transformers import Qwen2AudioProcessor, WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(
        feature_size=64, sampling_rate=SAMPLING_RATE, hop_length=HOP, chunk_length=SECONDS, n_fft=1024
    )
    return Qwen2AudioProcessor(extractor, build_tokenizer(texts, vocab_size))


def build_model(processor: Qwen2AudioProcessor, *, seed: int = 0) -> Qwen2AudioForConditionalGeneration:
    """Build the model with random weights that depend on ``seed`` alone (the caller's RNG is left as it was)."""
    import torch
    from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration
    from transformers.models.whisper.modeling_whisper import sinusoids

    tokenizer = processor.tokenizer
    frames = processor.feature_extractor.nb_max_frames
    config = Qwen2AudioConfig(
        audio_config={
            "num_mel_bins": processor.feature_extractor.feature_size,
            "d_model": 96,
            "encoder_layers": 3,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 288,
            "max_source_positions": frames // 2,
            "initializer_range": INIT_STD,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "hidden_size": 128,
            "intermediate_size": 320,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 1024,
            "tie_word_embeddings": False,
            "use_sliding_window": False,
            "initializer_range": INIT_STD,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2AudioForConditionalGeneration(config)
    # The encoder's positions are frozen. Published weights bring Whisper's sinusoids; a model built from a
    # config gets noise, from which neither order nor duration can be learned.
    positions = model.model.audio_tower.embed_positions.weight
    positions.data.copy_(sinusoids(*positions.shape))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model


def build_tiny(
    texts: Iterable[str], *, vocab_size: int = 1024, seed: int = 0
) -> tuple[Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor]:
    """Build model and processor with random weights; ``texts`` decide which words are single tokens."""
    processor = build_processor(texts, vocab_size)
    return build_model(processor, seed=seed), processor
