"""GRPO from its first step to its last with a server that samples, which has a copy of the weights of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rollout_server import Server
from train_helpers import make_lm, set_reward

from sari_train.config import Grpo, RolloutEngine
from sari_train.grpo import train_grpo
from sari_train.models.load import load_model
from sari_train.progress import read_metrics


@pytest.fixture
def server(processor: Any) -> Iterator[Server]:
    """It starts from other weights than the run."""
    with Server(make_lm(processor, seed=5)) as running:
        yield running


@pytest.mark.parametrize("loss", ["grpo", "gspo"])
def test_a_run_with_a_server_samples_from_the_weights_that_learn(
    small_folder: Path, small_corpus: Path, tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    set_reward(monkeypatch, "accuracy", lambda sample: min(1.0, sample.text.count("e") / 20))
    table = Grpo(
        model=str(small_folder), corpus=str(small_corpus), out=str(tmp_path / "out"), mode="direct", steps=3,
        prompts_per_step=2, group_size=3, max_new_tokens=8, warmup_steps=0, learning_rate=1e-2, curriculum="random",
        preflight=False, on_trouble="go_on", loss=loss, updates_per_rollout=2, device="cpu",
        rollout=RolloutEngine(engine="vllm", url=server.url, timeout=20.0),
    )  # fmt: skip
    outcome = train_grpo(table)
    rows = read_metrics(outcome.out)
    assert [row["step"] for row in rows] == [1, 2, 3]
    # The server's numbers are the trainer's but for rounding, in the last step as in the first: it has its weights.
    assert all(row["sampler_gap"] < 1e-4 for row in rows if "sampler_gap" in row)
    assert all(row["correction_weight"] == pytest.approx(1, abs=1e-3) for row in rows if "correction_weight" in row)
    assert sum("correction_weight" in row for row in rows) >= 2
    before, after = (load_model(str(folder), device="cpu").model.state_dict() for folder in (small_folder, outcome.out))
    # What the server holds is what the last step began with: neither the start nor the end.
    held = server.lm.model.state_dict()
    assert held.keys() == before.keys()
    for other in (before, after):
        assert max((held[name] - other[name]).abs().max().item() for name in held) > 1e-3
