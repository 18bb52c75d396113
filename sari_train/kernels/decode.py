"""One decoding step of attention: many samples of a prompt read its keys and values once.

Each sample's query sees its prompt, whose keys all samples of that prompt share, and its own tokens so far.
The two parts are merged by their log-sum-exps, as in ``shared_prefix``. Beside the keys themselves the
prompt's part reads nothing twice: the samples' queries are stacked.

Shapes: P prompts, L columns of the prompts' keys, B rows (samples), G most samples of a prompt, h query heads, k key
heads, s = h / k, S tokens sampled so far, d head size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sari_train.kernels import stock


@dataclass(frozen=True)
class Sharing:
    """Which rows share which prompt.

    Attributes:
        slots_PG: A row for each place of each prompt; places that are free hold any row.
        places_B: The place of each row, counted through ``slots_PG``; ``None`` where that is the row's own number.
        mask_P11L: True at a prompt's own tokens, or ``None`` where every prompt fills all columns.
    """

    slots_PG: Tensor
    places_B: Tensor | None
    mask_P11L: Tensor | None

    @classmethod
    def of(cls, prompt_of_row: Sequence[int], lengths_P: Tensor, width: int) -> Sharing:
        """Arrange rows by prompt; every prompt has one row or more, and keys have ``width`` columns."""
        rows: list[list[int]] = [[] for _ in lengths_P]
        for row, prompt in enumerate(prompt_of_row):
            rows[prompt].append(row)
        most = max(len(r) for r in rows)
        slots = torch.tensor([r + r[:1] * (most - len(r)) for r in rows])
        places = torch.empty(len(prompt_of_row), dtype=torch.long)
        for prompt, some in enumerate(rows):
            places[some] = torch.arange(prompt * most, prompt * most + len(some))
        short = bool((lengths_P != width).any())
        mask = (torch.arange(width, device=lengths_P.device) < lengths_P[:, None])[:, None, None] if short else None
        in_order = slots.numel() == len(places) and bool((places == torch.arange(len(places))).all())
        return cls(slots.to(lengths_P.device), None if in_order else places.to(lengths_P.device), mask)


def decode_attention(
    q_Bhd: Tensor,
    prompt_k_PkLd: Tensor,
    prompt_v_PkLd: Tensor,
    own_k_BkSd: Tensor,
    own_v_BkSd: Tensor,
    sharing: Sharing,
    scale: float,
) -> Tensor:
    """Return the attention's output [B, h, d] of one new token a row; no gradients."""
    p, k, _, d = prompt_k_PkLd.shape
    h, places_B = q_Bhd.shape[1], sharing.places_B
    most = sharing.slots_PG.shape[1]
    stacked = q_Bhd if places_B is None else q_Bhd[sharing.slots_PG.flatten()]
    # [P, G, k, s, d] to [P, k, s G, d]
    stacked = stacked.view(p, most, k, h // k, d).permute(0, 2, 3, 1, 4)
    out, lse = stock.attend(
        stacked.reshape(p, k, -1, d), prompt_k_PkLd, prompt_v_PkLd, causal=False, scale=scale, mask=sharing.mask_P11L
    )
    out_Bhd = out.view(p, k, h // k, most, d).permute(0, 3, 1, 2, 4).reshape(p * most, h, d)
    lse_Bh = lse.reshape(p, k, h // k, most).permute(0, 3, 1, 2).reshape(p * most, h)
    if places_B is not None:
        out_Bhd, lse_Bh = out_Bhd[places_B], lse_Bh[places_B]
    if q_Bhd.dtype == lse.dtype:
        own_Bhd, own_Bh = _attend_own(q_Bhd, own_k_BkSd, own_v_BkSd, scale)
    else:  # in low precision scores must not be rounded before the softmax
        own, own_lse = stock.attend(q_Bhd[:, :, None], own_k_BkSd, own_v_BkSd, causal=False, scale=scale)
        own_Bhd, own_Bh = own[:, :, 0].to(lse.dtype), own_lse[:, :, 0]
    # exp(L_i - L) with L = logaddexp(L_1, L_2): for two parts, a sigmoid of their difference.
    share_Bh1 = (own_Bh - lse_Bh).sigmoid_()[..., None]
    return torch.lerp(out_Bhd.to(own_Bhd.dtype), own_Bhd, share_Bh1).to(q_Bhd.dtype)


def _attend_own(q_Bhd: Tensor, k_BkSd: Tensor, v_BkSd: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Attend from one query a row to all of its keys; two plain products, since there are few scores.

    Returns:
        (output [B, h, d], log-sum-exp [B, h]).
    """
    b, h, d = q_Bhd.shape
    k = k_BkSd.shape[1]
    scores_BksS = (q_Bhd * scale).view(b, k, h // k, d) @ k_BkSd.mT
    lse_Bks1 = scores_BksS.logsumexp(-1, keepdim=True)
    out_Bksd = scores_BksS.sub_(lse_Bks1).exp_() @ v_BkSd
    return out_Bksd.view(b, h, d), lse_Bks1.view(b, h)
