"""The attention that the text models run with, plugged in through transformers' own interface.

Given a ``packing``, a layer's tokens are one packed sequence and completions share their prompt's keys and
values; else it is ``scaled_dot_product_attention`` as transformers calls it, whose masks are boolean and
where no mask means causal.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from sari_train.kernels.packing import Packing
from sari_train.kernels.shared_prefix import shared_prefix_attention

NAME = "sari"


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    packing: Packing | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend from [B, h, Q, d] to [B, k, T, d]; returns [B, Q, h, d]. B is 1 where there is a packing."""
    if packing is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
    assert scaling is not None
    return shared_prefix_attention(query[0], key[0], value[0], packing, scaling).transpose(0, 1)[None], None


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
