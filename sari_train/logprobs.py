"""Log-probabilities of completions: the seam where faster kernels go.

The text model runs once over prompt and completion; the head runs only at the positions that predict
a completion token, in chunks, so that logits [tokens, V] never exist as a whole.

Shapes: B rows, T tokens, C completion tokens, N completion tokens of all rows, H hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sari_train.batch import Batch, embed, positions
from sari_train.models.base import AudioLM

# A chunk's logits take at most this many float32 values (64 MiB).
CHUNK_ELEMENTS = 2**24
BANNED_LOGIT = -1e9


def completion_logprobs(
    lm: AudioLM, batch: Batch, temperature: float = 1.0, *, banned: Sequence[int] = (), with_entropy: bool = True
) -> tuple[Tensor, Tensor]:
    """Return the log-probability of each completion token and the entropy of the distribution it came from.

    Args:
        lm: The model; gradients flow where they are enabled and weights want them.
        batch: Prompts with completions.
        temperature: Divides the logits, as it did in the rollout.
        banned: Token ids outside the distribution, as in the rollout.
        with_entropy: Compute the entropy (no gradient); zeros otherwise.

    Returns:
        (logps [B, C], entropy [B, C]), float32, 0 past a row's end.
    """
    assert temperature > 0, "log-probabilities need a temperature above 0"
    hidden_BTH = lm.backbone(embed(lm, batch), positions(batch), mask=None, cache=None)
    mask_BC = batch.completion_mask_BC
    rows_N, columns_N = mask_BC.nonzero(as_tuple=True)
    # The hidden state before a token predicts it: completion token c stands at prompt length + c.
    at_N = batch.prompt_lengths_B[rows_N] + columns_N
    hidden_NH = hidden_BTH[rows_N, at_N - 1]
    targets_N = batch.ids_BT[rows_N, at_N]
    logps_N, entropy_N = selected_logprobs(
        lm, hidden_NH, targets_N, temperature=temperature, banned=banned, with_entropy=with_entropy
    )
    empty = torch.zeros(mask_BC.shape, device=hidden_NH.device)
    return empty.index_put((rows_N, columns_N), logps_N), empty.index_put((rows_N, columns_N), entropy_N)


def selected_logprobs(
    lm: AudioLM,
    hidden_NH: Tensor,
    targets_N: Tensor,
    *,
    temperature: float = 1.0,
    banned: Sequence[int] = (),
    with_entropy: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return (log-probability of the target [N], entropy [N]) in float32 at each hidden state."""
    banned_ids = torch.tensor(list(banned), dtype=torch.long, device=hidden_NH.device)

    def chunk(hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        logits = lm.head(hidden).float()
        if temperature != 1.0:
            logits = logits / temperature
        if len(banned_ids):
            logits = logits.index_fill(-1, banned_ids, BANNED_LOGIT)
        logps = logits.log_softmax(-1)
        chosen = logps.gather(-1, targets[:, None])[:, 0]
        if not with_entropy:
            return chosen, torch.zeros_like(chosen)
        with torch.no_grad():
            entropy = -(logps.exp() * logps).sum(-1)
        return chosen, entropy

    size = max(1, CHUNK_ELEMENTS // lm.head_size)
    if len(hidden_NH) <= size:
        return chunk(hidden_NH, targets_N)
    parts = []
    for start in range(0, len(hidden_NH), size):
        part = hidden_NH[start : start + size], targets_N[start : start + size]
        # Recomputing a chunk in the backward pass keeps one chunk's logits alive instead of all.
        parts.append(checkpoint(chunk, *part, use_reentrant=False) if torch.is_grad_enabled() else chunk(*part))
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])
