"""A model's sizes, read from its own modules.

For ``sari-train plan`` these are on the device ``meta``, built from the config alone. The model is frozen and adapted
by the code that training uses; so its weights are counted, not estimated.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sari_data.errors import CheckpointError
from sari_train.config import Training
from sari_train.lora import add_lora
from sari_train.models.audio_flamingo3 import AudioFlamingo3
from sari_train.models.base import AudioLM
from sari_train.models.load import DTYPES, _adapter_for, _base_of_adapter, _load_processor, _locate, class_and_config
from sari_train.models.omni import OmniThinker
from sari_train.models.qwen2_5_omni import Qwen2_5Omni
from sari_train.models.qwen2_audio import Qwen2Audio
from sari_train.models.qwen3_omni import Qwen3Omni
from sari_train.models.text_half import TextHalf
from sari_train.models.voxtral import Voxtral
from sari_train.models.whisper import WhisperHalf
from sari_train.optim import split_weights
from sari_train.plan_audio import ChunksTower, JoinedTower, ThinkerTower, Tower, WhisperTower, WindowsTower
from sari_train.plan_sizes import Sizes
from sari_train.plan_text import FLOAT, HALF, Experts

# The places of a model's weights; the last are those that rest, such as a thinker's eyes.
PLACES = ("tower", "projector", "embeddings", "layers", "head", "other")
# bitsandbytes: weights of a block, blocks whose scales are a block themselves, and entries of its tables.
NF4_BLOCK, NF4_SCALES, NF4_TABLES = 64, 256, 16 + 256
# Its AdamW in 8 bits: states of a block; smaller weights keep states in float32; entries of both tables.
ADAMW_BLOCK, ADAMW_LEAST, ADAMW_TABLES = 256, 4096, 2 * 256


def meta_model(name: str, table: Training) -> AudioLM:
    """Return a model without weights, frozen and adapted as training does it.

    Raises:
        CheckpointError: No such model, no processor, or an unknown architecture.
    """
    source = _locate(name)
    if (Path(source) / "adapter_config.json").is_file():
        return meta_model(_base_of_adapter(Path(source)), table)
    adapter = _adapter_for(source)
    processor = _load_processor(source, adapter)
    cls, config = class_and_config(source, adapter)
    try:
        with torch.device("meta"):
            model = cls(config)
    except (ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        raise CheckpointError(f"model {name!r} cannot be built from its config.json ({error}): correct it") from error
    lm = adapter(model.to(DTYPES[table.dtype]), processor, name=Path(name).name, path=name)
    lm.long_audio = table.long_audio
    if table.freeze_audio:
        lm.freeze_audio()
    if table.lora is not None:
        add_lora(lm, table.lora, seed=table.seed)
    return lm


def read_sizes(lm: AudioLM, table: Training, *, cpu: bool) -> Sizes:
    """Read the sizes of a model that is frozen and adapted as ``table`` says; its weights may be on ``meta``.

    Raises:
        CheckpointError: An architecture whose layers these formulas do not describe.
    """
    if not isinstance(lm, TextHalf):
        raise CheckpointError(
            f"model {lm.name!r} is a {type(lm).__name__}, whose layers the planner does not know: measure a step"
        )
    text = lm.text_config
    head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    places = _places(lm)
    named = dict(lm.model.named_parameters())
    quantize = table.lora.quantize if table.lora is not None else None
    products = _products(lm)
    w = lm.dtype.itemsize
    stored = {id(p): stored_bytes(p, quantize) for p in products} if quantize else {}
    optimizer, update = _optimizer(lm, table)
    inside = {name.split(".")[-4]: p for name, p in named.items() if ".lora_A." in name}
    adapter_w = next((p.element_size() for p in inside.values()), 0)
    adapted = [p for name, p in named.items() if name.endswith(".base_layer.weight")]
    most = max((_unpacked(p, quantize) for p in adapted), default=0)
    experts = _experts(lm)
    return Sizes(
        w=w,
        heads=text.num_attention_heads,
        head_size=head_size,
        hidden=text.hidden_size,
        inner=text.intermediate_size,
        queries=text.num_attention_heads * head_size,
        keys=text.num_key_value_heads * head_size,
        vocabulary=lm.head_size,
        layers=text.num_hidden_layers,
        head_norms=hasattr(_layers(lm)[0].self_attn, "q_norm"),
        experts=experts,
        audio=_tower(lm, cpu=cpu),
        context=lm.context_length,
        weights={
            place: sum(stored.get(id(p), p.numel() * p.element_size()) for p in weights)
            for place, weights in places.items()
        },
        trained={place: _bytes(p for p in weights if p.requires_grad) for place, weights in places.items()},
        optimizer=optimizer,
        update=update,
        tied=lm.head_weights[0] is lm.model.get_input_embeddings().weight,
        adapters=frozenset(inside),
        rank=table.lora.rank if table.lora is not None else 0,
        adapter_w=adapter_w,
        cpu=cpu,
        mixed=table.mixed_precision == "bf16" and lm.dtype == torch.float32,
        casts=_casts(lm),
        quantized=quantize is not None,
        unpacked=max((_unpacked(p, quantize) for p in products), default=0) * w if quantize else 0,
        largest=max(p.numel() * p.element_size() for p in named.values()),
        # The last one that was merged; the product of two matrices, that scaled; in the weight's type, and the sum.
        merging=most * (w + max(2 * adapter_w, adapter_w + w, 2 * w)),
        split=experts.weights * len(_layers(lm)) if experts is not None else 0,
    )


def _layers(lm: AudioLM) -> list[Any]:
    layers: list[Any] = list(lm.text_model.layers)  # type: ignore[arg-type]
    return layers


def _products(lm: AudioLM) -> list[Tensor]:
    """Weights of the text layers' linear layers, without adapters: what ``lora.quantize`` packs."""
    return [
        module.weight
        for layer in _layers(lm)
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear) and "lora_" not in name
    ]


def stored_bytes(weight: Tensor, quantize: str) -> int:
    """Bytes of a linear layer's weight [O, I] that bitsandbytes holds in 4 or 8 bits, with its scales and tables."""
    count = _unpacked(weight, quantize)
    if quantize == "int8":
        return int(count + FLOAT * weight.shape[0])
    blocks = -(-count // NF4_BLOCK)
    return -(-count // 2) + blocks + FLOAT * (-(-blocks // NF4_SCALES) + NF4_TABLES)


def _unpacked(weight: Tensor, quantize: str | None) -> int:
    """Elements of a weight; two are packed into a byte where it is held in 4 bits already."""
    return int(weight.numel()) * (2 if quantize == "nf4" and weight.dtype == torch.uint8 else 1)


def _experts(lm: AudioLM) -> Experts | None:
    sparse = [layer.mlp.experts for layer in _layers(lm) if hasattr(layer.mlp, "experts")]
    if not sparse:
        return None
    fused = sparse[0].gate_up_proj
    return Experts(
        count=fused.shape[0],
        chosen=int(lm.model.config.text_config.num_experts_per_tok),
        inner=fused.shape[1] // 2,
        weights=_bytes(sparse[0].parameters()),
        dense=len(sparse) < len(_layers(lm)),
    )


def _tower(lm: AudioLM, *, cpu: bool) -> Tower:
    audio, hidden = lm.model.config.audio_config, lm.model.config.text_config.hidden_size
    width = audio.d_model
    common = {
        "width": width,
        "inner": audio.encoder_ffn_dim,
        "layers": audio.encoder_layers,
        "heads": audio.encoder_attention_heads,
        "bands": audio.num_mel_bins,
    }
    # Narrow: these cast positions to the convolutions' type; on a GPU autocast gives norms in float32 all the same.
    if isinstance(lm, Qwen3Omni):
        return ChunksTower(
            **common,
            window=lm.chunk,
            states=width,
            projector=(width,) * 3,
            outputs=1,
            narrow=cpu,
            channels=audio.downsample_hidden_size,
            joined=audio.n_window_infer // lm.chunk,
            together=audio.conv_chunksize,
        )
    if isinstance(lm, Qwen2_5Omni):
        size = 2 * lm.tower.n_window
        return ThinkerTower(**common, window=size, states=width, projector=(width,), outputs=1, narrow=cpu)
    if isinstance(lm, Voxtral):
        joined = audio.intermediate_size
        made = (joined, hidden, hidden)
        return JoinedTower(**common, window=lm.window, states=joined, projector=made, narrow=cpu)
    if isinstance(lm, AudioFlamingo3):
        return WindowsTower(**common, window=lm.window, states=width, projector=(width, hidden, hidden))
    if isinstance(lm, Qwen2Audio):
        return WhisperTower(**common, window=lm.window, states=width, projector=(width,))
    raise CheckpointError(
        f"model {lm.name!r} is a {type(lm).__name__}, whose audio tower the planner does not know: measure a step"
    )


def _places(lm: AudioLM) -> dict[str, list[Tensor]]:
    embeddings, head = lm.model.get_input_embeddings().weight, lm.head_weights[0]
    inside = {id(p) for p in lm.text_model.parameters()}
    projecting = _projector(lm)
    found: dict[str, list[Tensor]] = {place: [] for place in PLACES}
    for name, weight in lm.model.named_parameters():  # a weight that is tied comes once
        if weight is embeddings:
            found["embeddings"].append(weight)
        elif weight is head:
            found["head"].append(weight)
        elif id(weight) in inside:
            found["layers"].append(weight)
        elif id(weight) in projecting:
            found["projector"].append(weight)
        else:
            found["tower" if "audio_tower" in name else "other"].append(weight)
    return found


def _projector(lm: AudioLM) -> set[int]:
    if isinstance(lm, OmniThinker):
        parts = [getattr(lm.tower, name) for name in lm.projectors]
    else:
        assert isinstance(lm, WhisperHalf)
        parts = [lm.model.model.multi_modal_projector]
    return {id(p) for part in parts for p in part.parameters()}


def _casts(lm: AudioLM) -> dict[str, int]:
    """Bytes of the copies in bfloat16 of all weights that enter a product; fused experts' stay as they are."""
    projecting = _projector(lm)
    found = dict.fromkeys(("tower", "projector", "layers"), 0)
    inside = {id(module) for layer in _layers(lm) for module in layer.modules()}
    for name, module in lm.model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            place = "projector" if id(module.weight) in projecting else "tower"
            if id(module) in inside or place == "projector" or "audio_tower" in name:
                found["layers" if id(module) in inside else place] += HALF * module.weight.numel()
    return found


def _optimizer(lm: AudioLM, table: Training) -> tuple[int, int]:
    """Bytes of the optimizer's state, in the weights' own types, and of one update (``optim.py``)."""
    inside, other = split_weights(lm)
    if table.optimizer == "adamw":
        return 2 * _bytes(inside + other), 0
    if table.optimizer == "adamw_8bit":
        return adamw_8bit_bytes(p.numel() for p in inside + other), 0
    most = max(inside, key=lambda p: p.numel(), default=None)
    update = 0
    if most is not None:
        # The update, two orthogonalised copies in bfloat16, and two products of the shorter side with itself.
        update = most.numel() * (most.element_size() + 2 * 2) + 2 * 2 * min(most.shape) ** 2
    return _bytes(inside) + 2 * _bytes(other), update


def adamw_8bit_bytes(counts: Iterable[int]) -> int:
    """Bytes of bitsandbytes' AdamW in 8 bits over weights of so many elements: two states, scales, and two tables."""
    total = FLOAT * ADAMW_TABLES
    for count in counts:
        small = count < ADAMW_LEAST
        total += 2 * (FLOAT * count if small else count + FLOAT * -(-count // ADAMW_BLOCK))
    return total


def _bytes(weights: Iterable[Tensor]) -> int:
    return sum(p.numel() * p.element_size() for p in weights)
