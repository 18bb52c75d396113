"""Writing a model for others to open, in one of three layouts.

``model``
    What the adapter holds, as plain transformers opens it: for the Omni models the thinker's own class.
``thinker``
    The thinker of an Omni model alone, under the full model's configuration: what vLLM loads.
``full``
    The full Omni model with its thinker replaced; talker and vocoder are the base checkpoint's, bit by bit.

Weights of the base are copied file by file, so no more than one of its files is in memory beside the thinker.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from sari_data.errors import CheckpointError, InputError
from sari_train.models.base import AudioLM
from sari_train.models.load import _adapter_for, _base_of_adapter, _locate, load_model, no_bars
from sari_train.run_folder import is_run

Layout = Literal["model", "thinker", "full"]
LAYOUTS: tuple[str, ...] = get_args(Layout)
SHARD = "4GB"
PREFIX = "thinker."
_INDEX = "model.safetensors.index.json"
# Files of a base checkpoint that are not taken over: weights in other forms, and what speaks of the base itself.
_NOT_COPIED = ("*.safetensors", "*.index.json", "*.bin", "*.gguf", "*.pth", "config.json", "README*", "LICENSE*", ".*")


def export_model(
    source: str | AudioLM,
    out: str | Path,
    layout: str = "model",
    *,
    full_from: str | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
) -> Path:
    """Write a model (an adapter merged into its base) to a folder, which is replaced at once when all is written.

    Args:
        source: ``tiny``, a folder, an adapter's folder, a hub id, or a model in memory without adapters.
        out: The folder.
        layout: ``model``, ``thinker`` or ``full``.
        full_from: The full checkpoint that the rest comes from under ``full``, a folder or hub id; absent: the
            checkpoint that ``source`` is, or was trained on.
        dtype: Type of the weights, where ``source`` is a name.
        overwrite: Replace a folder that holds a model.

    Raises:
        CheckpointError: A model that cannot be loaded, ``out`` in use, or a full checkpoint whose thinker is another.
        InputError: A layout that the architecture does not have, or a model that cannot be written.
        StorageError: Writing failed.
    """
    from sari_train.checkpoint import replace_folder, save_model

    if layout not in LAYOUTS:
        raise InputError(f"layout must be one of {', '.join(LAYOUTS)}; found {layout!r}: correct it")
    target = check_target(out, overwrite=overwrite)
    check_apart(target, source if isinstance(source, str) else None, full_from)
    lm = load_model(source, dtype=dtype, device="cpu") if isinstance(source, str) else source
    check_apart(target, lm.path)
    if layout != "model" and lm.full_class is None:
        raise InputError(
            f"model {lm.name!r} is a {type(lm.model).__name__}, which is no part of a larger model, so there is no "
            f"layout {layout} of it: take layout model"
        )
    if lm.adapter is not None or getattr(lm.model, "quantization_method", None) is not None:
        raise InputError(
            f"model {lm.name!r} in memory has adapters or quantised weights: save the adapter and give its folder"
        )
    fill: Callable[[Path], object] = partial(save_model, lm)
    if layout == "thinker":
        fill = partial(_write_thinker, lm)
    elif layout == "full":
        base = _folder_of(full_from or _full_checkpoint(source if isinstance(source, str) else lm.path, lm))
        _check_full(base, lm)
        fill = partial(_write_full, lm, base)
    replace_folder(target, fill)
    return target


def check_target(out: str | Path, *, overwrite: bool) -> Path:
    """Return the folder to write a model to.

    Raises:
        CheckpointError: It is a file, or in use, or with ``overwrite`` holds something that is no model, or a run.
    """
    target = Path(out)
    if target.exists() and not target.is_dir():
        raise CheckpointError(f"{target} is a file, but a model needs a folder: give another name")
    if target.is_dir() and any(target.iterdir()):
        if not overwrite:
            raise CheckpointError(f"{target} exists: give another folder or --overwrite")
        if not (target / "config.json").is_file() and not (target / "adapter_config.json").is_file():
            raise CheckpointError(f"{target} holds no model, so it is left alone: give another folder")
        if is_run(target):  # its checkpoints and metrics would go with it
            raise CheckpointError(f"{target} is a run's folder, so it is left alone: give another folder")
    return target


def check_apart(target: Path, *sources: str | Path | None) -> None:
    """Refuse to replace a folder that a model is read from.

    Args:
        target: The folder that is replaced.
        *sources: Names of models: folders, hub ids or ``None``.

    Raises:
        CheckpointError: One of them is the target, or lies within it.
    """
    for source in sources:
        if source is not None and Path(source).is_dir() and Path(source).resolve().is_relative_to(target.resolve()):
            raise CheckpointError(f"{target} is or holds {source}, which is read from: give another folder to write")


def _write_thinker(lm: AudioLM, folder: Path) -> None:
    import transformers

    _write_shards(lm, folder)
    own = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert lm.full_class is not None
    config = {
        "architectures": [lm.full_class],
        "model_type": getattr(transformers, lm.full_class).config_class.model_type,
        "dtype": own.get("dtype"),
        "enable_audio_output": False,
        "thinker_config": own,
    }
    _write_json(folder / "config.json", config)
    lm.processor.save_pretrained(str(folder))


def _write_full(lm: AudioLM, base: Path, folder: Path) -> None:
    own = _write_shards(lm, folder)
    theirs = {name: shape for name, shape in _shapes(base).items() if name.startswith(PREFIX)}
    if lm.head_weights[0] is lm.model.get_input_embeddings().weight:
        theirs.pop(f"{PREFIX}lm_head.weight", None)  # the embeddings' own weight
        own.pop(f"{PREFIX}lm_head.weight", None)
    wrong = sorted(name for name in own.keys() | theirs.keys() if own.get(name) != theirs.get(name))
    if wrong:
        raise CheckpointError(
            f"the thinker in {base} is another than model {lm.name!r}: {len(wrong)} weights differ in name or shape "
            f"({wrong[0]}: expected {theirs.get(wrong[0])}, found {own.get(wrong[0])}): give the checkpoint that it "
            "was trained on"
        )
    _copy_others(base, folder)
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    _write_json(folder / "config.json", config | {"architectures": [lm.full_class]})
    (folder / "generation_config.json").unlink(missing_ok=True)  # the thinker's
    for file in base.iterdir():
        if file.is_file() and not any(file.match(pattern) for pattern in _NOT_COPIED):
            shutil.copyfile(file, folder / file.name)


def _write_shards(lm: AudioLM, folder: Path) -> dict[str, list[int]]:
    """Write the thinker's weights under the full model's names; returns their shapes."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with no_bars():
        lm.model.save_pretrained(str(folder), max_shard_size=SHARD)
    shapes: dict[str, list[int]] = {}
    for at, file in enumerate(sorted(folder.glob("*.safetensors"))):
        with safe_open(file, "pt") as opened:
            tensors = {_full_name(name): opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        file.unlink()
        save_file(tensors, folder / f"part-{at:05d}.safetensors", metadata={"format": "pt"})
        shapes |= {name: list(tensor.shape) for name, tensor in tensors.items()}
    _name_shards(folder)
    return shapes


def _full_name(name: str) -> str:
    # transformers writes the prefix where the weights were loaded with it.
    return name if name.startswith(PREFIX) else PREFIX + name


def _copy_others(base: Path, folder: Path) -> None:
    """Copy the weights that are not the thinker's, a file at a time."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    for at, file in enumerate(_weight_files(base)):
        with safe_open(file, "pt") as opened:
            names = [name for name in opened.keys() if not name.startswith(PREFIX)]  # noqa: SIM118
            tensors = {name: opened.get_tensor(name) for name in names}
        if tensors:
            save_file(tensors, folder / f"rest-{at:05d}.safetensors", metadata={"format": "pt"})
    _name_shards(folder)


def _name_shards(folder: Path) -> None:
    """Give all files of weights the usual names, and write the index that says what is where."""
    from safetensors import safe_open

    files = sorted(folder.glob("*.safetensors"))
    (folder / _INDEX).unlink(missing_ok=True)
    if len(files) == 1:
        files[0].rename(folder / "model.safetensors")
        return
    weights: dict[str, str] = {}
    size = 0
    # Through names that are not in use, since old and new ones may be alike.
    for at, file in enumerate(files):
        files[at] = file.rename(folder / f"{at:05d}.moving")
    for at, file in enumerate(files, 1):
        final = file.rename(folder / f"model-{at:05d}-of-{len(files):05d}.safetensors")
        with safe_open(final, "pt") as opened:
            weights |= dict.fromkeys(opened.keys(), final.name)
        size += _tensor_bytes(final)
    _write_json(folder / _INDEX, {"metadata": {"total_size": size}, "weight_map": dict(sorted(weights.items()))})


def _tensor_bytes(file: Path) -> int:
    """Size of a safetensors file without its header, whose own size is in its first eight bytes."""
    with file.open("rb") as stream:
        return file.stat().st_size - 8 - int.from_bytes(stream.read(8), "little")


def _weight_files(folder: Path) -> list[Path]:
    """Return a checkpoint's safetensors files: those of its index, or else all."""
    if (folder / _INDEX).is_file():
        names = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"].values()
        return [folder / name for name in sorted(set(names))]
    return sorted(folder.glob("*.safetensors"))


def _shapes(folder: Path) -> dict[str, list[int]]:
    from safetensors import safe_open

    found: dict[str, list[int]] = {}
    for file in _weight_files(folder):
        with safe_open(file, "pt") as opened:
            found |= {name: list(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    return found


def _check_full(base: Path, lm: AudioLM) -> None:
    files = _weight_files(base)
    missing = [file.name for file in files if not file.is_file()]
    if not files or missing:
        raise CheckpointError(f"{base} lacks {missing[0] if files else 'safetensors files'}: give a complete folder")
    if not _is_full(str(base), type(lm)):
        raise CheckpointError(f"{base} is no full {lm.full_class}: name one with --full-from")


def _is_full(name: str, adapter: type[AudioLM]) -> bool:
    import transformers

    if adapter.full_class is None or _adapter_for(name).full_class != adapter.full_class:
        return False
    with no_bars():
        config = transformers.AutoConfig.from_pretrained(name)
    return isinstance(config, getattr(transformers, adapter.full_class).config_class)


def _full_checkpoint(name: str | None, lm: AudioLM) -> str:
    """Follow adapters to the checkpoint that a model started from."""
    while name is not None and (Path(name) / "adapter_config.json").is_file():
        name = _base_of_adapter(Path(name))
    if name is None or not _is_full(_locate(name), type(lm)):
        raise CheckpointError(
            f"layout full needs the full model that talker and vocoder come from, and model {lm.name!r} does not say "
            "which: name it with --full-from"
        )
    return name


def _folder_of(name: str) -> Path:
    """Return a checkpoint's folder; one on the hub is fetched."""
    source = Path(_locate(name))
    if source.is_dir():
        return source
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name))
    except Exception as error:  # of many types, the network's among them
        raise CheckpointError(f"checkpoint {name!r} cannot be fetched ({error}): give a folder") from error


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
