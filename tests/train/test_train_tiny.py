"""The embedded model: its architecture, how it is made, and what ships."""

from __future__ import annotations

import json
import random
import re
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from train_helpers import make_lm, whole_window, window

from sari_data.answers import follows_grammar
from sari_data.config import load_tables
from sari_data.errors import CheckpointError, InputError, RecipeError, SariError
from sari_data.prompting import render_prompt
from sari_data.responder import Request, Sampling
from sari_data.sources.scenes import Options, generate
from sari_data.types import AudioQuestion
from sari_train import tiny_base
from sari_train.models.load import TINY, load_model
from sari_train.models.tiny import TAGS, build_tiny
from sari_train.responder import LocalResponder
from sari_train.tiny_base import Tiny, evaluate, make_tiny
from sari_train.tiny_text import TextRow, draw_rows, skill_accuracy

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


def test_making_a_base_lowers_the_loss_and_saves_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = load_tables(
        None,
        {"tiny": Tiny},
        [
            f"tiny.out={tmp_path / 'base'}",
            "tiny.text_steps=4",
            "tiny.recital_steps=2",
            "tiny.text_rows=4",
            "tiny.rows_beside=2",
            "tiny.steps=12",
            "tiny.clips_per_step=4",
            "tiny.warmup_steps=2",
            "tiny.eval_every=12",
            "tiny.eval_questions=2",
            "tiny.scenes.questions={sound=6, music=6, speech=6}",
        ],
    )["tiny"]
    report = make_tiny(table)
    assert set(report["text_skills"]) > {"all", "repeat"}
    assert set(report["fresh_scenes"]) == {"all", "sound", "music", "speech"}
    assert json.loads((tmp_path / "base" / "recipe.json").read_text())["tiny"]["steps"] == 12
    lm = load_model(str(tmp_path / "base"))
    assert next(lm.model.parameters()).dtype == torch.float32
    again = make_tiny(table.model_copy(update={"init": str(tmp_path / "base"), "out": str(tmp_path / "more")}))
    assert again["parameters"] == report["parameters"]
    losses = [float(x) for x in re.findall(r"scenes 12/12\s+loss\s+([\d.]+)", capsys.readouterr().err)]
    assert losses[1] < losses[0] - 0.5, "going on must begin where the first run ended"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("tiny.scenes.questions={sound=3}", "clips_per_step is 32, but scenes.questions are only 3"),
        ("tiny.recital_steps=5000", "recital_steps"),
        ("tiny.warmup_steps=4000", "more than warmup_steps"),
        ("tiny.learning_rate=inf", "finite number"),
        ("tiny.out=''", "at least 1 character"),
    ],
)
def test_a_recipe_that_cannot_run_is_refused(change: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_tables(None, {"tiny": Tiny}, [change])


def test_a_folder_of_somebody_elses_is_left_alone_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_base, "generate", lambda *a, **k: pytest.fail("scenes were composed"))
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match="left alone"):
        make_tiny(Tiny(out=str(tmp_path)))
    with pytest.raises(SariError, match="nowhere"):
        make_tiny(Tiny(out=str(tmp_path / "new"), init="./nowhere"))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


class _Still:
    """An optimizer that leaves gradients and weights as they are."""

    param_groups: ClassVar[list[dict[str, float]]] = []

    def step(self) -> None:
        pass

    def zero_grad(self) -> None:
        pass


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_steps_gradient_is_that_of_the_mean_loss_per_token(
    processor: Any, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    """Against transformers' own loss in float64, one row at a time; however many micro-batches run at once."""
    monkeypatch.setattr(tiny_base, "workers", lambda lm: threads)
    lm = make_lm(processor)
    lm.model.double()
    scenes = [row for q in scene_questions[:3] for row in tiny_base._rows(lm, q)]
    texts = draw_rows(lm, random.Random(0), 4, recitals=0.25)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda weights, bound: torch.tensor(1.0))
    loss = tiny_base._step(lm, scenes, texts, [(_Still(), 1.0)], 1.0)  # type: ignore[list-item]
    got = {name: p.grad.clone() for name, p in lm.model.named_parameters() if p.grad is not None}
    lm.model.zero_grad()
    tokens = sum(len(row.completion) for row in scenes) + sum(row.tokens for row in texts)
    total = 0.0
    for row in [*scenes, *texts]:
        ids = row.ids if isinstance(row, TextRow) else (*row.prompt, *row.completion)
        spans = row.learned if isinstance(row, TextRow) else ((len(row.prompt), len(ids)),)
        labels = torch.full((1, len(ids)), -100)
        for begin, end in spans:
            labels[0, begin:end] = torch.tensor(ids[begin:end])
        audio = (
            {}
            if isinstance(row, TextRow)
            else {
                "input_features": whole_window(lm, row.clip.mel_MF)[None].double(),
                "feature_attention_mask": (torch.arange(window(lm)) < row.clip.frames)[None].long(),
            }
        )
        out = lm.model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), **audio)
        logits, targets = out.logits[0, :-1].double(), labels[0, 1:]
        part = torch.nn.functional.cross_entropy(logits, targets, reduction="sum", ignore_index=-100) / tokens
        part.backward()
        total += part.item()
    assert loss == pytest.approx(total, rel=1e-6)
    expected = {name: p.grad for name, p in lm.model.named_parameters() if p.grad is not None}
    assert got.keys() == expected.keys()
    error = (
        sum(((got[n] - expected[n]) ** 2).sum() for n in got) ** 0.5
        / sum((g**2).sum() for g in expected.values()) ** 0.5
    )
    assert error < 1e-5, "a lost row or a wrong count of tokens is off by more than 1e-2"


def test_a_gradient_that_is_not_finite_stops_the_run(processor: Any) -> None:
    lm = make_lm(processor)
    lm.model.get_output_embeddings().weight.data[0, 0] = float("nan")
    with pytest.raises(InputError, match="lower learning_rate"):
        tiny_base._step(lm, [], draw_rows(lm, random.Random(0), 2), [(_Still(), 1.0)], 1.0)  # type: ignore[list-item]


needs_asset = pytest.mark.skipif(not (TINY / "config.json").is_file(), reason="the embedded model is not in this tree")


@needs_asset
def test_the_embedded_model_is_that_of_the_recipe() -> None:
    made = json.loads((TINY / "recipe.json").read_text())["tiny"]
    assert made == load_tables("tiny", {"tiny": Tiny})["tiny"].model_dump(mode="json")


def test_the_recipe_is_the_default() -> None:
    assert load_tables("tiny", {"tiny": Tiny})["tiny"] == Tiny()


def test_fewer_questions_leave_the_ranges_of_events_alone() -> None:
    table = load_tables(None, {"tiny": Tiny}, ["tiny.scenes.questions={sound=50}"])["tiny"]
    assert table.scenes.events == Tiny().scenes.events


@needs_asset
def test_the_embedded_model_can_read() -> None:
    found = skill_accuracy(load_model("tiny"), 10, seed=77)
    assert found["all"] > 0.8
    assert found["repeat"] > 0.7


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
