"""Preflight as it is run: nothing is left changed, a training after it is the same, the command and its table."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from train_helpers import make_lm

from sari_data.errors import InputError
from sari_data.types import AudioQuestion
from sari_train.config import Grpo, Lora, Sft, Training
from sari_train.lora import add_lora
from sari_train.models.base import AudioLM
from sari_train.models.clips import BoundedCache
from sari_train.optim import make_optimizer
from sari_train.preflight import CHECKS, examine, run_preflight, show
from sari_train.progress import read_metrics
from sari_train.rewards import Reward, Sample, Settings, load_rewards
from sari_train.sft import read_chains, train_sft

Run = Callable[..., tuple[int, str, str]]


def own_rewards() -> dict[str, Reward]:
    return load_rewards(["accuracy", "format"], Settings("direct"))


def sft(**changes: Any) -> Sft:
    return Sft(**({"corpus": "none", "mode": "direct", "max_new_tokens": 24} | changes))


def state_of(lm: AudioLM) -> dict[str, Any]:
    """Everything of a model and of the process that a training reads."""
    caches = {k: dict(v._items) for k, v in vars(lm).items() if isinstance(v, BoundedCache)}
    return {
        "weights": {k: v.detach().clone() for k, v in lm.model.state_dict().items()},
        "places": [p.data_ptr() for p in lm.model.parameters()],
        "gradients": [None if p.grad is None else p.grad.clone() for p in lm.model.parameters()],
        "trains": [p.requires_grad for p in lm.model.parameters()],
        "caches": {name: list(items) for name, items in caches.items()},
        "prompts": dict(lm.prompt_ids),
        "torch": torch.get_rng_state(),
        "numpy": [str(part) for part in np.random.get_state()],
        "python": random.getstate(),
        "training": lm.model.training,
    }


def assert_same(before: Any, after: Any) -> None:
    if isinstance(before, dict):
        assert before.keys() == after.keys()
        for key, value in before.items():
            assert_same(value, after[key])
    elif isinstance(before, list):
        assert len(before) == len(after)
        for a, b in zip(before, after, strict=True):
            assert_same(a, b)
    elif isinstance(before, torch.Tensor):
        assert torch.equal(before, after)
    else:
        assert before == after


# -- nothing is left changed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "table", [sft(), Grpo(corpus="none", mode="direct"), sft(lora=Lora(rank=2), freeze_audio=True)]
)
def test_everything_is_as_it_was(processor: Any, scene_questions: list[AudioQuestion], table: Training) -> None:
    lm = make_lm(processor)
    if table.freeze_audio:
        lm.freeze_audio()
    if table.lora is not None:
        add_lora(lm, table.lora, seed=0)
    lm.clip(scene_questions[3].audio)  # a cache with something in it
    next(p for p in lm.model.parameters() if p.requires_grad).grad = None
    for p in lm.model.parameters():
        if p.requires_grad and p.dim() == 1:
            p.grad = torch.ones_like(p)  # gradients that somebody has gathered
    before = state_of(lm)

    def noisy(sample: Sample) -> float:
        return own_rewards()["accuracy"](sample) + 0 * (random.random() + np.random.rand() + torch.rand(1).item())

    report = examine(lm, table, scene_questions, rewards={**own_rewards(), "accuracy": noisy})
    assert (report["step"].level, report["rewards"].level) == ("ok", "ok")
    assert_same(before, state_of(lm))


def test_a_check_that_raises_in_the_middle_of_a_step_leaves_the_weights(
    processor: Any, scene_questions: list[AudioQuestion], monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = make_lm(processor)
    before = state_of(lm)
    monkeypatch.setattr("sari_train.checks.learning.make_optimizer", lambda *given: 1 / 0)
    report = examine(lm, sft(), scene_questions, only=["step"])
    assert (report["step"].level, report["step"].found) == ("fail", "ZeroDivisionError: division by zero")
    assert_same(before, state_of(lm))


def test_a_training_after_it_is_the_same_to_the_bit(
    small_folder: Path, small_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(name: str) -> tuple[list[dict[str, float]], bytes]:
        table = sft(model=str(small_folder), corpus=str(small_corpus), out=str(tmp_path / name), steps=3, batch_size=4,
                    warmup_steps=0, preflight=False)  # fmt: skip
        train_sft(table)
        return read_metrics(table.out), Path(table.out, "model.safetensors").read_bytes()

    without = train("without")
    reports = []

    def checked(lm: AudioLM, table: Training) -> torch.optim.Optimizer:
        optimizer = make_optimizer(lm, table)
        reports.append(run_preflight(lm, table, read_chains(table)))
        return optimizer

    with monkeypatch.context() as patch:
        patch.setattr("sari_train.run.make_optimizer", checked)
        with_it = train("with")
    assert [report.passed for report in reports] == [True]
    assert with_it == without
    assert len({row["loss"] for row in without[0]}) == 3


# -- what it says ---------------------------------------------------------------------------------------------------


def test_a_failure_stops_the_training_with_the_table_and_one_sentence(
    small_lm: AudioLM, scene_questions: list[AudioQuestion], capfd: pytest.CaptureFixture[str]
) -> None:
    table = Grpo(corpus="none", mode="direct", max_new_tokens=2)
    with pytest.raises(InputError) as raised:
        run_preflight(small_lm, table, scene_questions, rewards={**own_rewards(), "accuracy": lambda sample: 1.0})
    said = str(raised.value)
    assert said.startswith(
        f"preflight: 2 of {len(CHECKS)} checks found a problem (rewards, lengths; the first: expected"
    )
    assert said.endswith("set grpo.preflight = false to train without these checks")
    assert "\n" not in said
    shown = capfd.readouterr().err
    assert [line.split()[1] for line in shown.splitlines()[1:] if line[0] != " "] == [name for name, _, _ in CHECKS]
    assert "do: set grpo.max_new_tokens to" in shown


def test_a_pass_is_one_line_and_the_warnings(
    small_lm: AudioLM, scene_questions: list[AudioQuestion], capfd: pytest.CaptureFixture[str]
) -> None:
    report = run_preflight(small_lm, Grpo(corpus="none", mode="direct"), scene_questions)
    lines = capfd.readouterr().err.splitlines()
    assert report.passed
    assert lines[0].startswith("preflight for grpo of small: 15 ok, 1 warning, 1 skipped")
    assert lines[1].startswith("preflight: lessons: expected less than 10%")
    assert len(lines) == 2
    run_preflight(small_lm, Grpo(corpus="none", mode="direct"), scene_questions, shown=False)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_gets_ticks(small_lm: AudioLM, scene_questions: list[AudioQuestion]) -> None:
    table = Grpo(corpus="none", mode="direct", max_new_tokens=2)
    report = examine(small_lm, table, scene_questions, only=["questions", "splits", "lessons", "lengths"])
    console = Console(force_terminal=True, width=100, record=True, color_system=None)
    with console.capture() as capture:
        show(report, console)
    text = capture.get()
    assert [line.split()[0] for line in text.splitlines() if line.split()[0] in ("✓", "-", "!", "✗")] == [
        "✓",
        "-",
        "!",
        "✗",
    ]
    assert "expected: room for the longest target" in text


# -- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(small_folder: Path, small_corpus: Path) -> list[str]:
    values = [f"sft.model={small_folder}", *(f"{kind}.corpus={small_corpus}" for kind in ("sft", "grpo")),
              "sft.mode=direct", "grpo.mode=direct"]  # fmt: skip
    return [part for value in values for part in ("--set", value)]


def test_the_command_checks_both_trainings(empty_folder: Path, run_command: Run, settings: list[str]) -> None:
    code, out, err = run_command("sari-train", "preflight", *settings, "--json")
    assert code == 0, out + err
    body = json.loads(out)
    assert body["passed"] is True
    assert [report["for"] for report in body["reports"]] == ["sft", "grpo"]
    assert [check["name"] for check in body["reports"][0]["checks"]] == [name for name, _, _ in CHECKS]
    assert "there is no model in checkpoints/sft yet" in err
    assert not Path("checkpoints").exists()


def test_the_command_ends_with_1_where_a_check_fails(empty_folder: Path, run_command: Run, settings: list[str]) -> None:
    code, out, _ = run_command("sari-train", "preflight", *settings, "--for", "grpo", "--set", "grpo.max_new_tokens=2")
    assert code == 1
    assert out.startswith("preflight for grpo of small")
    assert "fail    lengths" in out
    assert "Traceback" not in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--for", "dpo"], "dpo"),
        (["--set", "sft.corpus=nowhere", "--for", "sft"], "nowhere"),
        (["--set", "sft.model=./nothing", "--for", "sft"], "./nothing"),
    ],
)
def test_wrong_input_to_the_command(
    empty_folder: Path, run_command: Run, settings: list[str], arguments: list[str], said: str
) -> None:
    code, out, err = run_command("sari-train", "preflight", *settings, *arguments)
    assert (code, out) == (2, "")
    assert said in err
