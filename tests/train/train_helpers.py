"""Small models, clips and corpora for the tests of sari_train, and a reference that shares no code with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from sari_data.audio import encode_wav
from sari_data.prompting import list_modes, render_prompt, render_target
from sari_data.sources.scenes import Options, generate
from sari_data.store import write_corpus
from sari_data.types import AudioQuestion, AudioRef, PassRate
from sari_train import grpo
from sari_train.config import Grpo
from sari_train.models.base import AudioLM
from sari_train.models.load import wrap_model
from sari_train.models.tiny import build_processor
from sari_train.policy import Experience
from sari_train.rewards import REWARDS, Settings, load_rewards
from sari_train.rollouts.engine import RolloutEngine, make_engine
from sari_train.samples import StepSamples


def make_clip(seed: int, seconds: float) -> AudioRef:
    """Noise of the given length."""
    samples = np.random.default_rng(seed).normal(size=int(seconds * 16_000)).astype(np.float32) * 0.1
    return AudioRef(path=f"clip-{seed}.wav", data=encode_wav(samples, 16_000))


def make_questions(count: int = 12, seed: int = 3) -> list[AudioQuestion]:
    """A few scenes, each with a made-up pass rate."""
    questions = list(generate(Options(questions={"sound": count, "music": 0, "speech": 0}), seed=seed))
    return [q.replace(pass_rates=(PassRate(i % 5, 4, "test", "direct", 0),)) for i, q in enumerate(questions)]


def make_processor(questions: list[AudioQuestion]) -> Any:
    """A processor whose tokenizer knows the questions' words."""
    texts = [render(q, m) for q in questions for m in list_modes() for render in (render_prompt, render_target)]
    return build_processor(texts, vocab_size=400)


def make_model(processor: Any, seed: int = 0, scale: float = 4.0) -> Any:
    """A Qwen2-Audio with a few thousand weights; scaled up so that its next tokens are far from uniform."""
    from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration

    tokenizer, frames = processor.tokenizer, processor.feature_extractor.nb_max_frames
    config = Qwen2AudioConfig(
        audio_config={
            "num_mel_bins": processor.feature_extractor.feature_size,
            "d_model": 16,
            "encoder_layers": 1,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "max_source_positions": frames // 2,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "tie_word_embeddings": True,
            "use_sliding_window": False,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2AudioForConditionalGeneration(config)
        model.tie_weights()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.dim() > 1:
                    weight.mul_(scale)
            # Random audio states nearly cancel in the mean; make a clip as loud as a word.
            model.model.multi_modal_projector.linear.weight.mul_(2)
    return model


def make_lm(processor: Any, seed: int = 0) -> AudioLM:
    """The small model behind its adapter."""
    return wrap_model(make_model(processor, seed), processor, name="small")


def save_small(processor: Any, folder: Path, seed: int = 0) -> Path:
    """The small model as a folder."""
    make_model(processor, seed).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def save_corpus(questions: list[AudioQuestion], folder: Path) -> Path:
    """A corpus with the same questions in sft and rl, under different ids."""
    rl = [q.replace(id=f"rl-{q.id}") for q in questions if q.pass_rates and q.pass_rates[0].passes]
    write_corpus(folder, {"sft": questions, "rl": rl, "dev": []}, {}, card="A corpus for tests.")
    return folder


def chat(processor: Any, prompt: str) -> str:
    """The prompt as Qwen2-Audio's documentation renders it."""
    message = {"role": "user", "content": [{"type": "audio", "audio_url": "x"}, {"type": "text", "text": prompt}]}
    text: str = processor.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
    return text


def waveform(audio: AudioRef) -> np.ndarray:
    """Samples of a WAV, read without sari's loader."""
    import io

    import soundfile

    assert audio.data is not None
    return soundfile.read(io.BytesIO(audio.data), dtype="float32")[0]


def reference_logprobs(
    model: Any, processor: Any, audio: AudioRef, prompt: str, target: str, *, temperature: float = 1.0, shift: int = 0
) -> torch.Tensor:
    """Log-probabilities of target and end of turn, from transformers' own forward of one row in float64."""
    text = chat(processor, prompt)
    inputs = processor(
        text=text + target + "<|im_end|>", audio=[waveform(audio)], sampling_rate=16_000, return_tensors="pt"
    )
    count = len(processor.tokenizer(target + "<|im_end|>", add_special_tokens=False)["input_ids"])
    double = type(model)(model.config).double().eval()
    double.load_state_dict({k: v.double() for k, v in model.state_dict().items()})
    inputs["input_features"] = inputs["input_features"].double()
    with torch.no_grad():
        logits = double(**inputs).logits[0] / temperature
    ids = inputs["input_ids"][0]
    rows = logits.log_softmax(-1)[len(ids) - count - 1 + shift : len(ids) - 1 + shift]
    return rows.gather(-1, ids[-count:, None])[:, 0]


def window(lm: AudioLM) -> int:
    """Frames of the model's window."""
    return int(lm.model.config.audio_config.max_source_positions * 2)


def whole_window(lm: AudioLM, mel_MF: torch.Tensor) -> torch.Tensor:
    """Features padded to the model's window, as transformers wants them."""
    return torch.nn.functional.pad(mel_MF, (0, window(lm) - mel_MF.shape[1]))


def set_reward(monkeypatch: Any, name: str, reward: Any) -> None:
    """Let ``reward``, a function of a sample, be the reward of this name."""
    monkeypatch.setitem(REWARDS, name, lambda settings: reward)


def sampled(
    lm: AudioLM, questions: list[AudioQuestion], table: Grpo, step: int = 0, engine: RolloutEngine | None = None
) -> tuple[list[Experience], dict[str, float]]:
    """The experience and the metrics of one rollout over the questions as they come."""
    rewards = load_rewards(table.rewards, Settings(table.mode, table.thought_words))
    engine = engine or make_engine(lm, table)
    places = enumerate(range(len(questions)))
    groups = tuple(grpo.roll_out(lm, engine, questions, places, step, table, rewards))
    results = tuple(group.result for group in groups)
    samples = StepSamples(groups, results, results, questions)
    return grpo.compare(lm, samples, None, table)
