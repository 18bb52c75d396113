"""Loading models: what is not a model gives one clear sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from sari_data.errors import CheckpointError
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
    with pytest.raises(CheckpointError, match=r"no processor .*save the processor into the same folder"):
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
