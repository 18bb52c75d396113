"""Log-probabilities of completions: the seam where faster kernels go.

The text model runs once over every prompt and every completion: completions of one prompt (a GRPO
group) read its keys and values instead of running it again. The head runs only at the positions that
predict a completion token, in chunks, so that logits [tokens, V] never exist as a whole.

Shapes: P distinct prompts, B rows, T tokens, L longest prompt, C completion tokens, N completion tokens
of all rows, H hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.cache_utils import DynamicCache

from sari_train.batch import IGNORE, Batch, embed, positions
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
    mask_BC = batch.completion_mask_BC
    rows_N, columns_N = mask_BC.nonzero(as_tuple=True)
    at_N = batch.prompt_lengths_B[rows_N] + columns_N
    targets_N = batch.ids_BT[rows_N, at_N]
    if 2 * len(batch.first_rows_P) <= len(batch.ids_BT):  # below that, sharing saves less than its mask costs
        hidden_NH = shared_prefix_hidden(lm, batch)[rows_N, columns_N]
    else:
        # The hidden state before a token predicts it.
        hidden_BTH = lm.backbone(embed(lm, batch), positions(batch), mask=None, cache=None)
        hidden_NH = hidden_BTH[rows_N, at_N - 1]
    logps_N, entropy_N = selected_logprobs(
        lm, hidden_NH, targets_N, temperature=temperature, banned=banned, with_entropy=with_entropy
    )
    empty = torch.zeros(mask_BC.shape, device=hidden_NH.device)
    return empty.index_put((rows_N, columns_N), logps_N), empty.index_put((rows_N, columns_N), entropy_N)


def shared_prefix_hidden(lm: AudioLM, batch: Batch) -> Tensor:
    """Return the hidden states [B, C, H] that predict each completion token, running each prompt once.

    With G completions a prompt this runs P * L + B * C positions instead of B * (L + C). Gradients of all
    completions meet in the prompt's keys and values, so the result and its gradient are the same.
    """
    prompts = prompts_only(batch)
    width, longest = prompts.ids_BT.shape[1], int(batch.completion_lengths_B.max())
    cache = DynamicCache()
    hidden_PLH = lm.backbone(embed(lm, prompts), positions(prompts), mask=None, cache=cache)
    last_PH = hidden_PLH[torch.arange(len(hidden_PLH), device=hidden_PLH.device), prompts.prompt_lengths_B - 1]
    first_B1H = last_PH.index_select(0, batch.prompt_of_row_B)[:, None]
    if longest == 1:
        return first_B1H
    # Each row takes its own prompt's keys and values; index_select, so gradients flow back.
    cache.reorder_cache(batch.prompt_of_row_B)  # type: ignore[arg-type]
    # The last completion token predicts nothing that is wanted.
    steps = torch.arange(longest - 1, device=batch.ids_BT.device)
    at_BC = batch.prompt_lengths_B[:, None] + steps
    ids_BC = batch.ids_BT.gather(1, at_BC.clamp(max=batch.ids_BT.shape[1] - 1))
    prompt_B1L = (torch.arange(width, device=ids_BC.device) < batch.prompt_lengths_B[:, None])[:, None]
    causal_CC = steps[None, :] <= steps[:, None]
    mask_BCK = torch.cat([prompt_B1L.expand(-1, longest - 1, -1), causal_CC.expand(len(ids_BC), -1, -1)], dim=-1)
    rest_BCH = lm.backbone(lm.embed_tokens(ids_BC), at_BC, mask=mask_BCK[:, None], cache=cache)
    return torch.cat([first_B1H, rest_BCH], dim=1)


def prompts_only(batch: Batch) -> Batch:
    """Return the distinct prompts as a batch of their own, without completions."""
    first = batch.first_rows_P
    lengths = batch.prompt_lengths_B[first]
    width = int(lengths.max())
    return replace(
        batch,
        ids_BT=batch.ids_BT[first, :width],
        labels_BT=torch.full((len(first), width), IGNORE, device=first.device),
        prompt_lengths_B=lengths,
        completion_lengths_B=torch.zeros_like(lengths),
        clip_of_row_B=batch.clip_of_row_B[first],
        first_rows_P=torch.arange(len(first), device=first.device),
        prompt_of_row_B=torch.arange(len(first), device=first.device),
    )


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
