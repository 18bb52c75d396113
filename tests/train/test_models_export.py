"""What is written opens elsewhere: a full Omni model with its thinker replaced, the thinker alone, a merged adapter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import model_builders
import pytest
import torch
from model_builders import OMNI, full_omni, omni_processor
from safetensors import safe_open
from torch import Tensor
from train_helpers import make_clip

from sari_data.errors import CheckpointError, InputError, StorageError
from sari_train.batch import Example, collate
from sari_train.checkpoint import save_model
from sari_train.config import Lora
from sari_train.logprobs import completion_logprobs
from sari_train.lora import add_lora, merge
from sari_train.models import export
from sari_train.models.base import AudioLM
from sari_train.models.export import export_model
from sari_train.models.load import load_model, no_bars, wrap_model

FULL = {"qwen2.5-omni": "Qwen2_5OmniForConditionalGeneration", "qwen3-omni": "Qwen3OmniMoeForConditionalGeneration"}
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


@pytest.fixture(scope="module", params=OMNI)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def published(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full checkpoint of several files, as they are published; talker and vocoder included."""
    folder = tmp_path_factory.mktemp(kind) / "full"
    processor = omni_processor(kind, ["What do you hear? A bell rings, then a dog."] * 3)
    model = full_omni(kind, processor)
    with no_bars():
        model.save_pretrained(folder, max_shard_size="60KB")
    processor.save_pretrained(str(folder))
    torch.save({}, folder / "spk_dict.pt")
    config = json.loads((folder / "config.json").read_text())
    if kind == "qwen2.5-omni":
        config["architectures"] = ["Qwen2_5OmniModel"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text("the base's card")
    assert len(list(folder.glob("*.safetensors"))) > 3
    return folder


def logps(lm: AudioLM) -> Tensor:
    examples = [Example(make_clip(s, 0.3 + s), f"Question {s}?", f"<answer>{s}</answer>") for s in (0, 1, 2)]
    with torch.no_grad():
        return completion_logprobs(lm, collate(lm, examples))[0]


def tensors(folder: Path) -> dict[str, Tensor]:
    """All weights of a folder; each is in the file that the index names, if there is one."""
    found: dict[str, Tensor] = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            found |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            places = dict.fromkeys(opened.keys(), file.name)
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            weight_map = json.loads(index.read_text())["weight_map"]
            assert places.items() <= weight_map.items()
    return found


def opened(cls: str, folder: Path) -> Any:
    import transformers

    with no_bars():
        if cls == FULL["qwen2.5-omni"]:  # this class cannot say what it missed
            return getattr(transformers, cls).from_pretrained(folder).eval()
        model, info = getattr(transformers, cls).from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    return model.eval()


def changed(published: Path) -> AudioLM:
    """The thinker after some training."""
    lm = load_model(str(published), device="cpu")
    with torch.no_grad():
        for name, weight in lm.model.named_parameters():
            if "visual" not in name:
                weight.add_(0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(len(name))))
    return lm


def adapter(published: Path, folder: Path) -> Path:
    lm = load_model(str(published), device="cpu")
    add_lora(lm, Lora(rank=2, target_modules=ATTENTION), seed=0)
    with torch.no_grad():
        for name, weight in lm.model.named_parameters():
            if "lora_B" in name:
                weight.copy_(torch.linspace(-0.2, 0.2, weight.numel()).view_as(weight))
    save_model(lm, folder)
    return folder


def test_only_the_thinker_of_a_full_checkpoint_is_loaded(
    kind: str, published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    full = getattr(transformers, FULL[kind])
    monkeypatch.setattr(full, "__init__", lambda *_: pytest.fail("the whole model is built"))
    lm = load_model(str(published), device="cpu")
    weights = tensors(published)
    assert torch.equal(lm.head_weights[0], weights["thinker.lm_head.weight"])
    assert torch.equal(
        lm.text_model.layers[1].self_attn.q_proj.weight, weights["thinker.model.layers.1.self_attn.q_proj.weight"]
    )
    # Saved and loaded again, by its own class and by a thinker that was made in memory.
    save_model(lm, tmp_path / "loaded")
    lm.processor.save_pretrained(str(tmp_path / "made"))
    made = type(lm.model)(lm.model.config)
    made.load_state_dict(lm.model.state_dict())
    made.save_pretrained(tmp_path / "made")
    for name in ("loaded", "made"):
        again = load_model(str(tmp_path / name), device="cpu")
        assert torch.equal(logps(again), logps(lm))
        for file in ("tokenizer.json", "preprocessor_config.json", "chat_template.jinja"):
            assert (tmp_path / name / file).read_bytes() == (published / file).read_bytes()


def test_the_full_model_with_its_thinker_replaced(kind: str, published: Path, tmp_path: Path) -> None:
    lm = changed(published)
    before = tensors(published)
    out = export_model(lm, tmp_path / "out", "full")
    after = tensors(out)
    assert after.keys() == before.keys()
    others = [name for name in before if not name.startswith("thinker.")]
    assert len(others) > 20
    assert all(torch.equal(after[name], before[name]) for name in others)
    differing = [name for name in before if not torch.equal(after[name], before[name])]
    assert len(differing) > 50
    assert not [name for name in differing if ".visual." in name]
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == [FULL[kind]]
    assert {k: v for k, v in config.items() if k != "architectures"} == {
        k: v for k, v in json.loads((published / "config.json").read_text()).items() if k != "architectures"
    }
    # Plain transformers opens it, and its thinker is ours; the base's is not.
    whole, base = opened(FULL[kind], out), opened(FULL[kind], published)
    expected = logps(lm)
    torch.testing.assert_close(logps(wrap_model(whole.thinker, lm.processor)), expected, atol=1e-6, rtol=1e-6)
    assert (logps(wrap_model(base.thinker, lm.processor)) - expected).abs().max() > 1e-2
    assert not (out / "README.md").exists()
    # And so do we.
    assert torch.equal(logps(load_model(str(out), device="cpu")), expected)


def test_the_thinker_alone_as_vllm_takes_it(kind: str, published: Path, tmp_path: Path) -> None:
    lm = changed(published)
    out = export_model(lm, tmp_path / "out", "thinker")
    assert all(name.startswith("thinker.") for name in tensors(out))
    config = json.loads((out / "config.json").read_text())
    assert config["architectures"] == [FULL[kind]]
    assert config["thinker_config"]["text_config"]["hidden_size"] == 32
    assert config["thinker_config"]["vision_start_token_id"] == lm.model.config.vision_start_token_id
    model = opened(type(lm.model).__name__, out)
    torch.testing.assert_close(logps(wrap_model(model, lm.processor)), logps(lm), atol=1e-6, rtol=1e-6)
    if kind == "qwen3-omni":  # Qwen2.5-Omni's own class wants its speakers, and finds none
        assert not hasattr(opened(FULL[kind], out), "talker")
    assert torch.equal(logps(load_model(str(out), device="cpu")), logps(lm))


def test_an_adapter_merged_in_every_layout(
    published: Path, tmp_path: Path, run_command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = adapter(published, tmp_path / "adapter")
    expected = logps(load_model(str(folder), device="cpu"))
    assert (logps(load_model(str(published), device="cpu")) - expected).abs().max() > 1e-3
    monkeypatch.setattr(export, "SHARD", "60KB")
    for layout in ("model", "thinker", "full"):
        code, out, _ = run_command("sari-train", "merge", folder, tmp_path / layout, "--layout", layout, "--json")
        assert code == 0
        assert json.loads(out) == {"out": str(tmp_path / layout), "layout": layout}
        assert (tmp_path / layout / "model.safetensors.index.json").is_file() == (layout != "model")
        torch.testing.assert_close(logps(load_model(str(tmp_path / layout))), expected, atol=1e-6, rtol=1e-6)
    total = json.loads((tmp_path / "full" / "model.safetensors.index.json").read_text())["metadata"]["total_size"]
    assert total == sum(t.numel() * t.element_size() for t in tensors(tmp_path / "full").values())
    # A merged model does not know where it came from; one that is told does.
    with pytest.raises(CheckpointError, match=r"name it with --full-from"):
        export_model(str(tmp_path / "model"), tmp_path / "again", "full")
    merge(str(tmp_path / "model"), tmp_path / "again", layout="full", full_from=str(published), dtype="bfloat16")
    again, before = tensors(tmp_path / "again"), tensors(tmp_path / "full")
    for name, weight in before.items():
        assert torch.equal(again[name], weight.bfloat16() if name.startswith("thinker.") else weight)
    with pytest.raises(CheckpointError, match="is no full"):
        export_model(str(tmp_path / "model"), tmp_path / "x", "full", full_from=str(tmp_path / "model"))


def test_a_full_model_of_another_size(kind: str, published: Path, tmp_path: Path) -> None:
    processor = omni_processor(kind, ["Fewer words."] * 3)
    model = full_omni(kind, processor)
    with no_bars():
        model.save_pretrained(tmp_path / "other")
    processor.save_pretrained(str(tmp_path / "other"))
    with pytest.raises(CheckpointError, match=r"another than model 'full': 2 weights differ .*lm_head"):
        export_model(str(published), tmp_path / "out", "full", full_from=str(tmp_path / "other"))
    assert not (tmp_path / "out").exists()
    (tmp_path / "other" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="lacks safetensors files"):
        export_model(str(published), tmp_path / "out", "full", full_from=str(tmp_path / "other"))


def test_a_head_that_is_the_embeddings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_builders, "thinker_config", _tied(model_builders.thinker_config))
    processor = omni_processor("qwen2.5-omni", ["What do you hear? A bell rings."] * 3)
    with no_bars():
        full_omni("qwen2.5-omni", processor).save_pretrained(tmp_path / "base")
    processor.save_pretrained(str(tmp_path / "base"))
    torch.save({}, tmp_path / "base" / "spk_dict.pt")
    lm = changed(tmp_path / "base")
    assert lm.head_weights[0] is lm.model.get_input_embeddings().weight
    out = export_model(lm, tmp_path / "out", "full")
    whole = opened(FULL["qwen2.5-omni"], out)
    torch.testing.assert_close(logps(wrap_model(whole.thinker, lm.processor)), logps(lm), atol=1e-6, rtol=1e-6)


def _tied(config: Any) -> Any:
    return lambda *args: config(*args) | {"tie_word_embeddings": True}


def test_writing_that_fails_leaves_what_was_there(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = export_model(str(published), tmp_path / "out", "model")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(CheckpointError, match="exists: give another folder or --overwrite"):
        export_model(str(published), out, "full")

    def full_disk(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(export, "_copy_others", full_disk)
    with pytest.raises(StorageError, match="No space left"):
        export_model(str(published), out, "full", overwrite=True)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_has_no_such_layout(small_lm: AudioLM, small_folder: Path, tmp_path: Path) -> None:
    for layout in ("thinker", "full"):
        with pytest.raises(InputError, match=f"no part of a larger model, so there is no layout {layout}"):
            export_model(small_lm, tmp_path / "out", layout)
    with pytest.raises(InputError, match="layout must be one of model, thinker, full; found 'vllm'"):
        export_model(small_lm, tmp_path / "out", "vllm")
    with pytest.raises(CheckpointError, match="not an adapter's folder"):
        merge(str(small_folder), tmp_path / "out")
    lm = load_model(str(small_folder), device="cpu")
    add_lora(lm, Lora(rank=1), seed=0)
    with pytest.raises(InputError, match="save the adapter and give its folder"):
        export_model(lm, tmp_path / "out")
    assert export_model(small_lm, tmp_path / "out") == tmp_path / "out"
    assert torch.equal(logps(load_model(str(tmp_path / "out"))), logps(small_lm))


def test_a_run_and_what_is_read_from_are_never_replaced(
    small_lm: AudioLM, small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Merging an adapter into its own folder, or over a run, would delete the checkpoints there."""
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "lab" / "model"
    export_model(str(small_folder), model)
    before = sorted(p.name for p in model.iterdir())
    for out in (model, Path("lab/model"), Path("lab/../lab/model")):
        with pytest.raises(CheckpointError, match="which is read from"):
            export_model(str(model), out, overwrite=True)
    (tmp_path / "lab" / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"is or holds .*which is read from"):
        export_model(str(model), "lab", overwrite=True)
    run = tmp_path / "run"
    export_model(str(small_folder), run)
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match="run is a run's folder"):
        export_model(str(model), run, overwrite=True)
    assert sorted(p.name for p in model.iterdir()) == before
