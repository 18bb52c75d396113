"""Runs that are killed (SIGKILL) while they train or save, and resumed: they end as if nothing had happened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sari_train.models.load import load_model
from sari_train.run_folder import list_checkpoints
from sari_train.state_io import read_state

HERE = Path(__file__).resolve().parent
NAMED, PLACED = "os.rename checkpoints/.step-0000000{}.partial$", "os.rename .publishing/{}"
BOTH = {"mode": "direct", "warmup_steps": 1, "steps": 4, "save_every": 2, "preflight": False}
SFT = {**BOTH, "batch_size": 2}
LORA = {**SFT, "lora": {"rank": 2}, "optimizer": "muon"}
GRPO = {
    **BOTH, "prompts_per_step": 2, "group_size": 3, "max_new_tokens": 6, "beta": 0.05, "on_trouble": "go_on",
    "curriculum": "adaptive", "dynamic_sampling": 1, "log_completions": 1,
}  # fmt: skip
# The runs: kind, table, and before what each process is killed (see killed_runs.py); one more goes to the end.
RUNS: dict[str, tuple[str, dict[str, Any], list[tuple[str, int]]]] = {
    "sft": ("sft", SFT, []),
    "sft, killed up to its first checkpoint": (
        "sft",
        SFT,
        [
            ("os.rename checkpoints/.run.json", 1),  # the folder is not its own yet
            ("open metrics.jsonl", 2),  # a step that was taken is not logged
            ("open .*partial/training/state.json", 1),  # half a checkpoint
            ("os.mkdir .publishing", 1),  # a checkpoint that is not published
            ("os.link", 1),  # the next process publishes it, and is killed meanwhile
            (PLACED.format("manifest.json"), 1),  # published, but not marked as whole
        ],
    ),
    "sft, killed between its checkpoints": (
        "sft",
        SFT,
        [
            (NAMED.format(2), 1),  # a checkpoint that lacks its name
            ("open metrics.jsonl", 4),  # logged steps that no checkpoint has
            (NAMED.format(4), 1),
            (PLACED.format("model.safetensors"), 1),  # between two models
            (PLACED.format("tokenizer.json"), 1),
        ],
    ),
    "sft, killed at its end": (
        "sft",
        SFT,
        [
            ("os.rename checkpoints/step-00000002", 1),  # an old checkpoint that is to go
            ("os.remove state.json", 1),  # half of it is gone
        ],
    ),
    "lora": ("sft", LORA, []),
    "lora, killed": ("sft", LORA, [("open metrics.jsonl", 4), (PLACED.format("adapter_model.safetensors"), 1)]),
    "grpo": ("grpo", GRPO, []),
    "grpo, killed": ("grpo", GRPO, [("open metrics.jsonl", 4), (PLACED.format("model.safetensors"), 1)]),
}


@pytest.fixture(scope="module")
def ends(
    small_folder: Path, small_corpus: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, list[str]]]:
    """The folder that holds all runs, and how the processes of each ended."""
    place = tmp_path_factory.mktemp("runs")
    data = {"model": str(small_folder), "corpus": str(small_corpus)}
    runs = [
        {"kind": kind, "table": {**table, **data, "out": str(place / name)}, "points": points}
        for name, (kind, table, points) in RUNS.items()
    ]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, str(HERE / "killed_runs.py"), json.dumps(runs)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    print(done.stderr)  # a process that failed says why; pytest shows it
    return place, dict(zip(RUNS, json.loads(done.stdout), strict=True))


def recorded(out: Path) -> dict[str, bytes]:
    """All that follows from recipe, data and weights: the metrics, and the completions that were kept."""
    files = [out / "metrics.jsonl", *sorted((out / "completions").rglob("*.*"))]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def same(a: Any, b: Any) -> bool:
    """Whether two states are equal to the bit."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.mark.parametrize("name", [name for name in RUNS if "killed" in name])
def test_a_killed_run_ends_as_one_that_was_not(ends: tuple[Path, dict[str, list[str]]], name: str) -> None:
    place, found = ends
    _, table, points = RUNS[name]
    straight = name.partition(",")[0]
    assert found[straight] == ["done"]
    assert found[name] == ["killed"] * len(points) + ["done"]
    whole, out = place / straight, place / name
    assert recorded(out) == recorded(whole)
    file = "adapter_model.safetensors" if "lora" in table else "model.safetensors"
    assert same(load_file(out / file), load_file(whole / file))
    states = [read_state(list_checkpoints(folder)[-1].path / "training") for folder in (out, whole)]
    assert states[0]["step"] == 4
    assert same(*states)
    names = [{p.relative_to(folder).as_posix() for p in folder.rglob("*")} for folder in (out, whole)]
    assert names[0] == names[1], "something is left over, or something is missing"
    load_model(str(out))


def test_the_runs_learn_something(ends: tuple[Path, dict[str, list[str]]], small_folder: Path) -> None:
    """Runs that change nothing would be equal whatever a resumed one forgot."""
    place, _ = ends
    for name in ("sft", "grpo"):
        assert not same(load_file(place / name / "model.safetensors"), load_file(small_folder / "model.safetensors"))
    weights = load_file(place / "lora" / "adapter_model.safetensors")
    assert any(bool(weight.any()) for key, weight in weights.items() if "lora_B" in key)
