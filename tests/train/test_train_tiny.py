"""The embedded model: its architecture, its text skills, how it is made, and what ships."""

from __future__ import annotations

import json
import random
import re
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sari_data.answers import follows_grammar
from sari_data.config import load_tables
from sari_data.prompting import render_prompt
from sari_data.responder import Request, Sampling
from sari_data.sources.scenes import Options, generate
from sari_train.models.load import TINY, load_model
from sari_train.models.tiny import TAGS, build_tiny
from sari_train.responder import LocalResponder
from sari_train.text_skills import draw
from sari_train.tiny_base import Tiny, evaluate, make_tiny

TEXTS = ["What is the first sound? bark, bell and rain are heard."] * 3


@lru_cache(maxsize=1)
def _small() -> tuple[Any, Any]:
    return build_tiny(TEXTS)


def test_weights_depend_on_the_seed_alone_and_leave_the_callers_random_state() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, _ = build_tiny(TEXTS, seed=3)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(8)
    second, _ = build_tiny(TEXTS, seed=3)
    other, _ = build_tiny(TEXTS, seed=4)
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_the_encoder_knows_time() -> None:
    """Its frozen positions are Whisper's sinusoids: row p holds sin and cos of p at falling frequencies."""
    model, _ = build_tiny(TEXTS)
    table = model.model.audio_tower.embed_positions.weight
    channels = table.shape[1] // 2
    expected = torch.sin(torch.arange(table.shape[0])[:, None] * 10_000 ** (-torch.arange(channels) / (channels - 1)))
    assert torch.allclose(table[:, :channels], expected, atol=1e-4)
    assert not torch.allclose(table[:, :channels], expected.roll(1, 0), atol=1e-2)


@given(st.text(max_size=60))
def test_any_text_survives_the_tokenizer(text: str) -> None:
    _, processor = _small()
    ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    if not any(token in text for token in (*TAGS, "<|")):
        assert processor.tokenizer.decode(ids) == unicodedata.normalize("NFC", text)


def test_tags_are_whole_tokens_that_decode() -> None:
    _, processor = _small()
    text = "<think><planning>bark</planning></think><answer>bell</answer>"
    ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert sum(processor.tokenizer.convert_ids_to_tokens(i) in TAGS for i in ids) == 6
    assert processor.tokenizer.decode(ids, skip_special_tokens=True) == text


def test_text_skills_are_true_and_hold_no_chain_of_thought() -> None:
    rng = random.Random(0)
    kinds = set()
    for _ in range(2000):
        prompt, target = draw(rng)
        kinds.add(prompt.split()[0] + prompt.split()[1])
        assert not any(tag in prompt + target for tag in TAGS)
        if found := re.fullmatch(r"What is (\d+) plus (\d+)\?", prompt):
            assert target.endswith(f"is {int(found[1]) + int(found[2])}.")
        elif found := re.fullmatch(r"What comes (after|before) (.+) in the list (.+)\?", prompt):
            items = found[3].split(", ")
            assert items[items.index(found[2]) + (1 if found[1] == "after" else -1)] + "." == target
        elif found := re.fullmatch(r"What is (first|last) in the list (.+)\?", prompt):
            assert found[2].split(", ")[0 if found[1] == "first" else -1] + "." == target
        elif found := re.fullmatch(r"Which of the options (.+) is in the list (.+)\?", prompt):
            assert set(found[1].split(", ")) & set(found[2].split(", ")) == {target.rstrip(".")}
        elif found := re.fullmatch(r"Repeat the list: (.+)", prompt):
            assert found[1] == target
        elif found := re.fullmatch(r"Compare (\d) with (\d)\.", prompt):
            assert ("more" in target) == (int(found[2]) > int(found[1]))
    assert len(kinds) >= 8


def test_making_a_base_lowers_the_loss_and_saves_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = load_tables(
        None,
        {"tiny": Tiny},
        [
            f"tiny.out={tmp_path / 'base'}",
            "tiny.steps=12",
            "tiny.clips_per_step=4",
            "tiny.warmup_steps=2",
            "tiny.eval_every=12",
            "tiny.eval_questions=2",
            "tiny.scenes.questions={sound=6, music=6, speech=6}",
        ],
    )["tiny"]
    report = make_tiny(table)
    assert set(report["fresh_scenes"]) == {"all", "sound", "music", "speech"}
    assert json.loads((tmp_path / "base" / "recipe.json").read_text())["tiny"]["steps"] == 12
    lm = load_model(str(tmp_path / "base"))
    assert next(lm.model.parameters()).dtype == torch.float32
    again = make_tiny(table.model_copy(update={"init": str(tmp_path / "base"), "out": str(tmp_path / "more")}))
    assert again["parameters"] == report["parameters"]
    losses = [float(x) for x in re.findall(r"step 12/12\s+loss\s+([\d.]+)", capsys.readouterr().err)]
    assert losses[1] < losses[0] - 0.5, "going on must begin where the first run ended"


needs_asset = pytest.mark.skipif(not (TINY / "config.json").is_file(), reason="the embedded model is not in this tree")


@needs_asset
def test_the_embedded_model_is_small_and_opens_in_plain_transformers() -> None:
    from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

    assert sum(f.stat().st_size for f in TINY.glob("*.safetensors")) <= 4 * 2**20
    model = Qwen2AudioForConditionalGeneration.from_pretrained(TINY)
    assert sum(p.numel() for p in model.parameters()) < 1.5e6
    assert type(AutoProcessor.from_pretrained(TINY)).__name__ == "Qwen2AudioProcessor"


@needs_asset
def test_the_embedded_model_hears_but_has_never_seen_a_chain() -> None:
    scenes = list(generate(Options(questions={"sound": 22, "music": 20, "speech": 30}), seed=31_415))
    lm = load_model("tiny")
    found = evaluate(lm, scenes)["all"]
    assert found["caption"] > 0.75, "captions must be right in all their events; a guess is right about never"
    assert found["answer"] > 0.45, "a guess among the options is right 27 % of the time"
    responder = LocalResponder(lm)
    asked = [Request(q.id, q.audio, render_prompt(q, "structured")) for q in scenes]
    texts = [r.text for r in responder.respond(asked, Sampling(max_new_tokens=100))]
    assert not any(follows_grammar(text, "structured") for text in texts)
