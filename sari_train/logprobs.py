"""Log-probabilities of completions: one packed pass through the text model, and no logits.

Every prompt runs once, whatever number of completions it has, and nothing is padded (``kernels/packing.py``,
``kernels/shared_prefix.py``). The head runs only at the positions that predict a completion token, and
logits [tokens, V] never exist (``kernels/linear_logprob.py``).

Shapes: P distinct prompts, B rows, C completion tokens, T packed tokens, K kept tokens, N completion
tokens of all rows, H hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from sari_train.batch import Batch, audio_vectors, place_audio
from sari_train.config import Training
from sari_train.kernels.linear_logprob import linear_logprob
from sari_train.kernels.linear_loss import linear_cross_entropy
from sari_train.kernels.packing import Packing, pack
from sari_train.models.base import AudioLM


def autocast(lm: AudioLM, table: Training) -> AbstractContextManager[object]:
    """Compute in the type that ``mixed_precision`` names; to be entered in the thread that computes."""
    return torch.autocast(lm.device.type, torch.bfloat16, enabled=table.mixed_precision == "bf16")


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
    hidden_NH = completion_hidden(lm, batch)
    targets_N = batch.ids_BT[rows_N, batch.prompt_lengths_B[rows_N] + columns_N]
    logps_N, entropy_N = selected_logprobs(
        lm, hidden_NH, targets_N, temperature=temperature, banned=banned, with_entropy=with_entropy
    )
    empty = torch.zeros(mask_BC.shape, dtype=logps_N.dtype, device=logps_N.device)
    return empty.index_put((rows_N, columns_N), logps_N), empty.index_put((rows_N, columns_N), entropy_N)


def completion_loss(lm: AudioLM, batch: Batch) -> Tensor:
    """Return the cross entropy of all completion tokens, summed; nothing else is learned from."""
    rows_N, columns_N = batch.completion_mask_BC.nonzero(as_tuple=True)
    targets_N = batch.ids_BT[rows_N, batch.prompt_lengths_B[rows_N] + columns_N]
    return selected_loss(lm, completion_hidden(lm, batch), targets_N)


def completion_hidden(lm: AudioLM, batch: Batch) -> Tensor:
    """Return the hidden states [N, H] that predict each completion token, row after row."""
    packing, rows_of_prompt = lay_out(batch)
    hidden_KH = lm.packed_backbone(packed_embeddings(lm, batch, rows_of_prompt), packing)
    predicting: list[Tensor] = [torch.empty(0)] * len(batch.ids_BT)
    for rows, found in zip(rows_of_prompt, packing.predicting(), strict=True):
        for row, ranks in zip(rows, found, strict=True):
            predicting[row] = ranks
    return hidden_KH[torch.cat(predicting).to(hidden_KH.device)]


def lay_out(batch: Batch) -> tuple[Packing, list[list[int]]]:
    """Return the packing of a batch, and which rows are completions of each prompt, in the packing's order."""
    rows_of_prompt: list[list[int]] = [[] for _ in batch.first_rows_P]
    for row, prompt in enumerate(batch.prompt_of_row_B.tolist()):
        rows_of_prompt[prompt].append(row)
    lengths = batch.completion_lengths_B.tolist()
    prompts = batch.prompt_lengths_B[batch.first_rows_P].tolist()
    completions = [[lengths[row] for row in rows] for rows in rows_of_prompt]
    return pack(prompts, completions, batch.ids_BT.device), rows_of_prompt


def packed_embeddings(lm: AudioLM, batch: Batch, rows_of_prompt: Sequence[Sequence[int]]) -> Tensor:
    """Return the input embeddings [T, H] of the packed sequence; each prompt's audio is in it once."""
    prompts, completions = batch.prompt_lengths_B.tolist(), batch.completion_lengths_B.tolist()
    parts, prompt_rows = [], []
    for rows in rows_of_prompt:
        size = prompts[rows[0]]
        parts.append(batch.ids_BT[rows[0], :size])
        parts += [batch.ids_BT[row, size : size + completions[row] - 1] for row in rows]
        prompt_rows.append(rows[0])
    ids_T = torch.cat(parts)
    return place_audio(lm, ids_T, audio_vectors(lm, batch, torch.tensor(prompt_rows, device=ids_T.device)))


def selected_logprobs(
    lm: AudioLM,
    hidden_NH: Tensor,
    targets_N: Tensor,
    *,
    temperature: float = 1.0,
    banned: Sequence[int] = (),
    with_entropy: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return (log-probability of the target [N], entropy [N]) at each hidden state, under the model's head."""
    weight, bias = lm.head_weights
    return linear_logprob(
        hidden_NH, weight, targets_N, bias_V=bias, temperature=temperature, banned=banned, with_entropy=with_entropy
    )


def selected_loss(lm: AudioLM, hidden_NH: Tensor, targets_N: Tensor) -> Tensor:
    """Return the cross entropy of the targets [N] at the hidden states, summed."""
    weight, bias = lm.head_weights
    return linear_cross_entropy(hidden_NH, weight, targets_N, bias_V=bias, reduction="sum")
