"""How many bytes a GRPO step takes, phase by phase, worked out from the model's sizes and the recipe; nothing is run.

The phases follow one another (``grpo.py``): prompts are prefilled, samples decoded, the reference scores them, the
policy runs forward and backward in micro-batches, the optimizer steps. For each phase the moments that can be
its highest are written down with what is alive then, and the highest counts.

It is the worst case of a step after the first: every prompt as long as ``Load`` says, every completion
``max_new_tokens``, every row with an advantage, and on a CPU all batches that run side by side (one for
each of torch's threads) at their highest at once.

Not counted: loading the model, writing a checkpoint, what an allocator wastes, and buffers inside the libraries of
matrix products.

Shapes: P prompts, B rows, T packed tokens, Q those of them that predict something, R those of completions, N
completion tokens. All results are in bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import lcm

import torch

from sari_train.batch import Encoded
from sari_train.config import Grpo
from sari_train.models.cache import FIRST_COLUMNS
from sari_train.models.clips import BoundedCache, Clip, Span
from sari_train.plan_sizes import FLOAT, Sizes
from sari_train.responder import Room, pack
from sari_train.rollout import RolloutPrompt
from sari_train.rollouts.engine import ROLLOUT_ROWS

# What memory is spent on, in the order of the table.
PARTS = (
    *("weights", "reference", "gradients", "optimizer", "audio", "text", "decoder"),
    *("cache", "head", "data", "process"),
)
# Rows of an evaluation's batch (evaluate.py).
EVALUATION_ROWS = 128

Parts = dict[str, int]


@dataclass(frozen=True, slots=True)
class Load:
    """How much one question is.

    Args:
        prompt: Tokens of a prompt, audio included.
        audio: Audio tokens of a clip.
        frames: Frames of a clip.
        completion: Tokens of a completion.
        mixed: Clips differ in length, so that some are padded where several run together.
        clips: Distinct clips that are met, whose features stay in a cache.
        corpus: Bytes of encoded audio that the questions hold.
        extraction: Bytes that the features of one clip take while they are made, on the CPU.
        process: Bytes of the process before it loads a model.
    """

    prompt: int
    audio: int
    frames: int
    completion: int
    mixed: bool = False
    clips: int = 1
    corpus: int = 0
    extraction: int = 0
    process: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """Rows that run together, the prompts that they come from, and whether some prompt has one row only."""

    rows: int
    prompts: int
    single: bool = False


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase at its highest: bytes by part."""

    name: str
    parts: Parts

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self.parts.values())


def plan_phases(sizes: Sizes, table: Grpo, load: Load, *, workers: int = 1) -> list[Phase]:
    """Return the phases of a step in their order.

    Args:
        sizes: The model.
        table: The recipe's table.
        load: What one question is.
        workers: Batches that run side by side: torch's threads on a CPU, 1 elsewhere.
    """
    held = _held(sizes, table, load)
    batches = _rollout_batches(sizes, table, load, workers)
    found = [
        ("prefill", _prefill(sizes, table, load, batches)),
        ("decoding", [_decoding(sizes, load, batches, sampled=True)]),
    ]
    micro, count = micro_batches(table, workers)
    if table.beta > 0:
        visits = {"reference": sum(sizes.weights.values())} if sizes.whole and _away(sizes, table) else {}
        found.append(("reference", [_sum([visits, _reference(sizes, load, micro[:1])])]))
    found.append(("policy", _policy(sizes, table, load, micro, count)))
    found.append(("optimizer", [{"gradients": sum(sizes.trained.values()), "optimizer": sizes.update}]))
    if table.eval_every:
        room = _room(sizes, table.cache_mib // workers, table.max_new_tokens)
        asked = _side_by_side(_packed([1] * table.eval_questions, EVALUATION_ROWS, room, load), workers)
        moments = [*_prefill(sizes, table, load, asked), _decoding(sizes, load, asked, sampled=False)]
        found.append(("evaluation", moments))
    return [Phase(name, max((_sum([held, m]) for m in moments), key=_total)) for name, moments in found]


def peak(phases: Sequence[Phase]) -> Phase:
    """Return the phase with the most bytes."""
    return max(phases, key=lambda phase: phase.total)


def _held(sizes: Sizes, table: Grpo, load: Load) -> Parts:
    """What is there in every phase."""
    weights = sum(sizes.weights.values())
    bound = BoundedCache().max_bytes
    states = min(bound, load.clips * load.audio * sizes.audio_width * sizes.w) if not sizes.trained["tower"] else 0
    features = min(bound, load.clips * sizes.mel_bands * sizes.kept_frames(load.frames) * FLOAT)
    return {
        "weights": weights,
        # Under adapters the bare model is the reference, and beside all else there is a second copy.
        "reference": weights if table.beta > 0 and sizes.whole and not _away(sizes, table) else 0,
        "optimizer": sizes.optimizer,
        "data": states + (features + load.corpus if sizes.cpu else 0),
        "process": load.process if sizes.cpu else 0,
    }


def _away(sizes: Sizes, table: Grpo) -> bool:
    """Whether the reference is in the device's memory only while it runs; on a CPU there is no other place."""
    return table.reference_offload and not sizes.cpu


# -- sampling ---------------------------------------------------------------------------------------------------


def _rollout_batches(sizes: Sizes, table: Grpo, load: Load, workers: int) -> list[Share]:
    """The batches that are sampled side by side (``grpo.roll_out``)."""
    rows = min(ROLLOUT_ROWS, -(-table.prompts_per_step // workers) * table.group_size)
    room = _room(sizes, table.cache_mib // workers, table.max_new_tokens)
    return _side_by_side(_packed([table.group_size] * table.prompts_per_step, rows, room, load), workers)


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


def _prefill(sizes: Sizes, table: Grpo, load: Load, batches: Sequence[Share]) -> list[Parts]:
    """While features are made; while the tower runs; in the last whole layer; while prompts are laid side by side."""
    alone = not sizes.trained["tower"]
    # The weights for decoding are laid out once for all batches, before the first is prefilled.
    moments: list[list[Parts]] = [[{"decoder": sizes.prepacked}] for _ in range(3)]
    for share in batches:
        tokens = share.prompts * load.prompt
        token_bytes = sizes.cache_bytes // sizes.layers
        audio = share.prompts * load.audio * sizes.hidden * sizes.w
        states = share.prompts * load.audio * sizes.audio_width * sizes.w
        tower = states + sizes.audio_forward(share.prompts, load.frames, alone=alone)
        layer = sizes.text_forward(load.prompt, share.prompts, 0, adapters=True)
        moments[0].append({"audio": tower})
        moments[1].append({"audio": audio, "text": layer, "cache": tokens * token_bytes * (sizes.layers - 1)})
        # One layer's keys and values are there twice.
        moments[2].append({"audio": audio, "cache": tokens * token_bytes * (sizes.layers + 1)})
    extraction = {"audio": load.extraction if sizes.cpu else 0}
    return [extraction, *(_sum(moment) for moment in moments)]


def _decoding(sizes: Sizes, load: Load, batches: Sequence[Share], *, sampled: bool) -> Parts:
    """The last tokens: all keys and values, and the logits of every row with what sampling makes of them."""
    return _sum([{"decoder": sizes.prepacked}, *(_decoded(sizes, load, share, sampled) for share in batches)])


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
    return {"cache": (share.prompts * load.prompt + own) * sizes.cache_bytes, "head": logits}


# -- learning ---------------------------------------------------------------------------------------------------


def micro_batches(table: Grpo, workers: int) -> tuple[list[Share], int]:
    """Return the largest micro-batches, as many as run side by side, and how many there are in all."""
    total, g = table.prompts_per_step * table.group_size, table.group_size
    size = table.micro_batch if table.loss == "bnpo" else max(1, min(table.micro_batch, -(-total // workers)))
    found = []
    # How micro-batches lie over the groups comes round again.
    for begin in range(0, min(total, lcm(size, g) * workers), size):
        end = min(begin + size, total)
        first, last = begin // g, (end - 1) // g
        single = 1 in (min(end, (first + 1) * g) - begin, end - max(begin, last * g))
        found.append(Share(end - begin, last - first + 1, single))
    return sorted(found, key=lambda share: (-share.rows, -share.prompts))[:workers], -(-total // size)


def _reference(sizes: Sizes, load: Load, shares: Sequence[Share]) -> Parts:
    """The reference's pass over a micro-batch, one after another: in a layer, or in the head."""
    (share,) = shares
    own_copy = sizes.whole
    after = share.rows * (load.completion - 1)
    layer = sizes.text_forward(load.prompt, share.prompts, after, adapters=False)
    tower = sizes.audio_forward(share.prompts, load.frames, alone=not own_copy)
    head = sizes.head_scan(share.rows * load.completion, with_entropy=False, with_jacobian=False)
    return max(({"text": layer}, {"audio": tower}, {"head": head}), key=_total)


def _policy(sizes: Sizes, table: Grpo, load: Load, shares: Sequence[Share], count: int) -> list[Parts]:
    """Forward and backward passes side by side, at each moment of :func:`_moments`."""
    every = sum(sizes.trained.values())
    side_by_side = len(shares)
    moments = []
    for at_once in zip(*(_moments(sizes, table, load, share) for share in shares), strict=True):
        parts = _sum(moment.parts for moment in at_once)
        if side_by_side > 1:
            # Beside the passes' own: the sum, and the last that was added to it.
            parts["gradients"] += sum(moment.arriving for moment in at_once) + every * min(2, count - side_by_side)
        elif count > 1:
            # From the second pass on all are there.
            parts["gradients"] = every + at_once[0].arriving
        else:
            parts["gradients"] += at_once[0].arriving
        moments.append(parts)
    return moments


@dataclass(frozen=True, slots=True)
class _Moment:
    """What one pass holds at one moment: ``gradients`` are those finished in this pass, ``arriving`` not yet."""

    parts: Parts
    arriving: int = 0


def _moments(sizes: Sizes, table: Grpo, load: Load, share: Share) -> list[_Moment]:
    """What one forward and backward pass holds, at the moments that can be its highest."""
    rows, prompts = share.rows, share.prompts
    after, completion = rows * (load.completion - 1), rows * load.completion
    tokens, queries = prompts * load.prompt + after, prompts + after
    heard = sizes.audio_saved(prompts, load.frames, load.audio, mixed=load.mixed and prompts > 1)
    below, again = _saved_below(sizes, tokens, queries, apart=not share.single, checkpointing=table.checkpointing)

    text = below[-1] + sizes.final_norm_saved(queries)
    moments = [
        _Moment({"audio": heard, "text": text, "head": sizes.head_loss(completion)}),
        _Moment({"audio": heard, "text": text, "head": sizes.head_handed(completion)}),
    ]
    # The head's gradient: where it is the embeddings' too, it waits for theirs.
    done, waits = (0, sizes.head_gradient) if sizes.tied else (sizes.head_gradient, 0)
    for at in reversed(range(sizes.layers)):
        kept = queries if at + 1 == sizes.layers else tokens
        working = again[at] + sizes.text_backward(load.prompt, prompts, after, kept)
        moments.append(_Moment({"audio": heard, "text": below[at] + working, "gradients": done}, waits))
        done += sizes.trained["layers"] // sizes.layers
    arriving = waits + (sizes.head_weight if sizes.trained["embeddings"] else 0)
    moments.append(_Moment({"audio": heard, "text": 2 * tokens * sizes.hidden * sizes.w, "gradients": done}, arriving))
    listening = heard + sizes.audio_backward(load.frames, prompts)
    moments.append(_Moment({"audio": listening, "gradients": done + sizes.trained["embeddings"]}))
    return moments


def _saved_below(
    sizes: Sizes, tokens: int, queries: int, *, apart: bool, checkpointing: bool
) -> tuple[list[int], list[int]]:
    """What is saved up to each layer, that layer included, and what each layer makes again in the backward pass."""
    layers = [sizes.text_saved(tokens, tokens, first=at == 0) for at in range(sizes.layers - 1)]
    layers.append(sizes.text_saved(tokens, queries, first=sizes.layers == 1, last=True, apart=apart))
    again = [0] * sizes.layers
    if checkpointing:
        layers, again = [tokens * sizes.hidden * sizes.w] * sizes.layers, layers
    shared = sizes.rotary(tokens) + tokens  # and the mask of the audio's places
    return [shared + total for total in accumulate(layers)], again


# -- sums -------------------------------------------------------------------------------------------------------


def _sum(many: Iterable[Parts]) -> Parts:
    total = dict.fromkeys(PARTS, 0)
    for parts in many:
        for name, size in parts.items():
            total[name] += size
    return total


def _total(parts: Parts) -> int:
    return sum(parts.values())
