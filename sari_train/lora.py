"""Low-rank adapters through peft, and merging them into the weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sari_data.errors import CheckpointError, InputError
from sari_train.config import Lora
from sari_train.models.base import AudioLM
from sari_train.models.export import export_model
from sari_train.models.load import base_name
from sari_train.models.low_rank import LowRank, Start, calling_peft, fold

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
# How peft names the two matrices of a linear layer in its files.
_PREFIX, _A, _B = "base_model.model.", ".lora_A.weight", ".lora_B.weight"


def add_lora(lm: AudioLM, table: Lora, *, seed: int) -> None:
    """Freeze the model and put adapters into the text model's linear layers, in place.

    Raises:
        InputError: A target module that the text model does not have, or the model was loaded with an adapter that
            cannot be saved together with another.
    """
    from peft import LoraConfig, get_peft_model

    if lm.start is not None and lm.start.obstacle is not None:
        raise InputError(
            f"model {lm.name!r} is an adapter of a kind that cannot be one with the run's own ({lm.start.obstacle}): "
            "write the merged model with `sari-train merge` and start from that"
        )
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
    with torch.random.fork_rng(), calling_peft():
        torch.manual_seed(seed)
        lm.adapter = get_peft_model(lm.model, config).eval()
    # Set afterwards: peft writes down the path as it was given, which another working folder does not know.
    config.base_model_name_or_path = base_name(lm)
    lm.freeze_audio()


def fold_saved(folder: Path, start: Start) -> dict[str, Tensor]:
    """Make of a run's saved adapter one that also holds the adapter that the run started from, in place.

    What is written is against the model under both, and alone equals both one after the other. Every scale is 1 (alpha
    is the rank), also for loaders that know neither ``rank_pattern`` nor ``alpha_pattern``; the configuration's ``r``
    is the largest rank.

    Args:
        folder: Where peft has saved the run's own adapter, one of :func:`add_lora`.
        start: What the model was loaded with.

    Returns:
        The run's own adapter as it was saved, which it needs to go on.
    """
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    own = load_file(folder / WEIGHTS)
    scale = config["lora_alpha"] / config["r"]
    updates = {
        name: LowRank(tensor, own[f"{_PREFIX}{name}{_B}"], scale)
        for name, tensor in ((key.removeprefix(_PREFIX).removesuffix(_A), own[key]) for key in own if key.endswith(_A))
    }
    folded = fold(start.updates, updates)
    tensors = {f"{_PREFIX}{name}{_A}": update.a_RI.contiguous() for name, update in folded.items()}
    tensors |= {f"{_PREFIX}{name}{_B}": update.b_OR.contiguous() for name, update in folded.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    rank = max(update.rank for update in folded.values())
    lower = {name: update.rank for name, update in folded.items() if update.rank != rank}
    config |= {"r": rank, "lora_alpha": rank, "rank_pattern": lower, "alpha_pattern": lower}
    config["base_model_name_or_path"] = start.base
    if folded.keys() != updates.keys():
        config |= {"target_modules": list(folded), "exclude_modules": None}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return own


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
