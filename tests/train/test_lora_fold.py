"""A run that starts from an adapter and trains another writes one adapter, which alone equals both."""

from __future__ import annotations

import json
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from model_builders import omni_processor, thinker
from safetensors.torch import load_file
from test_lora_quantised import batch_of, distance, plain
from torch import Tensor

from sari_data.errors import CheckpointError, InputError
from sari_train.checkpoint import open_run, save_model, save_run
from sari_train.config import Grpo, Lora, Sft
from sari_train.logprobs import completion_logprobs
from sari_train.lora import add_lora, merge
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model
from sari_train.models.low_rank import LowRank, fold
from sari_train.optim import make_optimizer
from sari_train.reference import Reference
from sari_train.rollouts.transfer import checkpoint_tensors
from sari_train.sft import train_sft
from sari_train.state_io import load_optimizer_state, read_state

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


def grown(name: str | Path, table: Lora, seed: int, **options: Any) -> AudioLM:
    """A model with an adapter that changes something."""
    lm = load_model(str(name), device="cpu", **options)
    add_lora(lm, table, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, weight in lm.model.named_parameters():
            if "lora_B" in key:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return lm


def chain(folder: Path, base: Path, *tables: Lora) -> list[Path]:
    """Runs of which each starts from the one before: the folders that they write."""
    found, start = [], base
    for at, table in enumerate(tables):
        out = folder / f"run-{at}"
        save_model(grown(start, table, at + 1), out)
        found.append(out)
        start = out
    return found


def float64_weights(base: Path, *adapters: tuple[dict[str, Tensor], float]) -> dict[str, Tensor]:
    """The base's weights with adapters (tensors of a file, scale) merged one after the other, in float64."""
    weights = {k: v.double() for k, v in load_model(str(base), device="cpu").model.state_dict().items()}
    for tensors, scale in adapters:
        for key in tensors:
            if key.endswith(".lora_A.weight"):
                stem = key.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
                b_OR = tensors[f"base_model.model.{stem}.lora_B.weight"].double()
                weights[f"{stem}.weight"] = weights[f"{stem}.weight"] + scale * (b_OR @ tensors[key].double())
    return weights


def plain_peft(base: Path, adapter: Path) -> dict[str, Tensor]:
    """What plain transformers and peft make of an adapter on its base, merged in float64."""
    from peft import PeftModel
    from transformers import Qwen2AudioForConditionalGeneration

    model = Qwen2AudioForConditionalGeneration.from_pretrained(base, dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # peft warns of layers for which the file has nothing
        warnings.filterwarnings("default", message=".*is_gradient_checkpointing", category=FutureWarning)
        return dict(PeftModel.from_pretrained(model, adapter).merge_and_unload().state_dict())


def far(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    assert a.keys() == b.keys()
    return max((a[key] - b[key]).abs().max().item() for key in a)


def own_of(lm: AudioLM) -> dict[str, Tensor]:
    """The run's own adapter, under the names of a file."""
    from peft import get_peft_model_state_dict

    return dict(get_peft_model_state_dict(lm.adapter, save_embedding_layers=False))


def test_two_adapters_are_one_of_their_ranks_side_by_side() -> None:
    generator = torch.Generator().manual_seed(0)

    def make(rank: int, scale: float) -> LowRank:
        a_RI, b_OR = (torch.randn(s, generator=generator, dtype=torch.float64) for s in ((rank, 7), (5, rank)))
        return LowRank(a_RI, b_OR, scale)

    first, second = {"x": make(2, 0.3), "y": make(3, 1.7)}, {"x": make(4, 2.5), "z": make(1, 0.1)}
    found = fold(first, second)
    assert {name: (update.rank, update.scale) for name, update in found.items()} == {
        "x": (6, 1.0), "y": (3, 1.0), "z": (1, 1.0),
    }  # fmt: skip
    both = first["x"].weight() + second["x"].weight()
    torch.testing.assert_close(found["x"].b_OR @ found["x"].a_RI, both, atol=1e-12, rtol=0)
    torch.testing.assert_close(found["y"].weight(), first["y"].weight(), atol=1e-12, rtol=0)
    torch.testing.assert_close(found["z"].weight(), second["z"].weight(), atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Lora(rank=2, alpha=4), Lora(rank=2, alpha=4)),
        (Lora(rank=2, alpha=8, target_modules=("q_proj", "v_proj")), Lora(rank=4, alpha=2)),
        (Lora(rank=1, alpha=4), Lora(rank=3, alpha=6, target_modules=("v_proj", "gate_proj"))),
        (Lora(rank=4, target_modules=("q_proj",)), Lora(rank=1, alpha=1, target_modules=("down_proj",))),
    ],
)
def test_plain_peft_loads_what_equals_both(small_folder: Path, tmp_path: Path, first: Lora, second: Lora) -> None:
    (before,) = chain(tmp_path, small_folder, first)
    lm = grown(before, second, seed=7)
    own = save_model(lm, tmp_path / "folded")
    assert own is not None
    assert own.keys() == own_of(lm).keys()
    assert all(torch.equal(own[key], tensor) for key, tensor in own_of(lm).items())
    config = json.loads((tmp_path / "folded" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(small_folder)
    shared = set(first.target_modules) & set(second.target_modules)
    assert config["r"] == config["lora_alpha"]
    assert config["r"] == (first.rank + second.rank if shared else max(first.rank, second.rank))
    steps = (
        (load_file(before / "adapter_model.safetensors"), first.alpha / first.rank),
        (own, second.alpha / second.rank),
    )
    found = plain_peft(small_folder, tmp_path / "folded")
    assert far(found, float64_weights(small_folder, *steps)) < 1e-9
    # A scale that is forgotten, the first adapter or the second left out: all far beyond.
    assert far(found, float64_weights(small_folder, (steps[0][0], 1.0), steps[1])) > 1e-3
    assert far(found, float64_weights(small_folder, steps[0])) > 1e-3
    assert far(found, float64_weights(small_folder, steps[1])) > 1e-3


def test_chains_of_any_length_end_at_the_first_base(small_folder: Path, tmp_path: Path) -> None:
    tables = [Lora(rank=1), Lora(rank=2, alpha=5, target_modules=ATTENTION), Lora(rank=3, alpha=7)]
    folders = chain(tmp_path, small_folder, *tables)
    config = json.loads((folders[-1] / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(small_folder)
    assert (config["r"], set(config["rank_pattern"].values())) == (6, {4})
    lm = load_model(str(folders[-2]), device="cpu")
    expected = grown(folders[-2], tables[-1], 3)
    merged = merge(str(folders[-1]), tmp_path / "merged")
    for key, tensor in load_model(str(merged), device="cpu").model.state_dict().items():
        before = lm.model.state_dict()[key]
        layer = expected.model.get_submodule(key.rpartition(".")[0]) if "_proj.weight" in key else None
        if layer is not None and hasattr(layer, "get_delta_weight"):
            before = before + layer.get_delta_weight("default").detach()
        torch.testing.assert_close(tensor, before, atol=1e-5, rtol=1e-5)
    assert lm.start is not None
    assert lm.start.base == str(small_folder)


def test_a_chain_of_folders_of_before_is_read_too(small_folder: Path, tmp_path: Path) -> None:
    (first,) = chain(tmp_path, small_folder, Lora(rank=2, alpha=4))
    lm = grown(first, Lora(rank=1, alpha=2), 5)
    start, lm.start = lm.start, None
    assert save_model(lm, tmp_path / "second") is None  # the adapter alone, as it was once written
    config = json.loads((tmp_path / "second" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(first)
    again = load_model(str(tmp_path / "second"), device="cpu")
    assert again.start is not None
    assert start is not None
    assert again.start.base == start.base == str(small_folder)
    assert {update.rank for update in again.start.updates.values()} == {3}
    own = grown(tmp_path / "second", Lora(rank=1, alpha=1), 6)
    save_model(own, tmp_path / "third")
    steps = [(load_file(p / "adapter_model.safetensors"), 2.0) for p in (first, tmp_path / "second")]
    expected = float64_weights(small_folder, *steps, (own_of(own), 1.0))
    assert far(plain_peft(small_folder, tmp_path / "third"), expected) < 1e-9


def test_experts_take_no_part_of_a_folded_adapter(tmp_path: Path) -> None:
    processor = omni_processor("qwen3-omni", ["A bell rings."] * 3)
    model = thinker("qwen3-omni", processor)
    model.save_pretrained(tmp_path / "base")
    processor.save_pretrained(str(tmp_path / "base"))
    modules = [("q_proj", "o_proj"), ("q_proj", "v_proj")]
    folders = chain(tmp_path, tmp_path / "base", *(Lora(rank=2, target_modules=m) for m in modules))
    tensors = load_file(folders[-1] / "adapter_model.safetensors")
    assert all("language_model" in key for key in tensors)
    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("default", message=".*is_gradient_checkpointing", category=FutureWarning)
        wrapped = PeftModel.from_pretrained(model, folders[-1])
    held = [name for name, _ in wrapped.named_parameters() if ".lora_" in name]
    assert len(held) == len(tensors)
    lm, again = grown(folders[0], Lora(rank=2, target_modules=modules[1]), 2), load_model(str(folders[1]), device="cpu")
    logps, wanted = (completion_logprobs(m, batch_of(m))[0] for m in (again, lm))
    torch.testing.assert_close(logps, wanted, atol=1e-5, rtol=1e-5)


def test_half_precision_keeps_the_first_adapter_as_it_is_in_its_file(small_folder: Path, tmp_path: Path) -> None:
    (first,) = chain(tmp_path, small_folder, Lora(rank=2, alpha=4))
    lm = load_model(str(first), dtype="bfloat16", device="cpu")
    assert lm.start is not None
    stored = load_file(first / "adapter_model.safetensors")
    for name, update in lm.start.updates.items():
        assert torch.equal(update.a_RI, stored[f"base_model.model.{name}.lora_A.weight"])
        assert torch.equal(update.b_OR, 2 * stored[f"base_model.model.{name}.lora_B.weight"])


def test_with_the_adapter_off_it_is_the_model_that_it_started_from(small_folder: Path, tmp_path: Path) -> None:
    (first,) = chain(tmp_path, small_folder, Lora(rank=2))
    lm, start, base = grown(first, Lora(rank=3), 4), load_model(str(first)), load_model(str(small_folder))
    table = Grpo(model=str(first), temperature=1.0, lora=Lora(rank=3))
    found = Reference(lm, table).logprobs(batch_of(lm))
    wanted, bare, now = (completion_logprobs(m, batch_of(m), banned=m.banned_ids)[0] for m in (start, base, lm))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert (found - bare).abs().max() > 1e-3
    assert (found - now).abs().max() > 1e-3


class Loop:
    """A run that starts from an adapter and trains one; a step adds numbers to it."""

    def __init__(self, table: Sft) -> None:
        self.table, self.lm = table, load_model(table.model, device="cpu")
        assert table.lora is not None
        add_lora(self.lm, table.lora, seed=0)
        self.run = open_run(self.lm, table, "sft", "f")
        self.optimizer = make_optimizer(self.lm, table)
        if self.run.optimizer is not None:
            load_optimizer_state(self.optimizer, self.lm.model, self.run.optimizer)
        self.step = self.run.step

    def take(self) -> Path:
        self.step += 1
        for weight in self.lm.model.parameters():
            if weight.requires_grad:
                weight.grad = torch.linspace(-1, self.step, weight.numel()).view_as(weight)
        self.optimizer.step()
        return save_run(self.lm, self.optimizer, self.table.out, step=self.step, fingerprint="f")


def test_going_on_is_exact(small_folder: Path, tmp_path: Path) -> None:
    (first,) = chain(tmp_path, small_folder, Lora(rank=2, alpha=3))
    # With a scale of 0.7 the folded numbers are not the run's own, not even scaled back.
    table = Sft(model=str(first), out=str(tmp_path / "a"), lora=Lora(rank=10, alpha=7), learning_rate=0.01)
    straight, cut = Loop(table), Loop(table.model_copy(update={"out": str(tmp_path / "b")}))
    straight.take(), cut.take()
    cut = Loop(cut.table)
    assert cut.step == 1
    for (name, a), (_, b) in zip(straight.lm.model.named_parameters(), cut.lm.model.named_parameters(), strict=True):
        assert torch.equal(a, b), name
    a, b = straight.take(), cut.take()
    names = ("adapter_model.safetensors", "adapter_config.json", "training/state.safetensors")
    assert all((a / name).read_bytes() == (b / name).read_bytes() for name in names)
    assert (tmp_path / "a" / names[0]).read_bytes() == (a / names[0]).read_bytes()
    own = read_state(a / "training")["adapter"]
    key = next(key for key in own if key.endswith("lora_B.weight"))
    folded = load_file(a / names[0])[key]
    assert folded.shape[1] == 12
    assert not torch.equal(folded[:, 2:] / 0.7, own[key])


def test_a_checkpoint_of_before_goes_on(small_folder: Path, tmp_path: Path) -> None:
    (first,) = chain(tmp_path, small_folder, Lora(rank=2))
    loop = Loop(Sft(model=str(first), out=str(tmp_path / "run"), lora=Lora(rank=2)))
    loop.lm.start = None  # so the file holds the run's own adapter, as it did
    assert "adapter" not in read_state(loop.take() / "training")
    again = Loop(loop.table)
    for (name, a), (_, b) in zip(loop.lm.model.named_parameters(), again.lm.model.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_trainings_one_after_the_other(small_folder: Path, small_corpus: Path, tmp_path: Path) -> None:
    table = Sft(
        model=str(small_folder), corpus=str(small_corpus), out=str(tmp_path / "first"), mode="direct", steps=2,
        batch_size=2, learning_rate=0.05, warmup_steps=0, preflight=False, lora=Lora(rank=2, alpha=4),
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        train_sft(table)
        train_sft(table.model_copy(update={"model": table.out, "out": str(tmp_path / "second")}))
        merge(str(tmp_path / "second"), tmp_path / "merged")
    assert not [w for w in told if "gradient_checkpointing" in str(w.message)]
    config = json.loads((tmp_path / "second" / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["r"]) == (str(small_folder), 4)
    (step,) = (tmp_path / "second" / "checkpoints").glob("step-*")
    steps = load_file(tmp_path / "first" / "adapter_model.safetensors"), read_state(step / "training")["adapter"]
    expected = float64_weights(small_folder, *((tensors, 2.0) for tensors in steps))
    assert far(plain_peft(small_folder, tmp_path / "second"), expected) < 1e-9
    assert far(plain_peft(small_folder, tmp_path / "first"), expected) > 1e-3
    # Training all weights instead starts from the merged ones, and writes a whole model.
    train_sft(table.model_copy(update={"model": table.out, "out": str(tmp_path / "whole"), "lora": None}))
    assert not (tmp_path / "whole" / "adapter_config.json").exists()
    started, ended = (load_model(name).model.state_dict() for name in (table.out, str(tmp_path / "whole")))
    assert far(started, ended) > 1e-4


def test_an_adapter_of_another_kind_has_to_be_merged_first(small_folder: Path, tmp_path: Path) -> None:
    (first,) = chain(tmp_path, small_folder, Lora(rank=2))
    file = first / "adapter_config.json"
    settings = json.loads(file.read_text())
    for changes, named in (({"bias": "all"}, "bias"), ({"init_lora_weights": "pissa"}, "init_lora_weights")):
        file.write_text(json.dumps(settings | changes))
        lm = load_model(str(first), device="cpu")
        with pytest.raises(InputError, match=rf"it sets {named}.*sari-train merge"):
            add_lora(lm, Lora(rank=2), seed=0)


# -- quantised weights ----------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed: pip install 'sari-audio[quantize]'"
)
@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_quantised_weights_keep_the_first_adapter_beside_them(kind: str, small_folder: Path, tmp_path: Path) -> None:
    folders = chain(tmp_path, small_folder, Lora(rank=2, alpha=8), Lora(rank=1, target_modules=("q_proj",)))
    config = json.loads((folders[1] / "adapter_config.json").read_text())
    assert config["r"] == 3
    lm = load_model(str(folders[1]), device="cpu", quantize=kind)
    base, source = load_model(str(small_folder), device="cpu", quantize=kind), load_model(str(folders[1]), device="cpu")
    wide = plain(str(small_folder), base)
    assert lm.start is not None
    expected = plain(str(small_folder), base)
    with torch.no_grad():
        for name, update in lm.start.updates.items():
            expected.model.get_submodule(name).weight.add_(update.weight())
    bound = {"nf4": 1e-5, "int8": 0.01}[kind]
    found, wanted, without = (completion_logprobs(m, batch_of(m))[0].detach() for m in (lm, expected, wide))
    assert distance(found, wanted) < bound
    assert distance(found, without) > 3 * bound
    assert distance(found, completion_logprobs(source, batch_of(source))[0].detach()) > 0
    add_lora(lm, Lora(rank=2), seed=3)
    torch.testing.assert_close(completion_logprobs(lm, batch_of(lm))[0].detach(), found, atol=1e-6, rtol=1e-6)
    with torch.no_grad():
        for key, weight in lm.model.named_parameters():
            if "lora_B" in key:
                weight.fill_(0.05)
    now = completion_logprobs(lm, batch_of(lm))[0]
    assert distance(now.detach(), found) > 3 * bound
    now.sum().backward()
    assert all(p.grad.any() for n, p in lm.model.named_parameters() if "lora_B" in n and p.grad is not None)
    with lm.adapter.disable_adapter():
        torch.testing.assert_close(completion_logprobs(lm, batch_of(lm))[0].detach(), found, atol=1e-6, rtol=1e-6)
    # What a rollout server is sent, and what is saved, have the first adapter too.
    sent = dict(checkpoint_tensors(lm))
    layer = "model.language_model.layers.0.self_attn.q_proj"
    key = next(key for key in sent if "audio" not in key and key.endswith("layers.0.self_attn.q_proj.weight"))
    update = lm.model.get_submodule(layer).get_delta_weight("default").detach()
    torch.testing.assert_close(sent[key], expected.model.get_submodule(layer).weight + update, atol=1e-5, rtol=1e-5)
    own = save_model(lm, tmp_path / "folded")
    assert own is not None
    steps = [(load_file(folders[1] / "adapter_model.safetensors"), 1.0), (own, 8.0)]
    assert far(plain_peft(small_folder, tmp_path / "folded"), float64_weights(small_folder, *steps)) < 1e-7


@pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed: pip install 'sari-audio[quantize]'"
)
def test_what_cannot_be_kept_beside_quantised_weights_is_refused(small_folder: Path, tmp_path: Path) -> None:
    (first,) = chain(tmp_path, small_folder, Lora(rank=2))
    file = first / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"bias": "all"}))
    with pytest.raises(CheckpointError, match=r"cannot be kept beside weights in nf4 .*sari-train merge"):
        load_model(str(first), device="cpu", quantize="nf4")
