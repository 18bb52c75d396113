"""Loading the text model's linear layers quantised by bitsandbytes, for adapters on top (QLoRA).

4 bits are NF4 with the blocks' scales quantised too (Dettmers et al. 2023, arXiv 2305.14314), 8 bits LLM.int8 (Dettmers
et al. 2022, arXiv 2208.07339). The audio tower, the projector, the embeddings, the norms and the head stay as they are.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

import torch

from sari_data.errors import CheckpointError

KINDS = ("nf4", "int8")
# A regular expression for what is left alone: whatever is not inside the text model's layers.
_OTHERS = r"(?!.*language_model\.(.*\.)?layers\.).*"


def quantization(kind: str, config: Any, source: str, dtype: torch.dtype) -> Any:
    """Return what ``from_pretrained`` takes as ``quantization_config``.

    Args:
        kind: ``nf4`` or ``int8``.
        config: The model's configuration.
        source: The model's name, for errors.
        dtype: Type that the layers compute in.

    Raises:
        CheckpointError: An unknown kind, no bitsandbytes, or a mixture of experts, whose fused weights it leaves as
            they are.
    """
    if kind not in KINDS:
        raise CheckpointError(f"quantize must be one of {', '.join(KINDS)}; found {kind!r}: correct it")
    if find_spec("bitsandbytes") is None:
        raise CheckpointError(
            f"lora.quantize = {kind} needs bitsandbytes, which is not installed: pip install 'sari-audio[quantize]', "
            "or leave it out"
        )
    if getattr(config.get_text_config(), "num_experts", 0):
        raise CheckpointError(
            f"model {source!r} is a mixture of experts, whose fused weights bitsandbytes does not quantise: leave "
            "lora.quantize out"
        )
    from transformers import BitsAndBytesConfig

    if kind == "int8":
        # It would say at every product of every layer that it computes in float16.
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=[_OTHERS])
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=[_OTHERS],
    )


def keep_layout(model: torch.nn.Module) -> None:
    """Stop 4-bit layers from rearranging their weights for inference.

    On processors with AVX-512 in bfloat16 they do so at the first pass without gradients, for good; passes after it
    (training, after a rollout) then get none through them.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            vars(module)["support_avx512bf16_for_cpu"] = False
