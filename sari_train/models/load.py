"""Load a model by name: the embedded ``tiny``, a folder, a LoRA adapter's folder, or a hub id."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from sari_data.errors import CheckpointError
from sari_data.hub import check_model_name
from sari_train.models.base import AudioLM
from sari_train.models.low_rank import Start, calling_peft, fold, keep_beside, read_updates
from sari_train.models.quantize import keep_layout, quantization

TINY = Path(__file__).resolve().parent.parent / "assets" / "tiny"
# Architecture named in config.json -> "module:class" of its adapter. A new architecture is a new file.
ADAPTERS = {
    "AudioFlamingo3ForConditionalGeneration": "sari_train.models.audio_flamingo3:AudioFlamingo3",
    "Qwen2AudioForConditionalGeneration": "sari_train.models.qwen2_audio:Qwen2Audio",
    "Qwen2_5OmniForConditionalGeneration": "sari_train.models.qwen2_5_omni:Qwen2_5Omni",
    "Qwen2_5OmniModel": "sari_train.models.qwen2_5_omni:Qwen2_5Omni",  # the same, as published
    "Qwen2_5OmniThinkerForConditionalGeneration": "sari_train.models.qwen2_5_omni:Qwen2_5Omni",
    "Qwen3OmniMoeForConditionalGeneration": "sari_train.models.qwen3_omni:Qwen3Omni",
    "Qwen3OmniMoeThinkerForConditionalGeneration": "sari_train.models.qwen3_omni:Qwen3Omni",
    "VoxtralForConditionalGeneration": "sari_train.models.voxtral:Voxtral",
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_model(
    path_or_name: str, *, dtype: str = "float32", device: str = "auto", quantize: str | None = None
) -> AudioLM:
    """Load model and processor.

    Args:
        path_or_name: ``tiny``, a folder in Hugging Face format, a folder with a LoRA adapter, or a hub id.
        dtype: Type that the weights are converted to: ``float32``, ``bfloat16`` or ``float16``.
        device: A torch device, or ``auto`` for a GPU where there is one.
        quantize: Hold the text model's linear layers in 4 bits (``nf4``) or 8 (``int8``), for adapters on top; such a
            model is not to be saved (``models/quantize.py``).

    An adapter's folder gives its base with the adapter merged into the weights; beside them, unrounded, where these
    are quantised. The model's ``start`` says what it was.

    Raises:
        CheckpointError: No such model, no processor, no weights, an architecture without an adapter, or one that
            cannot be quantised here.
    """
    if dtype not in DTYPES:
        raise CheckpointError(f"dtype must be one of {', '.join(DTYPES)}; found {dtype!r}: correct it")
    source = _locate(path_or_name)
    name = "tiny" if source == str(TINY) else Path(path_or_name).name
    if (Path(source) / "adapter_config.json").is_file():
        return _load_adapter(Path(source), name, dtype=dtype, device=device, quantize=quantize)
    adapter = _adapter_for(source)
    processor = _load_processor(source, adapter)
    model = _load_weights(source, adapter, dtype, pick_device(device), quantize)
    return adapter(model, processor, name=name, path=source)


def wrap_model(model: Any, processor: Any, *, name: str = "model", path: str | None = None) -> AudioLM:
    """Put the adapter of its architecture around a transformers model that is in memory already."""
    return _adapter_class(type(model).__name__, name)(model, processor, name=name, path=path)


def pick_device(device: str) -> torch.device:
    """Return the torch device for ``device``; ``auto`` is a GPU where there is one.

    Raises:
        CheckpointError: No such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise CheckpointError(f"device {device!r} is unknown to torch: use auto, cpu or cuda") from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise CheckpointError("device cuda was asked for, but torch finds no GPU: use auto or cpu")
    if found.type == "meta":
        raise CheckpointError("device meta holds no numbers: use auto, cpu or cuda")
    return found


@contextmanager
def no_bars() -> Iterator[None]:
    """Keep transformers' own progress bars and reports off the terminal while it loads or saves."""
    from transformers.utils import logging

    shown, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()


def _locate(path_or_name: str) -> str:
    if path_or_name == "tiny":
        if not (TINY / "config.json").is_file():
            raise CheckpointError(f"the embedded model is not in {TINY}: make it with `sari-train tiny`")
        return str(TINY)
    path = Path(path_or_name)
    if path.is_dir():
        if not (path / "config.json").is_file() and not (path / "adapter_config.json").is_file():
            if (path / "checkpoints" / "run.json").is_file():  # see run_folder.py
                raise CheckpointError(
                    f"run folder {path} has no model at its top: its run has no checkpoint yet, or is putting one "
                    "there now or was killed while it did: start the run again, or name one of its "
                    "checkpoints/step-* folders"
                )
            raise CheckpointError(f"model folder {path} has no config.json: give a folder in Hugging Face format")
        return str(path)
    check_model_name(path_or_name)
    return path_or_name


def _adapter_for(source: str) -> type[AudioLM]:
    from transformers import AutoConfig

    try:
        with no_bars():
            config = AutoConfig.from_pretrained(source)
    except Exception as error:  # transformers checks a config with errors of many types
        where = "" if Path(source).is_dir() else "is no folder here, and as a hub id it "
        raise CheckpointError(
            f"model {source!r} {where}cannot be opened ({_first_line(error)}): give 'tiny', a model folder or a hub id"
        ) from error
    architectures = getattr(config, "architectures", None)
    name = str(architectures[0]) if isinstance(architectures, list) and architectures else "none named"
    return _adapter_class(name, source)


def _adapter_class(architecture: str, source: str) -> type[AudioLM]:
    if architecture not in ADAPTERS:
        raise CheckpointError(
            f"model {source!r} has architecture {architecture}; supported are {', '.join(sorted(ADAPTERS))}: "
            "take one of those"
        )
    module, _, name = ADAPTERS[architecture].partition(":")
    found: type[AudioLM] = getattr(import_module(module), name)
    return found


def _load_processor(source: str, adapter: type[AudioLM] = AudioLM) -> Any:
    try:
        processor = adapter.load_processor(source)
    except Exception as error:  # whatever a damaged file leads to
        raise CheckpointError(
            f"model {source!r} has no processor that loads ({_first_line(error)}): save the processor, with its "
            "tokenizer, into the same folder"
        ) from error
    if getattr(processor, "feature_extractor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise CheckpointError(
            f"model {source!r} has no processor with a feature extractor and a tokenizer (found "
            f"{type(processor).__name__}): save the processor into the same folder"
        )
    return processor


def class_and_config(source: str, adapter: type[AudioLM]) -> tuple[Any, Any]:
    """Return the transformers class that is loaded from a folder or hub id, and its configuration."""
    import transformers

    with no_bars():
        config = transformers.AutoConfig.from_pretrained(source)
    cls = getattr(transformers, adapter.model_class or config.architectures[0])
    # A full Omni checkpoint's configuration holds the thinker's.
    return cls, config if isinstance(config, cls.config_class) else config.thinker_config


def _load_weights(source: str, adapter: type[AudioLM], dtype: str, device: torch.device, quantize: str | None) -> Any:
    cls, config = class_and_config(source, adapter)
    options: dict[str, Any] = {}
    if quantize is not None:
        options["quantization_config"] = quantization(quantize, config, source, DTYPES[dtype])
        options["device_map"] = {"": str(device)}
    try:
        with no_bars():
            # Shapes are compared below: transformers would print a table before its error.
            model, info = cls.from_pretrained(
                source,
                dtype=DTYPES[dtype],
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                use_safetensors=True,  # a pickle can run code when it is opened
                **options,
            )
    except Exception as error:  # whatever a damaged file leads to
        raise CheckpointError(
            f"the weights of model {source!r} cannot be loaded ({_first_line(error)}): give a complete folder with "
            "weights as safetensors; pickles (.bin, .pt) are never opened"
        ) from error
    if info["mismatched_keys"]:
        name, found, expected = sorted(info["mismatched_keys"])[0]
        raise CheckpointError(
            f"model {source!r} has {len(info['mismatched_keys'])} weights of other shapes than its config.json says "
            f"({name}: expected {list(expected)}, found {list(found)}): give a folder whose files belong together"
        )
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise CheckpointError(
            f"model {source!r} lacks {len(missing)} weights ({missing[0]}, ...): give a complete folder"
        )
    if quantize is None:
        return model.to(device)
    keep_layout(model)
    return model


def _load_adapter(folder: Path, name: str, *, dtype: str, device: str, quantize: str | None) -> AudioLM:
    """Load an adapter's base model, and merge the adapter into its weights in memory, or keep it beside them."""
    from peft import PeftModel

    name_of_base = _base_of_adapter(folder)
    if not (folder / "adapter_model.safetensors").is_file():
        raise CheckpointError(f"adapter {str(folder)!r} has no adapter_model.safetensors: give a complete folder")
    base = load_model(name_of_base, dtype=dtype, device=device, quantize=quantize)
    try:
        with calling_peft():
            wrapped = PeftModel.from_pretrained(base.model, str(folder))
        updates, obstacle = read_updates(wrapped)
        model = wrapped.merge_and_unload() if quantize is None else wrapped.unload()
    except Exception as error:  # whatever a damaged file leads to
        raise CheckpointError(
            f"adapter {str(folder)!r} cannot be put onto model {name_of_base!r} ({_first_line(error)}): give a "
            "complete folder, and the base that it was trained on"
        ) from error
    if quantize is None:
        model.requires_grad_(True)  # peft has frozen the base, whose weights may all train now
    else:
        if obstacle is not None:
            raise CheckpointError(
                f"adapter {str(folder)!r} cannot be kept beside weights in {quantize} ({obstacle}), and merged into "
                "them it would be rounded away: write the merged model with `sari-train merge` and start from that"
            )
        keep_beside(model, updates)
    lm = type(base)(model, base.processor, name=name, path=str(folder))
    before = base.start or Start(base_name(base), {})
    lm.start = Start(before.base, fold(before.updates, updates), before.obstacle or obstacle)
    return lm


def base_name(lm: AudioLM) -> str | None:
    """Return what an adapter's configuration is to call a model: ``tiny``, a folder's whole path, or a hub id."""
    if lm.path is None:
        return None
    if lm.path == str(TINY):
        return "tiny"
    return str(Path(lm.path).resolve()) if Path(lm.path).is_dir() else lm.path


def _base_of_adapter(folder: Path) -> str:
    """Return the model that an adapter's folder says it was trained on."""
    file = folder / "adapter_config.json"
    try:
        name_of_base = json.loads(file.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{file} is not an adapter's configuration, or names no base model ({_first_line(error)}): give a complete "
            "folder"
        ) from error
    if not isinstance(name_of_base, str) or Path(name_of_base).resolve() == folder.resolve():
        raise CheckpointError(
            f"{file} must name the adapter's base model in base_model_name_or_path; found {name_of_base!r}: correct it"
        )
    return name_of_base


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200] or type(error).__name__
