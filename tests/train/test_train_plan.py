"""The memory planner against the real thing: weights, gradients, optimizer, saved tensors, and every phase's peak."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plan_models import saved_by
from train_helpers import make_clip, sampled

from sari_data.errors import InputError, SariError
from sari_data.prompting import render_prompt
from sari_data.responder import Sampling
from sari_data.types import AudioQuestion
from sari_train import distributed, policy, rollout
from sari_train.batch import Example, collate, encode_example
from sari_train.config import Grpo, Lora, Sft
from sari_train.logprobs import completion_hidden, completion_logprobs
from sari_train.lora import add_lora
from sari_train.models.base import AudioLM
from sari_train.models.load import DTYPES, load_model, wrap_model
from sari_train.optim import make_optimizer
from sari_train.plan import Load, micro_batches, peak, plan_phases
from sari_train.plan_inputs import container_limit, find_memory, read_lengths
from sari_train.plan_model import meta_model, read_sizes
from sari_train.plan_report import MOST_SAMPLES, Plan, largest, make_plan, verdict
from sari_train.plan_sizes import Sizes
from sari_train.rollouts.engine import LocalEngine

Run = Callable[..., tuple[int, str, str]]
# Of what is saved: the indices and sums of single tokens, which the formulas leave out.
TOLERANCE = 0.005
SETTINGS: dict[str, dict[str, Any]] = {
    "whole": {},
    "frozen tower": {"freeze_audio": True},
    "adapters": {"lora": Lora()},
    "adapters on queries": {"lora": Lora(target_modules=("q_proj",))},
    "bfloat16": {"dtype": "bfloat16"},
    "bfloat16 with adapters": {"dtype": "bfloat16", "lora": Lora()},
}


def table_of(**settings: Any) -> Grpo:
    """Two prompts of four samples of 24 tokens, in micro-batches of one group."""
    given = {"prompts_per_step": 2, "group_size": 4, "micro_batch": 4, "max_new_tokens": 24, "mode": "direct"}
    return Grpo.model_validate({"model": "tiny", "device": "cpu", **given, **settings})


def make_trained(processor: Any, table: Grpo, *, tied: bool = False) -> AudioLM:
    """A model that is large enough for its tensors to outweigh all else, frozen and adapted as the table says."""
    from transformers import Qwen2AudioConfig, Qwen2AudioForConditionalGeneration

    tokenizer = processor.tokenizer
    config = Qwen2AudioConfig(
        audio_config={
            "num_mel_bins": 64,
            "d_model": 64,
            "encoder_layers": 2,
            "encoder_attention_heads": 2,
            "encoder_ffn_dim": 192,
            "max_source_positions": processor.feature_extractor.nb_max_frames // 2,
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": 1500,
            "hidden_size": 128,
            "intermediate_size": 344,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Qwen2AudioForConditionalGeneration(config)
    if tied:  # which the class itself never does, whatever its config says
        model.lm_head.weight = model.get_input_embeddings().weight
    lm = wrap_model(model.to(DTYPES[table.dtype]), processor, name="trained")
    lm.checkpointing = table.checkpointing
    if table.freeze_audio:
        lm.freeze_audio()
    if table.lora is not None:
        add_lora(lm, table.lora, seed=0)
    return lm


def make_load(lm: AudioLM, questions: list[AudioQuestion], table: Grpo) -> tuple[list[AudioQuestion], Load]:
    """The first questions of a step, all with the same text and clips of 3 s, and what the planner is told of them."""
    asked = [questions[0].replace(id=f"q{at}", audio=make_clip(at, 3.0)) for at in range(table.prompts_per_step)]
    encoded = [encode_example(lm, Example(q.audio, render_prompt(q, table.mode))) for q in asked]
    clip = encoded[0].clip
    load = Load(len(encoded[0].prompt), clip.tokens, clip.frames, table.max_new_tokens, clips=len(asked))
    assert {len(e.prompt) for e in encoded} == {load.prompt}
    return asked, load


def bytes_of(tensors: Any) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


# -- what is counted exactly ----------------------------------------------------------------------------------------


def test_a_model_on_meta_has_the_weights_of_the_real_one() -> None:
    real = load_model("tiny", device="cpu")
    planned = read_sizes(meta_model("tiny", table_of()), table_of(), cpu=True)
    assert sum(planned.weights.values()) == bytes_of(real.model.parameters())
    assert planned.weights["tower"] == bytes_of(real.model.model.audio_tower.parameters())
    assert planned.weights["projector"] == bytes_of(real.model.model.multi_modal_projector.parameters())
    assert planned.weights["head"] == planned.weights["embeddings"] == bytes_of([real.head_weights[0]])
    assert planned.cache_bytes == real.cache_bytes
    assert not planned.tied


def test_a_tied_head_is_counted_once(processor: Any) -> None:
    lm = make_trained(processor, table_of(), tied=True)
    sizes = read_sizes(lm, table_of(), cpu=True)
    assert sizes.tied
    assert sizes.weights["head"] == sizes.trained["head"] == 0
    assert sizes.head_trains
    assert sum(sizes.weights.values()) == bytes_of(lm.model.parameters())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("name", SETTINGS)
def test_gradients_and_optimizer_state_are_those_of_a_real_step(
    processor: Any, scene_questions: list[AudioQuestion], name: str, optimizer: str
) -> None:
    table = table_of(optimizer=optimizer, **SETTINGS[name])
    lm = make_trained(processor, table)
    sizes = read_sizes(lm, table, cpu=True)
    asked, _ = make_load(lm, scene_questions, table)
    rows = [replace(encode_example(lm, Example(q.audio, q.question)), completion=(5, 6, 7)) for q in asked]
    completion_logprobs(lm, collate(lm, rows))[0].sum().backward()
    gradients = [p.grad for p in lm.model.parameters() if p.grad is not None]
    assert sum(sizes.trained.values()) == bytes_of(gradients)
    found = make_optimizer(lm, table)
    found.step()
    parts = getattr(found, "parts", {"": found}).values()
    states = [s for part in parts for state in part.state.values() for s in state.values() if s.dim() > 0]
    assert sizes.optimizer == bytes_of(states)
    assert sizes.optimizer > 0


# -- what is worked out ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETTINGS)
def test_saved_tensors_are_those_that_autograd_saves(
    processor: Any, scene_questions: list[AudioQuestion], name: str
) -> None:
    table = table_of(**SETTINGS[name])
    lm = make_trained(processor, table)
    sizes = read_sizes(lm, table, cpu=True)
    asked, load = make_load(lm, scene_questions, table)
    encoded = [encode_example(lm, Example(q.audio, render_prompt(q, table.mode))) for q in asked]
    numbers = np.random.default_rng(0)
    rows = [replace(e, completion=tuple(numbers.integers(5, 300, 24).tolist())) for e in encoded for _ in range(3)]
    _, counted = saved_by(lm, lambda: completion_hidden(lm, collate(lm, rows)))
    after = 6 * 23
    tokens, queries = 2 * load.prompt + after, 2 + after
    layers = [sizes.text_saved(tokens, tokens, first=at == 0) for at in range(3)]
    layers.append(sizes.text_saved(tokens, queries, last=True))
    audio = sizes.audio_saved(2, load.frames, load.audio, mixed=False)
    rest = sizes.rotary(tokens) + tokens + sizes.final_norm_saved(queries)
    assert sum(layers) + audio + rest == pytest.approx(counted, rel=TOLERANCE)
    # One tensor [T, H] of one layer more or less would be noticed.
    assert tokens * sizes.hidden * sizes.w > TOLERANCE * counted


def test_clips_of_unlike_length_bring_a_mask_in_every_layer(processor: Any) -> None:
    table = table_of()
    lm = make_trained(processor, table)
    sizes = read_sizes(lm, table, cpu=True)
    for shorter, mixed in ((3.0, False), (2.9, True)):
        clips = [lm.clip(make_clip(0, 3.0)), lm.clip(make_clip(1, shorter))]
        _, counted = saved_by(lm, lambda clips=clips: torch.cat(lm.audio_embeddings(clips)))  # type: ignore[misc]
        predicted = sizes.audio_saved(2, clips[0].frames, clips[0].tokens, mixed=mixed)
        assert predicted == pytest.approx(counted, rel=0.01)
        assert abs(predicted - sizes.audio_saved(2, clips[0].frames, clips[0].tokens, mixed=not mixed)) > 0.03 * counted


def counted_peaks(
    lm: AudioLM, asked: list[AudioQuestion], table: Grpo, monkeypatch: pytest.MonkeyPatch
) -> dict[str, int]:
    """Bytes of tensors that each phase of a step allocates beyond what is there when it begins: torch's own count."""
    lm.stop_ids = (-1,)  # every completion is as long as it may be
    counted: dict[str, int] = {}
    end_of_prefill = 0

    def watch(where: Any, attribute: str, phase: str) -> None:
        original = getattr(where, attribute)

        def run(*given: Any) -> Any:
            nonlocal end_of_prefill
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
                done = original(*given)
            events = seen.profiler.kineto_results.events()  # type: ignore[union-attr]
            changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
            alive = np.cumsum([change for _, change in changes])
            begin = end_of_prefill if phase == "decoding" else 0
            counted[phase] = begin + int(alive.max(initial=0))
            if phase == "prefill":
                end_of_prefill = int(alive[-1])
            return done

        monkeypatch.setattr(where, attribute, run)

    optimizer = make_optimizer(lm, table)
    sampling = Sampling(temperature=1.0, max_new_tokens=table.max_new_tokens, seed=0, stop=())
    engine = LocalEngine(lm, sampling)
    for step in range(2):
        if step == 1:  # the optimizer's state is there by now
            watch(lm, "decoder", "decoder")
            watch(rollout, "prefill", "prefill")
            watch(rollout._State, "run", "decoding")
            watch(distributed, "backward_all", "policy")
            watch(policy, "take_step", "optimizer")
        experience, _ = sampled(lm, asked, table, step, engine)
        assert {len(e.row.completion) for e in experience} == {table.max_new_tokens}
        experience = [replace(e, advantage=1.0 if at % 2 else -1.0) for at, e in enumerate(experience)]
        policy.learn(lm, optimizer, experience, None, step, table)
    return counted


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        *SETTINGS.items(),
        ("one micro-batch", {"micro_batch": 8}),
        ("checkpointing", {"checkpointing": True, "freeze_audio": True}),
        ("checkpointing with adapters", {"checkpointing": True, "lora": Lora()}),
        ("tied, muon", {"optimizer": "muon"}),
    ],
)
def test_every_phase_takes_what_was_predicted(
    processor: Any,
    scene_questions: list[AudioQuestion],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    settings: dict[str, Any],
) -> None:
    table = table_of(**settings)
    lm = make_trained(processor, table, tied=name.startswith("tied"))
    sizes = read_sizes(lm, table, cpu=True)
    asked, load = make_load(lm, scene_questions, table)
    phases = {phase.name: phase.parts for phase in plan_phases(sizes, table, load)}
    there = ("weights", "reference", "optimizer", "data", "decoder")
    predicted = {
        phase: sum(size for part, size in parts.items() if part not in there) for phase, parts in phases.items()
    }
    counted = counted_peaks(lm, asked, table, monkeypatch)
    assert predicted["policy"] == pytest.approx(counted["policy"], rel=0.04)
    assert counted["optimizer"] == pytest.approx(sizes.update, abs=2**16)
    # In low precision the CPU's attention keeps a block of scores for itself, some 64 KiB however long a sequence is.
    own = 2**17 if sizes.w < 4 else 0
    assert predicted["prefill"] == pytest.approx(counted["prefill"], rel=0.02, abs=own)
    # What is allocated is room for 32 tokens; of a CPU's the planner counts the part that is written to.
    allocated = plan_phases(replace(sizes, cpu=False), table, load)[1].parts
    assert allocated["decoder"] == 0
    sampling = allocated["cache"] + allocated["head"]
    assert sampling == pytest.approx(counted["decoding"], rel=0.02)
    assert predicted["decoding"] == sampling - 8 * 9 * sizes.cache_bytes
    assert sizes.prepacked == pytest.approx(counted["decoder"], rel=0.03)  # rows come in blocks
    # A layer more would be noticed; with checkpointing, a layer's inner states.
    layer = phases["policy"]["text"] / (2 if table.checkpointing else 4)
    assert layer > 0.04 * counted["policy"]


def test_the_reference_is_a_second_copy_except_under_adapters(processor: Any) -> None:
    load = Load(prompt=200, audio=37, frames=150, completion=24)
    for name, copies in (("whole", 1), ("adapters", 0)):
        plain, penalised = table_of(**SETTINGS[name]), table_of(beta=0.1, **SETTINGS[name])
        sizes = read_sizes(make_trained(processor, plain), plain, cpu=True)
        before, after = plan_phases(sizes, plain, load), plan_phases(sizes, penalised, load)
        assert [phase.name for phase in after] == ["prefill", "decoding", "reference", "policy", "optimizer"]
        more = {phase.name: phase.total for phase in after}
        weights = sum(sizes.weights.values())
        assert all(more[phase.name] - phase.total == copies * weights for phase in before)


def test_a_reference_off_the_device_takes_room_only_while_it_runs(sizes: Sizes) -> None:
    load = Load(prompt=200, audio=37, frames=150, completion=24)
    weights = sum(sizes.weights.values())
    for cpu in (False, True):
        sizes = replace(sizes, cpu=cpu)
        stays, leaves = (
            {phase.name: phase.total for phase in plan_phases(sizes, table_of(beta=0.1, reference_offload=away), load)}
            for away in (False, True)
        )
        less = {name: (stays[name] - leaves[name]) / weights for name in stays}
        assert less == {name: 0 if cpu or name == "reference" else 1 for name in stays}


def test_an_evaluation_keeps_to_the_recipes_cache(sizes: Sizes) -> None:
    load = Load(prompt=200, audio=37, frames=150, completion=24)
    room, little = (
        {phase.name: phase.total for phase in plan_phases(sizes, table_of(eval_every=1, cache_mib=mib), load)}
        for mib in (4096, 1)
    )
    assert little["evaluation"] < room["evaluation"]


# -- how it behaves -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sizes() -> Sizes:
    return read_sizes(meta_model("tiny", table_of()), table_of(), cpu=True)


def highest(sizes: Sizes, table: Grpo, load: Load, workers: int = 1) -> int:
    return peak(plan_phases(sizes, table, load, workers=workers)).total


@pytest.mark.parametrize("cpu", [True, False])
def test_more_of_anything_never_takes_less(sizes: Sizes, cpu: bool) -> None:
    sizes = replace(sizes, cpu=cpu)
    load = Load(prompt=200, audio=37, frames=150, completion=100)
    whole = table_of(micro_batch=4096)  # a group that fills micro-batches by itself would share fewer prompts

    def needs(values: range, change: Callable[[int], tuple[Grpo, Load]]) -> list[int]:
        found = [highest(sizes, *change(value)) for value in values]
        assert found == sorted(found)
        assert found[-1] > found[0]
        return found

    needs(range(2, 60), lambda g: (whole.model_copy(update={"group_size": g}), load))
    needs(range(1, 60), lambda p: (whole.model_copy(update={"prompts_per_step": p}), load))
    needs(range(1, 9), lambda b: (table_of(prompts_per_step=2, group_size=8, micro_batch=b * 2), load))
    needs(range(1, 200, 9), lambda c: (table_of(), replace(load, completion=c)))
    needs(range(40, 400, 9), lambda p: (table_of(), replace(load, prompt=p)))


def test_what_saves_memory_saves_it(sizes: Sizes, processor: Any) -> None:
    load = Load(prompt=200, audio=37, frames=150, completion=100)
    plain = highest(sizes, table_of(), load)
    assert highest(sizes, table_of(checkpointing=True), load) < plain
    for settings in ({"freeze_audio": True}, {"lora": Lora()}, {"dtype": "bfloat16"}):
        table = table_of(**settings)
        assert highest(read_sizes(meta_model("tiny", table), table, cpu=True), table, load) < plain
    assert plain < highest(sizes, table_of(), load, workers=2)


def test_micro_batches_are_those_of_the_trainer() -> None:
    table = table_of(prompts_per_step=3, group_size=4, micro_batch=5)
    shares, count = micro_batches(table, 1)
    assert (shares[0].rows, shares[0].prompts, count) == (5, 2, 3)
    shares, count = micro_batches(table, 3)  # three side by side: one group each
    assert [(share.rows, share.prompts) for share in shares] == [(4, 1)] * 3
    assert count == 3


def test_the_largest_is_found_where_memory_does_not_rise_steadily() -> None:
    assert largest(lambda n: n in (1, 2, 3, 7), 1, 10) == 7
    assert largest(lambda n: True, 1, 10) == 10
    assert largest(lambda n: False, 1, 10) is None


def planned(**given: Any) -> Plan:
    settings = {"prompts_per_step": 4, "group_size": 8, "micro_batch": 4096, "corpus": "nowhere"} | given.pop("set", {})
    return make_plan(table_of(**settings), Sft.model_validate({}), device="cpu", prompt_tokens=100, **given)


def test_the_largest_group_and_batch_fit_and_one_more_does_not(empty_folder: Path) -> None:
    room = planned().peak.total + 12 * 2**20
    found = planned(memory_gib=room / 2**30)
    assert found.fits
    assert found.group_size is not None
    assert found.micro_batch is not None
    assert 8 < found.group_size < MOST_SAMPLES
    # The program's own memory is read each time; a recipe is judged by the figures of one plan.
    process = found.peak.parts["process"]

    def total(**settings: int) -> int:
        load = replace(found.lengths.longest, process=process)
        return highest(found.sizes, found.table.model_copy(update=settings), load)

    assert total(group_size=found.group_size) <= found.memory < total(group_size=found.group_size + 1)
    tight = make_plan(
        found.table, Sft.model_validate({}), device="cpu", prompt_tokens=100, memory_gib=(room - 40 * 2**20) / 2**30
    )
    assert not tight.fits
    assert tight.micro_batch is not None
    assert 0 < tight.micro_batch < 32
    assert total(micro_batch=tight.micro_batch) <= tight.memory + 2**20
    assert total(micro_batch=tight.micro_batch + 2) > tight.memory - 2**20
    assert "does not fit" in verdict(tight)[0]
    assert planned(memory_gib=0.01).micro_batch is None


def test_lengths_come_from_the_corpus(
    small_folder: Path, small_corpus: Path, small_lm: AudioLM, scene_questions: list[AudioQuestion]
) -> None:
    table = table_of(model=str(small_folder), corpus=str(small_corpus), split="sft")
    found = read_lengths(meta_model(table.model, table), table)
    real = [encode_example(small_lm, Example(q.audio, render_prompt(q, table.mode))) for q in scene_questions]
    assert abs(found.longest.prompt - max(len(e.prompt) for e in real)) <= 1
    assert abs(found.mean.prompt - sum(len(e.prompt) for e in real) / len(real)) <= 1
    assert found.longest.audio == max(e.clip.tokens for e in real)
    assert found.longest.frames == max(e.clip.frames for e in real)
    assert found.longest.corpus == sum(len(q.audio.data or b"") for q in scene_questions)
    assert found.longest.process > 2**20
    given = read_lengths(small_lm, table, seconds=2.0, tokens=50)
    assert (given.longest.prompt, given.longest.audio) == (75, 25)
    assert given.longest == replace(given.mean, process=given.longest.process)


def test_a_missing_warm_up_is_planned_with_its_own_model(empty_folder: Path, run_command: Run) -> None:
    code, out, err = run_command("sari-train", "plan", "--json")
    assert code == 0, err
    body = json.loads(out)
    assert body["model"] == "tiny"
    assert body["fits"] is True
    assert body["peak"]["bytes"] == max(phase["bytes"] for phase in body["phases"].values())
    assert all(sum(phase["parts"].values()) == phase["bytes"] for phase in body["phases"].values())
    assert "there is no corpus in corpus" in body["assumed"]["lengths"]
    assert not any(empty_folder.iterdir())


def test_the_table_and_the_exit_code(empty_folder: Path, run_command: Run) -> None:
    code, out, err = run_command("sari-train", "plan", "--set", "grpo.eval_every=5", "--memory", "0.25")
    assert code == 1, err
    for word in ("weights", "prefill", "evaluation", "does not fit", "no micro_batch fits"):
        assert word in out
    assert "every completion 160 tokens" in " ".join(err.split())


def test_a_gpu_that_is_not_there_is_planned_for_with_its_memory(empty_folder: Path, run_command: Run) -> None:
    settings = ["--set", "grpo.dtype=bfloat16", "--set", "grpo.checkpointing=true", "--set", "grpo.model=tiny"]
    settings += ["--set", "grpo.freeze_audio=false"]  # what a frozen tower made would be kept on the GPU
    code, out, err = run_command("sari-train", "plan", *settings, "--device", "cuda", "--memory", "80", "--json")
    assert code == 0, err
    parts = json.loads(out)["phases"]["policy"]["parts"]
    assert parts["process"] == parts["data"] == 0
    assert parts["text"] > 0


def test_a_containers_limit_counts(tmp_path: Path) -> None:
    assert container_limit(tmp_path) is None
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert container_limit(tmp_path) is None
    (tmp_path / "memory.max").write_text("5000\n")
    assert container_limit(tmp_path) == 4000
    old = tmp_path / "old"
    (old / "memory").mkdir(parents=True)
    (old / "memory" / "memory.limit_in_bytes").write_text("700")
    (old / "memory" / "memory.usage_in_bytes").write_text("900")
    assert container_limit(old) == 0


def test_an_evaluation_has_no_more_batches_than_questions_fill(sizes: Sizes) -> None:
    load = Load(prompt=200, audio=37, frames=150, completion=800)

    def evaluation(questions: int, workers: int) -> int:
        table = table_of(eval_every=1, eval_questions=questions)
        (found,) = (p for p in plan_phases(sizes, table, load, workers=workers) if p.name == "evaluation")
        return found.parts["head"]

    row = sizes.vocabulary * 4 * 2
    assert evaluation(100, 16) == 100 * row
    assert evaluation(200, 1) == 128 * row
    assert evaluation(200, 16) == 200 * row


def test_memory_of_this_machine() -> None:
    found, source = find_memory(torch.device("cpu"), None)
    assert found > 2**20
    assert source in ("available now", "left of this container's limit", "of the machine")
    with pytest.raises(InputError, match="give --memory"):
        find_memory(torch.device("mps"), None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--memory", "0"], "--memory must be more than 0"),
        (["--memory", "nan"], "--memory must be more than 0"),
        (["--memory", "inf"], "--memory must be more than 0 GiB and finite"),
        (["--clip-seconds", "-1"], "--clip-seconds must be more than 0"),
        (["--clip-seconds", "3.5"], "hears at most 3 s"),
        (["--clip-seconds", "0.001"], "too short for one audio token"),
        (["--prompt-tokens", "0"], "--prompt-tokens must be more than 0"),
        (["--prompt-tokens", "5000"], "has a context of 1024"),
        (["--device", "gpu"], "device 'gpu' is unknown"),
        (["--device", "meta"], "device meta holds no numbers"),
        (["--set", "grpo.model=./nothing"], "neither 'tiny', nor a folder"),
        (["--set", "grpo.group_size=1"], "grpo.group_size"),
        (["--set", "grpo.lora={target_modules=['nothing']}"], "lora.target_modules"),
        (["nothing.toml"], "nothing.toml"),
    ],
)
def test_wrong_input_is_one_sentence(empty_folder: Path, run_command: Run, arguments: list[str], message: str) -> None:
    code, out, err = run_command("sari-train", "plan", *arguments)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())
    assert err.splitlines()[-1].startswith("error:")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU whose memory can be read")
def test_a_gpu_without_a_figure(empty_folder: Path, run_command: Run) -> None:
    code, out, err = run_command("sari-train", "plan", "--device", "cuda")
    assert (code, out) == (2, "")
    assert "give --memory GIB" in " ".join(err.split())


def test_an_adapters_folder_without_a_base(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(SariError, match="names no base model"):
        meta_model(str(tmp_path), table_of())
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(tmp_path)}))
    with pytest.raises(SariError, match="must name the adapter's base"):
        meta_model(str(tmp_path), table_of())
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "tiny"}))
    assert meta_model(str(tmp_path), table_of()).cache_bytes == 2048
