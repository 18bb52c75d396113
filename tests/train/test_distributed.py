"""Two processes do what one does with twice the accumulation: side by side, and with the weights in shards."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import disagree, grpo_run, mean_of_means, served, several, sft_run, spread, trained
from rollout_server import Server
from train_helpers import make_lm

from sari_data.errors import InputError
from sari_data.types import AudioQuestion
from sari_train.config import Grpo, Lora, RolloutEngine, Sft
from sari_train.distributed import ALONE, Processes, _check_launcher, join
from sari_train.models.load import load_model
from sari_train.sharding import Sharded
from sari_train.zero import Zero

SHARDED = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}
ZERO = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sft_table(small_folder: Path, small_corpus: Path) -> Sft:
    # Five rows among two processes in micro-batches of two: an odd number of everything.
    return Sft(
        model=str(small_folder), corpus=str(small_corpus), out="unused", mode="direct", steps=3, batch_size=5,
        micro_batch=2, warmup_steps=1, learning_rate=1e-3, save_every=2, preflight=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def grpo_table(small_folder: Path, small_corpus: Path) -> Grpo:
    return Grpo(
        model=str(small_folder), corpus=str(small_corpus), out="unused", mode="direct", steps=2, prompts_per_step=3,
        group_size=4, micro_batch=4, warmup_steps=0, learning_rate=1e-3, max_new_tokens=8, preflight=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def runs(sft_table: Sft, grpo_table: Grpo, scene_questions: list[AudioQuestion]) -> dict[str, Any]:
    adapted = {"lora": Lora(rank=4), "beta": 0.1}
    grpo = {
        "two updates and a copy as reference": {"updates_per_rollout": 2, "beta": 0.1},
        "adapters": adapted,
        # The first of two prompts teaches nothing, so the first process has nothing to run.
        "an idle process": {"prompts_per_step": 2},
        "losses of whole sequences": {"loss": "gspo", "mask_truncated": True},
    }
    sft = {"all weights": {}, "layers run again": {"checkpointing": True, "freeze_audio": True}}
    return {
        **{name: (sft_run, (sft_table.model_copy(update=keys), scene_questions)) for name, keys in sft.items()},
        **{name: (grpo_run, (grpo_table.model_copy(update=keys), scene_questions)) for name, keys in grpo.items()},
    }


@pytest.fixture(scope="module")
def alone(runs: dict[str, Any]) -> dict[str, Any]:
    return several(ALONE, runs)


def assert_same_runs(one: Any, other: Any) -> None:
    """The same metrics and weights but for rounding."""
    assert len(one[0]) == len(other[0])
    for ours, theirs in zip(one[0], other[0], strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours:
            assert theirs[name] == pytest.approx(ours[name], rel=1e-6, abs=1e-6), name
    assert_close_weights(one[1], other[1])


def assert_close_weights(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    """Each weight but for a millionth of its norm, and a hundred-thousandth of a step (1e-3) in every number."""
    assert ours.keys() == theirs.keys()
    for name, weight in ours.items():
        # A key's bias adds one number to all of a query's scores: its gradient is 0, and Adam steps on the noise.
        if not name.endswith("k_proj.bias"):
            bound = 1e-6 * np.linalg.norm(weight) + 1e-8 * weight.size**0.5
            assert np.linalg.norm(theirs[name] - weight) <= bound, name


def test_two_processes_side_by_side(
    runs: dict[str, Any], alone: dict[str, Any], sft_table: Sft, scene_questions: list[AudioQuestion]
) -> None:
    wrong = {"wrong": (mean_of_means, (sft_table, scene_questions))}
    first, second = spread(several, runs | wrong)
    for name in runs:
        assert_same_runs(alone[name], first[name])
        assert first[name][0] == second[name][0], name
        for weight, other in zip(first[name][1].values(), second[name][1].values(), strict=True):
            assert np.array_equal(weight, other), name
    # The mean of the processes' means weighs the tokens of the process that has fewer more.
    with pytest.raises(AssertionError):
        assert_close_weights(alone["all weights"][1], first["wrong"][1])


def test_two_processes_with_the_weights_in_shards(
    runs: dict[str, Any], alone: dict[str, Any], grpo_table: Grpo, scene_questions: list[AudioQuestion],
    processor: Any, tmp_path: Path,
) -> None:  # fmt: skip
    """And the weights reach a rollout server whole."""
    with Server(make_lm(processor, seed=5)) as server:
        rollout = RolloutEngine(engine="vllm", url=server.url)
        asked = grpo_table.model_copy(update={"out": str(tmp_path / "run"), "rollout": rollout})
        first, second = spread(several, runs | {"served": (served, (asked, scene_questions[:3]))}, **SHARDED)
        again = served(ALONE, asked, scene_questions[:3])
        sent = server.lm.model.state_dict()
    for name in runs:
        assert_same_runs(alone[name], first[name])
        assert first[name][0] == second[name][0], name
    base = load_model(grpo_table.model).model.state_dict()
    assert all(torch.equal(sent[name], base[name]) for name in base)
    assert [*first["served"][:2], *second["served"], *first["served"][2:]] == again
    assert len(server.asked("/collective_rpc")) == 2  # once for two processes, once alone


def test_two_processes_under_deepspeed(runs: dict[str, Any], alone: dict[str, Any]) -> None:
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
    # On a CPU DeepSpeed compiles an operator the first time.
    first, second = spread(several, runs, patience=300, **ZERO)
    for name in runs:
        assert_same_runs(alone[name], first[name])
        assert first[name][0] == second[name][0], name


@pytest.mark.parametrize("environment", [{}, SHARDED, ZERO], ids=["side by side", "sharded", "deepspeed"])
def test_a_run_that_was_cut_goes_on(
    sft_table: Sft, grpo_table: Grpo, tmp_path: Path, environment: dict[str, str]
) -> None:
    """In two processes to the bit; and what they saved, one process can go on from."""
    if environment == ZERO:
        pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
    often = {"steps": 2, "save_every": 1, "keep": 2}
    adapters = {"lora": Lora(rank=2), "beta": 0.1}
    tables: list[Sft | Grpo] = [sft_table.model_copy(update={"out": str(tmp_path / "sft")} | often)]
    if environment:  # adapters and a curriculum too
        tables.append(grpo_table.model_copy(update={"out": str(tmp_path / "grpo")} | often | adapters))
    names = ("metrics.jsonl", "model.safetensors", "adapter_model.safetensors")

    def written() -> dict[str, bytes]:
        files = [Path(table.out) / name for table in tables for name in names]
        return {str(file): file.read_bytes() for file in files if file.is_file()}

    def cut() -> None:
        for table in tables:
            shutil.rmtree(Path(table.out) / "checkpoints" / "step-00000002")

    first, second = spread(several, {str(i): (trained, (table,)) for i, table in enumerate(tables)}, **environment)
    assert first == second
    undisturbed = written()
    assert len(undisturbed) == 2 * len(tables)
    cut()
    spread(several, {str(i): (trained, (table,)) for i, table in enumerate(tables)}, **environment)
    assert written() == undisturbed
    cut()
    for number, table in enumerate(tables):
        step, metrics = trained(ALONE, table)
        assert step == 2
        assert metrics == pytest.approx(first[str(number)][1], rel=1e-5, abs=1e-6)


def test_processes_that_run_other_things_say_so() -> None:
    found = spread(disagree)
    assert found[0] == found[1]
    assert "the processes must run the same recipe, but process 1 has r1 and process 0 r0" in found[0]


def test_without_a_launcher_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join() is ALONE
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert join("cpu") is ALONE
    assert not torch.distributed.is_initialized()


def test_every_item_is_somebodys() -> None:
    items = list(range(7))
    shares = [Processes(rank, 3, CPU).share(items) for rank in range(3)]
    assert sorted(i for share in shares for i in share) == items
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert ALONE.share(items) == items


@pytest.mark.parametrize(
    ("world", "change", "said"),
    [
        (Processes, {"batch_size": 1}, "batch_size is 1, which does not suffice for 2 processes"),
        (Sharded, {"optimizer": "muon"}, "optimizer muon needs every weight whole, but FSDP2 cuts them"),
        (Sharded, {"optimizer": "adamw_8bit"}, "optimizer adamw_8bit needs every weight whole"),
        (Sharded, {"lora": Lora(quantize="nf4")}, "weights in 4 or 8 bits cannot be cut by FSDP2"),
        (Zero, {"optimizer": "muon"}, "take adamw and whole weights"),
        (Zero, {"dtype": "bfloat16"}, "with DeepSpeed the weights must be float32; found dtype bfloat16"),
    ],
)
def test_recipes_that_several_processes_cannot_run(sft_table: Sft, world: Any, change: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        world(0, 2, CPU).check(sft_table.model_copy(update=change))
    ALONE.check(sft_table.model_copy(update=change))


def test_the_device_is_the_launchers() -> None:
    world = Processes(1, 2, CPU)
    assert (world.device("auto"), world.device("cpu")) == ("cpu", "cpu")
    with pytest.raises(InputError, match="device is 'cuda', but process 1 of 2 was given cpu: set it to auto"):
        world.device("cuda")
    assert ALONE.device("cuda") == "cuda"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (ZERO | {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}, "zero_stage to be 1 or 2, found 3"),
        (ZERO | {"ACCELERATE_DEEPSPEED_OFFLOAD_OPTIMIZER_DEVICE": "cpu"}, "offload_optimizer_device is not supported"),
        ({"ACCELERATE_MIXED_PRECISION": "bf16"}, "mixed_precision of the launcher must be 'no'"),
        ({"ACCELERATE_USE_FSDP": "true"}, "expected fsdp_version 2 .* found 1"),
        (SHARDED | {"FSDP_OFFLOAD_PARAMS": "true"}, "fsdp_offload_params is not supported: set it to false"),
        (SHARDED | {"FSDP_ACTIVATION_CHECKPOINTING": "true"}, "checkpointing in the recipe to true"),
    ],
)
def test_what_a_launcher_must_not_ask_for(environment: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        _check_launcher(environment)


def test_shipped_configs_are_accelerates_own(repository: Path) -> None:
    from accelerate.commands.config import load_config_from_file

    files = sorted((repository / "recipes" / "accelerate").glob("*.yaml"))
    assert {"ddp", "fsdp2", "deepspeed_zero2"} <= {file.stem for file in files}
    for file in files:
        config = load_config_from_file(str(file))
        assert config.mixed_precision == "no", file
        assert f"--config_file recipes/accelerate/{file.name}" in file.read_text(), file
        asked = {f"{key.upper()}": str(value).lower() for key, value in (config.fsdp_config or {}).items()}
        if config.distributed_type == "FSDP":
            _check_launcher({"ACCELERATE_USE_FSDP": "true", **asked})
        if config.distributed_type == "DEEPSPEED":
            stage = str(config.deepspeed_config["zero_stage"])
            _check_launcher({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": stage})
