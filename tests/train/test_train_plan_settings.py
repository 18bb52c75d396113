"""The memory planner and what a recipe may set: SFT, long audio, 8-bit states, packed weights, servers, processes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from plan_models import Counter, encoded_prompts, family_lm, some_ids
from test_train_plan_models import ATTENTION, WORKING, load_of, table_of

from sari_data.errors import InputError
from sari_data.types import AudioQuestion
from sari_train import distributed
from sari_train.batch import Example, encode_example
from sari_train.config import Lora, Sft
from sari_train.models.base import AudioLM
from sari_train.optim import make_optimizer, take_step
from sari_train.plan import Division, Load, Phase, plan_phases
from sari_train.plan_inputs import make_loads, read_lengths
from sari_train.plan_learning import micro_batches
from sari_train.plan_model import adamw_8bit_bytes, meta_model, read_sizes, stored_bytes
from sari_train.plan_report import check_division, make_plan
from sari_train.plan_sizes import Sizes
from sari_train.rollouts.transfer import checkpoint_tensors
from sari_train.sft import accumulate

Run = Callable[..., tuple[int, str, str]]
LOAD = Load(prompt=200, audio=37, frames=150, completion=24)


def sizes_of(**settings: Any) -> Sizes:
    """The embedded model's."""
    table = table_of(**settings)
    return read_sizes(meta_model("tiny", table), table, cpu=False)


def planned(sizes: Sizes, load: Load = LOAD, *, division: Division | None = None, **settings: Any) -> dict[str, Phase]:
    """The phases of a step by name."""
    given = {} if division is None else {"division": division}
    return {phase.name: phase for phase in plan_phases(sizes, table_of(**settings), load, **given)}


def working(phase: Phase) -> int:
    """What a phase makes itself."""
    return sum(phase.parts[part] for part in WORKING)


# -- SFT --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [{}, {"lora": Lora(target_modules=ATTENTION)}, {"checkpointing": True}, {"mixed_precision": "bf16"}],
    ids=["whole", "adapters", "checkpointing", "mixed"],
)
@pytest.mark.parametrize("family", ["audio-flamingo-3", "qwen3-omni"])
def test_a_step_of_sft_takes_what_was_predicted(family: str, settings: dict[str, Any]) -> None:
    table = Sft.model_validate({"batch_size": 6, "micro_batch": 3, "device": "cpu", **settings})
    lm = family_lm(family, table)
    sizes = read_sizes(lm, table, cpu=True)
    encoded = encoded_prompts(lm, 6, 2.9)
    load = load_of(lm, encoded, completion=30)
    rows = [replace(e, completion=some_ids(at, 30)) for at, e in enumerate(encoded)]
    optimizer = make_optimizer(lm, table)
    counter = Counter()
    for _ in range(2):
        counter.call("policy", accumulate, lm, rows, table)
        take_step(lm, optimizer, table, 0)
    phases = {phase.name: phase for phase in plan_phases(sizes, table, load)}
    assert list(phases) == ["policy", "optimizer"]
    assert 0.97 * counter.highest["policy"] < working(phases["policy"]) < 1.06 * counter.highest["policy"]


def test_the_longest_target_is_the_completion(
    small_folder: Path, small_corpus: Path, small_lm: AudioLM, scene_questions: list[AudioQuestion]
) -> None:
    table = Sft.model_validate({"model": str(small_folder), "corpus": str(small_corpus), "mode": "direct"})
    found = read_lengths(meta_model(table.model, table), table)
    from sari_data.prompting import render_prompt, render_target

    real = [Example(q.audio, render_prompt(q, "direct"), render_target(q, "direct")) for q in scene_questions]
    assert found.longest.completion == max(len(encode_example(small_lm, e).completion) for e in real)


# -- long audio -------------------------------------------------------------------------------------------------------


def test_clips_of_several_spans() -> None:
    table = table_of(long_audio="split")
    lm = family_lm("qwen2.5-omni", table)
    encoded = encoded_prompts(lm, 2, 7.5)
    real = load_of(lm, encoded)
    assert len(real.spans) == 3
    longest, _ = make_loads(lm, table, [(real.prompt - real.audio, 7.5)], clips=2, corpus=0)
    assert (longest.prompt, longest.audio, longest.spans) == (real.prompt, real.audio, real.spans)
    # What the tower saves of them, spans of unlike length together.
    sizes = read_sizes(lm, table, cpu=True)
    counter = Counter()
    kept = counter.call("audio", lambda: torch.cat(lm.audio_embeddings([e.clip for e in encoded])))
    assert kept.requires_grad
    predicted = sizes.audio_saved(2, real.heard, real.audio, mixed=False)
    embeddings = 2 * real.audio * sizes.hidden * 4
    assert predicted + embeddings == pytest.approx(counter.left["audio"], rel=0.02)
    one = sizes.audio_saved(2, real.frames, real.audio, mixed=False)
    assert one < 0.5 * predicted
    cut = make_loads(lm, table, [(60, 3.0)], clips=2, corpus=0)[0]
    lm.long_audio = "truncate"
    assert make_loads(lm, table, [(60, 7.5)], clips=2, corpus=0)[0].spans == cut.spans
    lm.long_audio = "error"
    with pytest.raises(InputError, match="set long_audio to split or truncate"):
        make_loads(lm, table, [(60, 7.5)], clips=2, corpus=0)


# -- optimizers, packed weights, the reference ------------------------------------------------------------------------


def test_states_in_8_bits() -> None:
    # Two states of a byte with a scale for every 256, two tables of 256; small weights have states in float32.
    assert adamw_8bit_bytes([1_000_000]) == 2 * (1_000_000 + 4 * 3907) + 2 * 256 * 4
    assert adamw_8bit_bytes([4095]) == 2 * 4 * 4095 + 2 * 256 * 4
    assert sizes_of(optimizer="adamw_8bit").optimizer < 0.3 * sizes_of().optimizer


def test_weights_in_4_and_8_bits() -> None:
    weight = torch.empty(512, 256, device="meta")
    # Half a byte each, a byte for every 64, a number for every 256 of those, and two tables.
    assert stored_bytes(weight, "nf4") == 65_536 + 2048 + 4 * (8 + 272)
    assert stored_bytes(weight, "int8") == 131_072 + 4 * 512
    packed = torch.empty(65_536, 1, dtype=torch.uint8, device="meta")
    assert stored_bytes(packed, "nf4") == stored_bytes(weight, "nf4")
    plain = sizes_of(lora=Lora())
    for kind, share in (("int8", 0.27), ("nf4", 0.16)):
        found = sizes_of(lora=Lora(quantize=kind))
        others = {name: size for name, size in plain.weights.items() if name != "layers"}
        assert {name: found.weights[name] for name in others} == others
        base = plain.weights["layers"] - plain.trained["layers"]
        assert found.weights["layers"] - found.trained["layers"] < share * base
        assert found.unpacked > 0 == plain.unpacked
        assert found.mlp_saved(10) >= plain.mlp_saved(10)


def test_an_offloaded_reference_is_there_only_while_it_runs() -> None:
    sizes = sizes_of()
    weights = sum(sizes.weights.values())
    for settings, there in (({}, True), ({"reference_offload": True}, False)):
        phases = planned(sizes, beta=0.1, **settings)
        assert phases["reference"].parts["reference"] == weights
        assert phases["policy"].parts["reference"] == (weights if there else 0)
    on_cpu = planned(replace(sizes, cpu=True), beta=0.1, reference_offload=True)
    assert on_cpu["policy"].parts["reference"] == weights


def test_a_penalty_in_the_reward_is_measured_a_group_at_a_time() -> None:
    sizes = sizes_of()
    settings = {"beta": 0.1, "prompts_per_step": 4, "group_size": 4, "micro_batch": 16}
    loss, reward = (planned(sizes, kl_in=where, **settings)["reference"] for where in ("loss", "reward"))
    alone = planned(sizes, kl_in="loss", **(settings | {"micro_batch": 4}))["reference"]
    assert reward.parts["text"] == alone.parts["text"] < loss.parts["text"]


def test_losses_of_whole_sequences_run_the_head_apart() -> None:
    sizes = sizes_of()
    both = [planned(sizes, loss="gspo", updates_per_rollout=n)["policy"].parts for n in (1, 2)]
    assert both[0] == planned(sizes, loss="grpo", updates_per_rollout=2)["policy"].parts
    completion = 6 * 24
    forward, backward = sizes.head_apart(completion)
    assert forward == sizes.head_scan(completion, with_entropy=True, with_jacobian=False)
    assert backward > sizes.head_handed(completion)


# -- servers and processes --------------------------------------------------------------------------------------------


def test_a_server_samples_elsewhere() -> None:
    phases = planned(sizes_of(), rollout={"engine": "vllm"})
    assert list(phases) == ["sending", "policy", "optimizer"]
    assert not any(phase.parts["cache"] + phase.parts["decoder"] for phase in phases.values())


@pytest.mark.parametrize("family", ["qwen2.5-omni", "qwen3-omni"])
def test_weights_on_their_way_take_no_more_than_predicted(family: str) -> None:
    table = table_of(lora=Lora(target_modules=ATTENTION))
    lm = family_lm(family, table)
    sizes = read_sizes(lm, table, cpu=False)
    counter = Counter()

    def send() -> None:
        for _name, _tensor in checkpoint_tensors(lm):
            pass

    counter.call("sending", send)
    predicted = planned(sizes, rollout={"engine": "vllm"})["sending"].parts["sent"]
    assert 0 < counter.highest["sending"] <= 1.02 * predicted
    if family == "qwen2.5-omni":  # the last merged weight is there until the next is
        assert predicted < 2.1 * counter.highest["sending"]


def test_whole_weights_in_each_of_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, two = sizes_of(), Division(2)
    settings = {"prompts_per_step": 4, "group_size": 4, "micro_batch": 4096, "max_new_tokens": 24}
    alone, shared = planned(sizes, **settings), planned(sizes, division=two, **settings)
    assert shared["policy"].parts["weights"] == alone["policy"].parts["weights"]
    half = planned(sizes, **(settings | {"prompts_per_step": 2}))
    assert shared["policy"].parts == half["policy"].parts
    assert shared["decoding"].parts == half["decoding"].parts
    assert micro_batches(table_of(**settings), 1, two)[0][0].rows == 8
    # The buckets in which gradients are added up, the last of which is there until the next one is.
    monkeypatch.setattr("torch.distributed.all_reduce", lambda tensor: None)
    monkeypatch.setattr(distributed, "BUCKET_BYTES", 2**18)
    monkeypatch.setattr("sari_train.plan_learning.BUCKET_BYTES", 2**18)
    table = table_of()
    lm = family_lm("qwen2.5-omni", table)
    for weight in lm.model.parameters():
        weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
    counter = Counter()
    counter.call("sum", distributed.Processes(0, 2, torch.device("cpu")).sum_gradients, lm)
    sizes = read_sizes(lm, table, cpu=True)
    gradients = sum(sizes.trained.values())
    extra = planned(sizes, division=two)["optimizer"].parts["gradients"] - gradients
    assert counter.highest["sum"] <= extra < 3 * counter.highest["sum"]


def test_weights_in_shards() -> None:
    sizes, four = sizes_of(), Division(4, sharded=True)
    settings = {"prompts_per_step": 8, "group_size": 4}
    alone, shared = planned(sizes, **settings), planned(sizes, division=four, **settings)
    everything = sum(sizes.weights.values())
    for name, phase in shared.items():
        assert phase.parts["weights"] == -(-everything // 4)
        assert phase.parts["optimizer"] == -(-alone[name].parts["optimizer"] // 4)
    assert shared["decoding"].parts["gathered"] == everything
    gathered = shared["policy"].parts["gathered"]
    assert everything - sizes.weights["layers"] < gathered < everything
    assert shared["optimizer"].parts["gradients"] == -(-sum(sizes.trained.values()) // 4)
    evaluated = planned(sizes, division=four, eval_every=1)["evaluation"]
    assert evaluated.parts["gathered"] == everything
    penalised = planned(sizes_of(lora=Lora()), division=four, beta=0.1, lora=Lora())["reference"]
    assert penalised.parts["gathered"] > 0


@pytest.mark.parametrize(
    ("division", "settings", "message"),
    [
        (Division(0), {}, "--processes must be 1 or more"),
        (Division(1, sharded=True), {}, "--sharded needs --processes of 2 or more"),
        (Division(3), {}, "does not suffice for 3 processes"),
        (Division(2, sharded=True), {"optimizer": "muon"}, "set optimizer to adamw"),
        (Division(2, sharded=True), {"lora": Lora(quantize="nf4")}, "leave out lora.quantize"),
    ],
)
def test_processes_that_cannot_run_the_recipe(division: Division, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_division(table_of(**settings), division)


# -- the command ------------------------------------------------------------------------------------------------------


def test_a_plan_of_sft_among_processes(empty_folder: Path, run_command: Run) -> None:
    arguments = ["plan", "--for", "sft", "--processes", "2", "--device", "cuda", "--memory", "80"]
    arguments += ["--set", "sft.optimizer=adamw"]
    code, out, err = run_command("sari-train", *arguments, "--sharded", "--json")
    assert code == 0, err
    body = json.loads(out)
    assert (body["for"], body["processes"], body["sharded"]) == ("sft", 2, True)
    assert list(body["phases"]) == ["policy", "optimizer"]
    assert body["assumed"]["batch_size"] == 32
    assert body["largest"]["group_size"] is None
    assert body["searched_up_to"]["micro_batch"] == 16
    assert "shards" in body["upper_bounds"][0]
    code, out, err = run_command("sari-train", *arguments)
    assert code == 0, err
    assert "in each process" in " ".join(out.split())
    assert "group" not in out
    assert "SFT from tiny on cuda, 2 processes" in " ".join(err.split())


@pytest.mark.parametrize("family", ["qwen2.5-omni", "qwen3-omni"])
def test_a_saved_folder_is_planned_from_its_config(family: str, tmp_path: Path) -> None:
    lm = family_lm(family, table_of())
    lm.model.config.architectures = [type(lm.model).__name__]
    lm.model.config.save_pretrained(tmp_path)
    lm.processor.save_pretrained(tmp_path)
    plan = partial(make_plan, device="cuda", memory_gib=80, clip_seconds=2.9, prompt_tokens=60)
    found = plan(table_of(model=str(tmp_path)), Sft.model_validate({}))
    assert sum(found.sizes.weights.values()) == sum(p.numel() * 4 for p in lm.model.parameters())
    assert found.sizes.weights["other"] > 0
    assert found.sizes.trained["other"] == 0
    assert found.fits
