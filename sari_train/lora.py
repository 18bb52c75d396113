"""Low-rank adapters through peft, and merging them into the weights."""

from __future__ import annotations

from pathlib import Path

import torch

from sari_data.errors import CheckpointError, InputError
from sari_train.config import Lora
from sari_train.models.base import AudioLM
from sari_train.models.load import TINY, load_model


def add_lora(lm: AudioLM, table: Lora, *, seed: int) -> None:
    """Freeze the model and put adapters into the text model's linear layers, in place.

    Raises:
        InputError: A target module that the text model does not have.
    """
    from peft import LoraConfig, get_peft_model

    if not table.target_modules:
        raise InputError("lora.target_modules is empty: name the text model's linear layers that get an adapter")
    names = {name.rsplit(".", 1)[-1] for name, m in lm.text_model.named_modules() if isinstance(m, torch.nn.Linear)}
    experts = any(".experts." in name for name, _ in lm.text_model.named_parameters())
    if experts:
        # Fused tensors. Under these names peft would adapt them all, at the price of a copy of each in every pass.
        names -= {"gate_proj", "up_proj", "down_proj"}
    unknown = [t for t in table.target_modules if t not in names]
    if unknown:
        note = "; its experts, which are fused tensors, take no adapter: leave these names out" if experts else ""
        raise InputError(
            f"lora.target_modules: {unknown} are not linear layers of the text model; it has {sorted(names)}{note}"
        )
    prefix = next(name for name, module in lm.model.named_modules() if module is lm.text_model)
    config = LoraConfig(
        r=table.rank,
        lora_alpha=table.alpha,
        lora_dropout=0.0,
        target_modules=rf"{prefix}\..*\.({'|'.join(table.target_modules)})",
        # Of a mixture of experts peft keeps the last names only, which the audio tower has too.
        exclude_modules=rf"(?!{prefix}\.).*" if experts else None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        lm.adapter = get_peft_model(lm.model, config).eval()
    # Set afterwards: peft writes down the path as it was given, which another working folder does not know.
    config.base_model_name_or_path = _base_name(lm)
    lm.freeze_audio()


def merge(adapter: str, out: str | Path, *, overwrite: bool = False) -> Path:
    """Write the base model with an adapter merged into its weights to ``out``, in Hugging Face format.

    Raises:
        CheckpointError: ``adapter`` is not an adapter's folder, or ``out`` exists.
    """
    folder, target = Path(adapter), Path(out)
    if not (folder / "adapter_config.json").is_file():
        raise CheckpointError(
            f"{folder} is not an adapter's folder (no adapter_config.json): give the output of a run with [sft.lora] "
            "or [grpo.lora]"
        )
    if target.exists() and not target.is_dir():
        raise CheckpointError(f"{target} is a file, but a model needs a folder: give another name")
    if target.is_dir() and any(target.iterdir()):
        if not overwrite:
            raise CheckpointError(f"{target} exists: give another folder or --overwrite")
        if not (target / "config.json").is_file() and not (target / "adapter_config.json").is_file():
            raise CheckpointError(f"{target} holds no model, so it is left alone: give another folder")
    lm = load_model(str(folder), device="cpu")
    from sari_train.checkpoint import replace_folder, save_model

    replace_folder(target, lambda fresh: save_model(lm, fresh))
    return target


def _base_name(lm: AudioLM) -> str | None:
    if lm.path is None:
        return None
    if lm.path == str(TINY):
        return "tiny"
    return str(Path(lm.path).resolve()) if Path(lm.path).is_dir() else lm.path
