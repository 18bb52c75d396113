"""Adapters on a text model in 4 or 8 bits; what needs bitsandbytes is skipped where it is not installed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from model_builders import omni_processor, thinker
from torch import Tensor
from train_helpers import make_clip

from sari_data.errors import CheckpointError, InputError
from sari_data.responder import Sampling
from sari_train.batch import Batch, Example, collate, encode_example
from sari_train.checkpoint import save_model
from sari_train.config import Lora
from sari_train.kernels.prepacked import is_plain
from sari_train.logprobs import completion_logprobs
from sari_train.lora import add_lora
from sari_train.models import quantize
from sari_train.models.base import AudioLM
from sari_train.models.export import export_model
from sari_train.models.load import load_model
from sari_train.rollout import Rollout, RolloutPrompt

needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed: pip install 'sari-audio[quantize]'"
)
KINDS = [pytest.param(kind, marks=needs_bitsandbytes) for kind in quantize.KINDS]
# Of log-probabilities and gradients against the same weights in float32: 8 bits round the activations too.
BOUND = {"nf4": 1e-5, "int8": 0.01}
GRADIENTS = {"nf4": 1e-5, "int8": 0.08}


@pytest.fixture(scope="module")
def omni_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("omni") / "thinker"
    processor = omni_processor("qwen2.5-omni", ["What do you hear? A bell rings, then a dog."] * 3)
    thinker("qwen2.5-omni", processor).save_pretrained(folder)
    processor.save_pretrained(str(folder))
    return folder


@pytest.fixture(params=["qwen2-audio", "qwen2.5-omni"])
def folder(request: pytest.FixtureRequest, small_folder: Path, omni_folder: Path) -> str:
    return str({"qwen2-audio": small_folder, "qwen2.5-omni": omni_folder}[request.param])


def batch_of(lm: AudioLM) -> Batch:
    lengths = enumerate((0.4, 1.9, 0.4))
    return collate(
        lm, [Example(make_clip(at, s), f"Question {at % 2}?", f"<answer>{at}</answer>") for at, s in lengths]
    )


def with_adapters(lm: AudioLM, size: float = 0.2) -> AudioLM:
    add_lora(lm, Lora(rank=2), seed=0)
    with torch.no_grad():
        for name, weight in lm.model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.linspace(-size, size, weight.numel()).view_as(weight))
    return lm


def plain(folder: str, lm: AudioLM) -> AudioLM:
    """The model with the quantised weights written out in float32."""
    from bitsandbytes import functional

    found = load_model(folder, device="cpu")
    with torch.no_grad():
        for name, module in lm.text_model.named_modules():
            weight: Any = getattr(module, "weight", None)
            if hasattr(weight, "quant_state"):
                wide = functional.dequantize_4bit(weight.data, weight.quant_state)
            elif hasattr(weight, "SCB"):
                wide = functional.int8_vectorwise_dequant(weight.data, weight.SCB)
            else:
                continue
            found.text_model.get_submodule(name).weight.copy_(wide)
    return found


def pass_of(lm: AudioLM) -> tuple[Tensor, Tensor]:
    """Log-probabilities, and the adapters' gradients of a weighted sum."""
    logps, _ = completion_logprobs(lm, batch_of(lm))
    lm.model.zero_grad()
    (logps * torch.linspace(-1, 1.3, logps.numel()).view_as(logps)).sum().backward()
    return logps.detach(), torch.cat([p.grad.flatten() for _, p in lm.model.named_parameters() if p.grad is not None])


def distance(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_text_models_layers_are_quantised(kind: str, folder: str) -> None:
    lm, source = load_model(folder, device="cpu", quantize=kind), load_model(folder, device="cpu")
    changed = {
        name
        for name, module in lm.model.named_modules()
        if isinstance(module, torch.nn.Linear) and not is_plain(module)
    }
    prefix = next(name for name, module in lm.model.named_modules() if module is lm.text_model)
    assert len(changed) == 2 * 7
    assert all(name.startswith(f"{prefix}.layers.") for name in changed)
    kept = source.model.state_dict()
    for name, weight in lm.model.state_dict().items():
        if name.rsplit(".", 1)[0] not in changed and name in kept:
            assert torch.equal(weight, kept[name]), name
    assert lm.dtype == torch.float32
    with pytest.raises(InputError, match="adapters or quantised weights"):
        export_model(lm, Path(folder).parent / "out")


@pytest.mark.parametrize("kind", KINDS)
def test_passes_are_those_of_the_weights_written_out(kind: str, folder: str) -> None:
    lm = load_model(folder, device="cpu", quantize=kind)
    wide = plain(folder, lm)
    start, _ = completion_logprobs(lm, batch_of(lm))
    source, _ = completion_logprobs(load_model(folder, device="cpu"), batch_of(lm))
    with_adapters(lm), with_adapters(wide)
    logps, gradients = pass_of(lm)
    expected, wanted = pass_of(wide)
    assert distance(logps, expected) < BOUND[kind]
    assert distance(gradients, wanted) < GRADIENTS[kind]
    # 4 bits are another model, and adapters another again: both are far beyond the bound.
    if kind == "nf4":
        assert distance(source, start) > 100 * BOUND[kind]
    assert distance(start, logps) > 5 * BOUND[kind]
    # The reference is the same model with the adapters off.
    with lm.adapter.disable_adapter():
        torch.testing.assert_close(completion_logprobs(lm, batch_of(lm))[0], start, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_training_after_a_rollout_has_its_gradients(kind: str, folder: str) -> None:
    lm = with_adapters(load_model(folder, device="cpu", quantize=kind))
    before = pass_of(lm)
    prompt = encode_example(lm, Example(make_clip(0, 0.4), "Question 0?"))
    (sampled,) = Rollout(lm, Sampling(temperature=0.0, max_new_tokens=8)).generate([RolloutPrompt("0", prompt)])
    after = pass_of(lm)
    torch.testing.assert_close(after, before, atol=1e-6, rtol=1e-6)
    again = collate(lm, [type(prompt)(prompt.clip, prompt.prompt, sampled.ids)])
    logps, _ = completion_logprobs(lm, again, banned=lm.banned_ids)
    assert distance(logps[0].detach(), torch.from_numpy(sampled.logps)) < BOUND[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_is_merged_into_the_unquantised_base(kind: str, folder: str, tmp_path: Path) -> None:
    lm = with_adapters(load_model(folder, device="cpu", quantize=kind))
    save_model(lm, tmp_path / "adapter")
    merged, base = (load_model(name, device="cpu") for name in (str(tmp_path / "adapter"), folder))
    adapted, module = lm.text_model.layers[1].self_attn.q_proj, "layers.1.self_attn.q_proj"
    update = adapted.lora_B["default"].weight @ adapted.lora_A["default"].weight * adapted.scaling["default"]
    expected = base.text_model.get_submodule(module).weight + update
    torch.testing.assert_close(merged.text_model.get_submodule(module).weight, expected, atol=1e-6, rtol=1e-6)
    assert is_plain(merged.text_model.get_submodule(module))
    # A later run may start from the adapter, quantised again.
    later = load_model(str(tmp_path / "adapter"), device="cpu", quantize=kind)
    assert not is_plain(later.text_model.get_submodule(module))
    logps, wanted = (completion_logprobs(m, batch_of(m))[0] for m in (later, merged))
    assert distance(logps, wanted) < {"nf4": 0.3, "int8": 0.05}[kind]


def test_what_cannot_be_quantised(omni_folder: Path, small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantize, "find_spec", lambda _: None)
    with pytest.raises(CheckpointError, match=r"nf4 needs bitsandbytes, which is not installed: pip install"):
        load_model(str(small_folder), quantize="nf4")
    with pytest.raises(CheckpointError, match="quantize must be one of nf4, int8; found 'int3'"):
        load_model(str(omni_folder), quantize="int3")
    monkeypatch.setattr(quantize, "find_spec", lambda name: SimpleNamespace(name=name))
    experts = omni_folder.parent / "experts"
    processor = omni_processor("qwen3-omni", ["A bell rings."] * 3)
    thinker("qwen3-omni", processor).save_pretrained(experts)
    processor.save_pretrained(str(experts))
    with pytest.raises(CheckpointError, match=r"mixture of experts.*leave lora\.quantize out"):
        load_model(str(experts), quantize="nf4")
