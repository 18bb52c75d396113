"""Low-rank adapters through peft, and merging them into the weights."""

from __future__ import annotations

from pathlib import Path

import torch

from sari_data.errors import CheckpointError, InputError
from sari_train.config import Lora
from sari_train.models.base import AudioLM
from sari_train.models.export import export_model
from sari_train.models.load import TINY, quiet_peft


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
    with torch.random.fork_rng(), quiet_peft():
        torch.manual_seed(seed)
        lm.adapter = get_peft_model(lm.model, config).eval()
    # Set afterwards: peft writes down the path as it was given, which another working folder does not know.
    config.base_model_name_or_path = _base_name(lm)
    lm.freeze_audio()


def merge(
    adapter: str,
    out: str | Path,
    *,
    layout: str = "model",
    full_from: str | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
) -> Path:
    """Write the base model with an adapter merged into its weights to ``out``, in Hugging Face format.

    Args:
        adapter: Folder of an adapter; for the layouts ``thinker`` and ``full`` a model's too.
        out: The folder to write.
        layout: ``model``, ``thinker`` or ``full`` (``models/export.py``).
        full_from: Where talker and vocoder come from under ``full``.
        dtype: Type of the weights.
        overwrite: Replace a folder that holds a model.

    Raises:
        CheckpointError: ``adapter`` is not an adapter's folder, or ``out`` exists.
        InputError: A layout that the architecture does not have.
    """
    folder = Path(adapter)
    if layout == "model" and not (folder / "adapter_config.json").is_file():
        raise CheckpointError(
            f"{folder} is not an adapter's folder (no adapter_config.json): give the output of a run with [sft.lora] "
            "or [grpo.lora]"
        )
    return export_model(str(folder), out, layout, full_from=full_from, dtype=dtype, overwrite=overwrite)


def _base_name(lm: AudioLM) -> str | None:
    if lm.path is None:
        return None
    if lm.path == str(TINY):
        return "tiny"
    return str(Path(lm.path).resolve()) if Path(lm.path).is_dir() else lm.path
