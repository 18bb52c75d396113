"""Low-rank adapters through peft, and merging them into the weights."""

from __future__ import annotations

from pathlib import Path

import torch

from sari_data.errors import CheckpointError, InputError
from sari_train.config import Lora
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model


def add_lora(lm: AudioLM, table: Lora, *, seed: int) -> None:
    """Freeze the model and put adapters into the text model's linear layers, in place.

    Raises:
        InputError: A target module that the text model does not have.
    """
    from peft import LoraConfig, get_peft_model

    names = {name.rsplit(".", 1)[-1] for name, m in lm.text_model.named_modules() if isinstance(m, torch.nn.Linear)}
    unknown = [t for t in table.target_modules if t not in names]
    if unknown:
        raise InputError(
            f"lora.target_modules: {unknown} are not linear layers of the text model; it has {sorted(names)}"
        )
    prefix = next(name for name, module in lm.model.named_modules() if module is lm.text_model)
    config = LoraConfig(
        r=table.rank,
        lora_alpha=table.alpha,
        lora_dropout=0.0,
        target_modules=rf"{prefix}\..*\.({'|'.join(table.target_modules)})",
        base_model_name_or_path=_base_name(lm),
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        lm.adapter = get_peft_model(lm.model, config).eval()
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
    if target.exists() and any(target.iterdir()) and not overwrite:
        raise CheckpointError(f"{target} exists: give another folder or --overwrite")
    lm = load_model(str(folder), device="cpu")
    from sari_train.checkpoint import replace_folder, save_model

    replace_folder(target, lambda fresh: save_model(lm, fresh))
    return target


def _base_name(lm: AudioLM) -> str | None:
    if lm.path is None or lm.name == "tiny":
        return lm.name if lm.path is not None else None
    return str(Path(lm.path).resolve()) if Path(lm.path).is_dir() else lm.path
