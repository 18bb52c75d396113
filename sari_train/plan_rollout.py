"""The planner's phases that sample: prompts are prefilled and tokens decoded here, or a server gets the weights.

Shapes: P prompts, B rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from sari_train.batch import Encoded
from sari_train.config import Grpo, Training
from sari_train.models.cache import FIRST_COLUMNS
from sari_train.models.clips import Clip, Span
from sari_train.plan_parts import Division, Load, Parts, Share, add
from sari_train.plan_sizes import Sizes
from sari_train.plan_text import FLOAT
from sari_train.responder import Room, pack
from sari_train.rollout import RolloutPrompt
from sari_train.rollouts.engine import ROLLOUT_ROWS
from sari_train.rollouts.transfer import SHARD_BYTES

# Rows of an evaluation's batch (evaluate.py), and of SFT's the keys and values in MiB (run.py).
EVALUATION_ROWS, EVALUATION_MIB = 128, 4096


def rollout_batches(sizes: Sizes, table: Grpo, load: Load, workers: int, division: Division) -> list[Share]:
    """The batches that are sampled side by side (``grpo.roll_out``)."""
    prompts = division.share(table.prompts_per_step)
    rows = min(ROLLOUT_ROWS, -(-prompts // workers) * table.group_size)
    room = _room(sizes, table.cache_mib // workers, table.max_new_tokens)
    return _side_by_side(_packed([table.group_size] * prompts, rows, room, load), workers)


def evaluation_batches(sizes: Sizes, table: Training, load: Load, workers: int, division: Division) -> list[Share]:
    """The batches of an evaluation that are decoded side by side (``evaluate.py``)."""
    mib = table.cache_mib if isinstance(table, Grpo) else EVALUATION_MIB
    room = _room(sizes, mib // workers, table.max_new_tokens)
    asked = [1] * division.share(table.eval_questions)
    return _side_by_side(_packed(asked, EVALUATION_ROWS, room, load), workers)


def _room(sizes: Sizes, mib: int, new_tokens: int) -> Room:
    return Room(mib * 2**20 // sizes.cache_bytes, min(new_tokens, sizes.context))


def _packed(samples: Sequence[int], rows: int, room: Room, load: Load) -> list[Share]:
    """Distribute prompts with so many samples each over batches, as the rollout does."""
    encoded = Encoded(Clip("", (Span(torch.empty(0), load.frames, load.audio),)), (0,) * load.prompt)
    prompts = [RolloutPrompt(str(at), encoded, range(count)) for at, count in enumerate(samples)]
    return [Share(sum(len(p.samples) for p in batch), len(batch)) for batch in pack(prompts, rows, room)]


def _side_by_side(shares: Sequence[Share], workers: int) -> list[Share]:
    """The largest batches, as many as run at once."""
    return sorted(shares, key=lambda share: (-share.prompts, -share.rows))[:workers]


def prefill(sizes: Sizes, load: Load, batches: Sequence[Share]) -> list[Parts]:
    """While features are made; while the tower runs; in the last whole layer; while prompts are laid side by side."""
    alone = not sizes.trained["tower"]
    # The weights for decoding are laid out once for all batches, before the first is prefilled.
    moments: list[list[Parts]] = [[{"decoder": sizes.prepacked}] for _ in range(3)]
    for share in batches:
        tokens = share.prompts * load.prompt
        token_bytes = sizes.cache_bytes // sizes.layers
        audio = share.prompts * load.audio * sizes.hidden * sizes.w
        states = share.prompts * load.audio * sizes.audio.states * sizes.w
        tower = states + sizes.audio_forward(share.prompts, load.heard, alone=alone)
        layer = sizes.text_forward(load.prompt, share.prompts, 0, adapters=True)
        moments[0].append({"audio": tower})
        moments[1].append({"audio": audio, "text": layer, "cache": tokens * token_bytes * (sizes.layers - 1)})
        # One layer's keys and values are there twice.
        moments[2].append({"audio": audio, "cache": tokens * token_bytes * (sizes.layers + 1)})
    extraction = {"audio": load.extraction if sizes.cpu else 0}
    return [extraction, *(add(moment) for moment in moments)]


def decoding(sizes: Sizes, load: Load, batches: Sequence[Share], *, sampled: bool) -> Parts:
    """The last tokens: all keys and values, and the logits of every row with what sampling makes of them."""
    return add([{"decoder": sizes.prepacked}, *(_decoded(sizes, load, share, sampled) for share in batches)])


def _decoded(sizes: Sizes, load: Load, share: Share, sampled: bool) -> Parts:
    columns = load.completion - 1  # the last token's are never made
    room = FIRST_COLUMNS
    while room < columns:
        room *= 2
    # Room that was never written to takes no memory of a CPU's.
    own = share.rows * (columns if sizes.cpu else room)
    # Logits without the banned tokens and their log-softmax; when sampling, also the probabilities, those in
    # float64, and their running sum in float64.
    logits = share.rows * sizes.vocabulary * FLOAT * (7 if sampled else 2)
    found = {"cache": (share.prompts * load.prompt + own) * sizes.cache_bytes, "head": logits}
    return found | {"text": sizes.unpacked}


def sending(sizes: Sizes, division: Division) -> Parts:
    """While a server gets the weights, one after another (``rollouts/transfer.py``).

    On a CPU they go over the disk: the tensors of one file, and the file as it is written. Else they are broadcast.
    """
    gathered = sizes.largest if division.sharded else 0
    # A checkpoint's layout holds a mixture's experts one by one: the fused weights are there twice.
    sent = sizes.merging + sizes.split
    if sizes.cpu:
        sent += 2 * min(sum(sizes.weights.values()), SHARD_BYTES + sizes.largest)
    return {"sent": sent, "gathered": gathered}
