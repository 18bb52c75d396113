"""The planner's phases that learn: the reference's pass, the policy's forward and backward, the optimizer's step.

For each the moments that can be its highest are written down with what is alive then.

Shapes: P prompts, B rows, T packed tokens, Q those of them that predict something, N completion tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import lcm

from sari_train.config import Grpo, Sft, Training
from sari_train.distributed import BUCKET_BYTES
from sari_train.losses import LOSSES
from sari_train.plan_parts import ONE, Division, Load, Parts, Share, add, total_bytes
from sari_train.plan_sizes import Sizes

# Layers whose weights are whole at once in shards: the one that runs, and the one that is gathered for the next turn.
LAYERS_AT_ONCE = 2


def micro_batches(table: Grpo, workers: int, division: Division = ONE) -> tuple[list[Share], int]:
    """Return the largest micro-batches, as many as run side by side, and how many there are in all."""
    total, g = division.share(table.prompts_per_step) * table.group_size, table.group_size
    size = table.micro_batch if table.loss == "bnpo" else max(1, min(table.micro_batch, -(-total // workers)))
    found = []
    # How micro-batches lie over the groups comes round again.
    for begin in range(0, min(total, lcm(size, g) * workers), size):
        end = min(begin + size, total)
        first, last = begin // g, (end - 1) // g
        single = 1 in (min(end, (first + 1) * g) - begin, end - max(begin, last * g))
        found.append(Share(end - begin, last - first + 1, single))
    side_by_side = 1 if division.sharded else workers
    return sorted(found, key=lambda share: (-share.rows, -share.prompts))[:side_by_side], -(-total // size)


def chain_batches(table: Sft, workers: int, division: Division = ONE) -> tuple[list[Share], int]:
    """Return the largest micro-batches of chains, as many as run side by side, and how many there are in all."""
    total = division.share(table.batch_size)
    count = -(-total // min(table.micro_batch, max(1, -(-total // workers))))
    rows = -(-total // count)
    side_by_side = 1 if division.sharded else min(workers, count)
    return [Share(rows, rows, single=True)] * side_by_side, count


def reference(sizes: Sizes, load: Load, share: Share, division: Division = ONE) -> Parts:
    """The reference's pass over some rows, one batch after another: in a layer, or in the head."""
    own_copy = sizes.whole
    after = share.rows * (load.completion - 1)
    layer = sizes.text_forward(load.prompt, share.prompts, after, adapters=False)
    tower = sizes.audio_forward(share.prompts, load.heard, alone=not own_copy)
    head = sizes.head_scan(share.rows * load.completion, with_entropy=False, with_jacobian=False)
    highest = max(({"text": layer}, {"audio": tower}, {"head": head}), key=total_bytes)
    # Weights that want a gradient, as those of a copy do, keep their cast copies to the end of a pass.
    casts = sum(sizes.casts.values()) if sizes.mixed and own_copy else sizes.layer_cast()
    return add([highest, {"text": casts, "gathered": 0 if own_copy else whole_weights(sizes, division)}])


def whole_weights(sizes: Sizes, division: Division) -> int:
    """Bytes of the weights that are gathered for passes without gradients, where they are in shards."""
    return sum(sizes.weights.values()) if division.sharded else 0


def policy(
    sizes: Sizes, table: Training, load: Load, shares: Sequence[Share], count: int, division: Division = ONE
) -> list[Parts]:
    """Forward and backward passes side by side, at each moment of :func:`_moments`.

    Args:
        sizes: The model.
        table: The recipe's table.
        load: What one question is.
        shares: The micro-batches that run side by side.
        count: Micro-batches in all.
        division: The processes.
    """
    every = sum(sizes.trained.values())
    side_by_side = len(shares)
    moments = []
    for at_once in zip(*(_moments(sizes, table, load, share) for share in shares), strict=True):
        parts = add(moment.parts for moment in at_once)
        if division.sharded:
            parts |= _in_shards(sizes, division)
        elif side_by_side > 1:
            # Beside the passes' own: the sum, and the last that was added to it.
            parts["gradients"] += sum(moment.arriving for moment in at_once) + every * min(2, count - side_by_side)
        elif count > 1:
            # From the second pass on all are there.
            parts["gradients"] = every + at_once[0].arriving
        else:
            parts["gradients"] += at_once[0].arriving
        moments.append(parts)
    return moments


def _in_shards(sizes: Sizes, division: Division) -> Parts:
    """An upper bound on what is gathered, and on gradients, at any moment of a pass with weights in shards.

    Whole are the weights of two layers, and all outside the layers; of their gradients one layer's and the others',
    each once more while they are summed.
    """
    layers = LAYERS_AT_ONCE / max(LAYERS_AT_ONCE, sizes.layers)
    rest = {name: size for name, size in sizes.weights.items() if name != "layers"}
    gathered = round(layers * sizes.weights["layers"]) + sum(rest.values())
    outside = sum(size for name, size in sizes.trained.items() if name != "layers")
    summed = max(outside + 2 * sizes.trained["layers"] // sizes.layers, 2 * outside)
    return {"gathered": gathered, "gradients": division.shard(sum(sizes.trained.values())) + summed}


def optimizer_step(sizes: Sizes, division: Division = ONE) -> list[Parts]:
    """While several processes' gradients are added up in buckets, and while the optimizer steps."""
    gradients = division.shard(sum(sizes.trained.values()))
    moments: list[Parts] = [{"gradients": gradients, "optimizer": sizes.update}]
    if division.count > 1 and not division.sharded:
        # A bucket ends with the weight that fills it; the last one is there until the next is.
        bucket = min(gradients, BUCKET_BYTES + sizes.largest)
        moments.append({"gradients": gradients + bucket + min(bucket, gradients - bucket)})
    return moments


@dataclass(frozen=True, slots=True)
class _Moment:
    """What one pass holds at one moment: ``gradients`` are those finished in this pass, ``arriving`` not yet."""

    parts: Parts
    arriving: int = 0


def _moments(sizes: Sizes, table: Training, load: Load, share: Share) -> list[_Moment]:
    """What one forward and backward pass holds, at the moments that can be its highest."""
    rows, prompts = share.rows, share.prompts
    after, completion = rows * (load.completion - 1), rows * load.completion
    tokens, queries = prompts * load.prompt + after, prompts + after
    heard = sizes.audio_saved(prompts, load.heard, load.audio, mixed=load.mixed and prompts > 1)
    if sizes.mixed:
        heard += sum(sizes.casts[place] for place in ("tower", "projector") if sizes.trained[place])
    below, again = _saved_below(sizes, tokens, queries, apart=not share.single, checkpointing=table.checkpointing)
    # A chain is one row, whose tokens attend with those of its prompt.
    chains = isinstance(table, Sft)
    lie = (load.prompt + load.completion - 1, prompts, 0) if chains else (load.prompt, prompts, after)

    text = below[-1] + sizes.final_norm_saved(queries)
    # What autocast has cast of weights that train, it keeps to the end of the forward pass.
    kept = sizes.casts["layers"] if sizes.mixed and sizes.whole and table.checkpointing else 0
    forward, *backward = _heads(sizes, table, completion)
    moments = [_Moment({"audio": heard, "text": text + kept, "head": forward})]
    moments += [_Moment({"audio": heard, "text": text, "head": head}) for head in backward]
    # The head's gradient: where it is the embeddings' too, it waits for theirs.
    done, waits = (0, sizes.head_gradient) if sizes.tied else (sizes.head_gradient, 0)
    for at in reversed(range(sizes.layers)):
        kept = queries if at + 1 == sizes.layers else tokens
        attended = tokens if share.single else kept
        working = again[at] + sizes.text_backward(*lie, kept, attended=attended)
        moments.append(_Moment({"audio": heard, "text": below[at] + working, "gradients": done}, waits))
        done += sizes.trained["layers"] // sizes.layers
    arriving = waits + (sizes.head_weight if sizes.trained["embeddings"] else 0)
    moments.append(_Moment({"audio": heard, "text": 2 * tokens * sizes.hidden * sizes.w, "gradients": done}, arriving))
    listening = heard + sizes.audio_backward(load.heard, prompts)
    moments.append(_Moment({"audio": listening, "gradients": done + sizes.trained["embeddings"]}))
    return moments


def _heads(sizes: Sizes, table: Training, completion: int) -> tuple[int, ...]:
    """The head's moments: with its loss; where it hands on its gradients."""
    handed = sizes.head_handed(completion)
    if not isinstance(table, Grpo):
        return sizes.head_cross_entropy(completion), handed
    together = LOSSES[table.loss].per_token or (table.updates_per_rollout == 1 and table.rollout.engine == "local")
    if together:
        return sizes.head_loss(completion), handed
    return (*sizes.head_apart(completion), handed)


def _saved_below(
    sizes: Sizes, tokens: int, queries: int, *, apart: bool, checkpointing: bool
) -> tuple[list[int], list[int]]:
    """What is saved up to each layer, that layer included, and what each layer makes again in the backward pass."""
    layers = [sizes.text_saved(tokens, tokens, first=at == 0) for at in range(sizes.layers - 1)]
    layers.append(sizes.text_saved(tokens, queries, first=sizes.layers == 1, last=True, apart=apart))
    layers = [size + sizes.layer_cast(first=at == 0) for at, size in enumerate(layers)]
    again = [0] * sizes.layers
    if checkpointing:
        layers, again = [tokens * sizes.hidden * sizes.w] * sizes.layers, layers
    shared = sizes.rotary(tokens) + tokens  # and the mask of the audio's places
    return [shared + total for total in accumulate(layers)], again
