"""Loading models: what is not a model gives one clear sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from sari_data.errors import CheckpointError, InputError
from sari_train.checkpoint import save_model
from sari_train.config import Lora
from sari_train.lora import add_lora
from sari_train.models import load
from sari_train.models.load import load_model


@pytest.fixture
def folder(small_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_folder, tmp_path / "model"))


def test_a_folder_loads_in_the_type_asked_for(small_folder: Path) -> None:
    lm = load_model(str(small_folder), device="cpu")
    assert (lm.dtype, lm.name, lm.path) == (torch.float32, small_folder.name, str(small_folder))
    assert not lm.model.training
    assert load_model(str(small_folder), dtype="bfloat16").dtype == torch.bfloat16


def test_weights_stored_as_float16_load_as_float32(folder: Path) -> None:
    lm = load_model(str(folder))
    lm.model.half().save_pretrained(folder)
    assert load_model(str(folder)).dtype == torch.float32


def test_no_processor(folder: Path) -> None:
    (folder / "processor_config.json").unlink()
    with pytest.raises(
        CheckpointError, match=r"no processor .*save the processor, with its tokenizer, into the same folder"
    ):
        load_model(str(folder))


def test_no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="no processor"):
        load_model(str(folder))


def test_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"weights of model .* cannot be loaded"):
        load_model(str(folder))


def test_corrupt_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(CheckpointError, match=r"weights of model .* cannot be loaded"):
        load_model(str(folder))


def test_weights_that_are_not_all_there(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights.pop(next(name for name in weights if "projector" in name))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="lacks 1 weight"):
        load_model(str(folder))


def test_an_architecture_without_an_adapter(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["WhisperForAudioClassification"]}))
    with pytest.raises(CheckpointError, match=r"WhisperForAudioClassification.*Qwen2AudioForConditionalGeneration"):
        load_model(str(folder))


def test_a_processor_of_another_model(folder: Path) -> None:
    config = json.loads((folder / "processor_config.json").read_text())
    config["feature_extractor"]["chunk_length"] = 10
    (folder / "processor_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="mel bands and 150 frames"):
        load_model(str(folder))


@pytest.mark.parametrize("name", ["nowhere", "./checkpoints/nothing", "a/b/c"])
def test_no_such_model(name: str) -> None:
    with pytest.raises(CheckpointError, match="neither 'tiny', nor a folder"):
        load_model(name)


def test_a_hub_id_that_cannot_be_reached() -> None:
    with pytest.raises(CheckpointError, match="checkpoints/sft"):
        load_model("checkpoints/sft")


def test_an_empty_folder_and_wrong_options(tmp_path: Path, small_folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_model(str(tmp_path))
    with pytest.raises(CheckpointError, match="dtype must be one of"):
        load_model(str(small_folder), dtype="int3")
    with pytest.raises(CheckpointError, match="unknown to torch"):
        load_model(str(small_folder), device="abacus")
    with pytest.raises(CheckpointError, match="device meta"):
        load_model(str(small_folder), device="meta")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": 3}, "none named"),
        ({"text_config": {"num_hidden_layers": "two"}}, "num_hidden_layers"),
        ({"text_config": {"hidden_size": 64}}, r"weights of other shapes .*expected \[.*64.*found \[.*32"),
        ({"text_config": {"vocab_size": 10}}, r"weights of model .* cannot be loaded"),
    ],
)
def test_a_configuration_that_does_not_fit(
    folder: Path, changes: dict[str, Any], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((folder / "config.json").read_text())
    for key, value in changes.items():
        config[key] = config[key] | value if isinstance(value, dict) else value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        load_model(str(folder))
    assert "LOAD REPORT" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "not an adapter's configuration"),
        ("[]", "not an adapter's configuration"),
        ("{}", "not an adapter's configuration"),
        ('{"base_model_name_or_path": null}', "must name the adapter's base model"),
        ('{"base_model_name_or_path": "SELF"}', "must name the adapter's base model"),
        ('{"base_model_name_or_path": "BASE", "peft_type": "NOPE"}', "cannot be put onto"),
        ('{"base_model_name_or_path": "BASE", "peft_type": "LORA", "target_modules": ["q_proj"]}', "cannot be put"),
    ],
)
def test_an_adapter_that_is_damaged(small_folder: Path, tmp_path: Path, config: str, message: str) -> None:
    config = config.replace("SELF", str(tmp_path)).replace("BASE", str(small_folder))
    (tmp_path / "adapter_config.json").write_text(config)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=message):
        load_model(str(tmp_path))
    if str(small_folder) in config:
        (tmp_path / "adapter_model.safetensors").unlink()
        with pytest.raises(CheckpointError, match="no adapter_model"):
            load_model(str(tmp_path))


def test_a_folder_called_tiny_is_not_the_embedded_model(
    small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(small_folder, tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    lm = load_model("./tiny")
    add_lora(lm, Lora(rank=1), seed=0)
    assert lm.adapter.peft_config["default"].base_model_name_or_path == str(tmp_path / "tiny")
    save_model(lm, tmp_path / "adapter")
    monkeypatch.chdir("/")
    assert load_model(str(tmp_path / "adapter")).name == "adapter"
    monkeypatch.setattr(load, "TINY", small_folder)
    embedded = load_model("tiny")
    add_lora(embedded, Lora(rank=1), seed=0)
    assert embedded.adapter.peft_config["default"].base_model_name_or_path == "tiny"


def test_adapters_need_somewhere_to_go(small_folder: Path) -> None:
    for modules, message in (((), "target_modules is empty"), (("lm_head",), "not linear layers")):
        with pytest.raises(InputError, match=message):
            add_lora(load_model(str(small_folder)), Lora(target_modules=modules), seed=0)
