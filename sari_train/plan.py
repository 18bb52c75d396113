"""How many bytes a training step takes, phase by phase, worked out from model and recipe; nothing is run.

The phases follow one another (``grpo.py``): prompts are prefilled and samples decoded (or a server gets the weights),
the reference scores them, the policy runs forward and backward in micro-batches, the optimizer steps. Of SFT the
last two are left. For each phase the moments that can be its highest are written down with what is alive then, and
the highest counts (``plan_rollout.py``, ``plan_learning.py``).

It is the worst case of a step after the first: every prompt as long as ``Load`` says, every completion
``max_new_tokens`` (of SFT the longest target), every row with an advantage, and on a CPU all batches that run side by
side (one for each of torch's threads) at their highest at once.

Not counted: loading the model, writing a checkpoint, what an allocator wastes, and buffers inside the libraries of
matrix products and of communication.
"""

from __future__ import annotations

from collections.abc import Sequence

from sari_train.config import Grpo, Sft, Training
from sari_train.models.clips import BoundedCache
from sari_train.plan_learning import chain_batches, micro_batches, optimizer_step, policy, reference, whole_weights
from sari_train.plan_parts import ONE, PARTS, Division, Load, Parts, Phase, Share, add, total_bytes
from sari_train.plan_rollout import decoding, evaluation_batches, prefill, rollout_batches, sending
from sari_train.plan_sizes import Sizes
from sari_train.plan_text import FLOAT

__all__ = ["PARTS", "Division", "Load", "Phase", "Share", "micro_batches", "peak", "plan_phases"]

Moments = list[tuple[str, list[Parts]]]


def plan_phases(
    sizes: Sizes, table: Training, load: Load, *, workers: int = 1, division: Division = ONE
) -> list[Phase]:
    """Return the phases of a step in their order.

    Args:
        sizes: The model.
        table: The recipe's table, ``[sft]`` or ``[grpo]``.
        load: What one question is.
        workers: Batches that run side by side: torch's threads on a CPU, 1 elsewhere.
        division: The processes that share the run; the bytes are those of one.
    """
    found: Moments
    if isinstance(table, Grpo):
        found = _grpo(sizes, table, load, workers, division)
    else:
        assert isinstance(table, Sft)
        shares, count = chain_batches(table, workers, division)
        found = [("policy", policy(sizes, table, load, shares, count, division))]
    found.append(("optimizer", optimizer_step(sizes, division)))
    if table.eval_every:
        asked = evaluation_batches(sizes, table, load, workers, division)
        moments = [*prefill(sizes, load, asked), decoding(sizes, load, asked, sampled=False)]
        found.append(("evaluation", _gathered(moments, sizes, division)))
    return [
        Phase(name, max((add([held, m]) for m in moments), key=total_bytes))
        for name, moments in found
        for held in [_held(sizes, table, load, division, name)]
    ]


def _grpo(sizes: Sizes, table: Grpo, load: Load, workers: int, division: Division) -> Moments:
    """The phases of a step of GRPO before the optimizer's."""
    found: Moments
    if table.rollout.engine == "vllm":
        found = [("sending", [sending(sizes, division)])]
    else:
        batches = rollout_batches(sizes, table, load, workers, division)
        found = [
            ("prefill", _gathered(prefill(sizes, load, batches), sizes, division)),
            ("decoding", _gathered([decoding(sizes, load, batches, sampled=True)], sizes, division)),
        ]
    micro, count = micro_batches(table, workers, division)
    if table.beta > 0:
        # Before the samples are compared: a group at a time.
        share = Share(table.group_size, 1) if table.kl_in == "reward" else micro[0]
        found.append(("reference", [reference(sizes, load, share, division)]))
    found.append(("policy", policy(sizes, table, load, micro, count, division)))
    return found


def peak(phases: Sequence[Phase]) -> Phase:
    """Return the phase with the most bytes."""
    return max(phases, key=lambda phase: phase.total)


def _gathered(moments: list[Parts], sizes: Sizes, division: Division) -> list[Parts]:
    """Passes without gradients have every weight whole beside the shards."""
    return [add([moment, {"gathered": whole_weights(sizes, division)}]) for moment in moments]


def _held(sizes: Sizes, table: Training, load: Load, division: Division, phase: str) -> Parts:
    """What is there all the time, of the reference's copy where it is offloaded only in its phase."""
    weights = sum(sizes.weights.values())
    bound = BoundedCache().max_bytes
    audio = sizes.audio
    states = min(bound, load.clips * load.audio * audio.states * sizes.w) if not sizes.trained["tower"] else 0
    frames = sum(audio.kept_frames(span) for span in load.heard)
    features = min(bound, load.clips * audio.bands * frames * FLOAT)
    # Under adapters the bare model is the reference, and beside all else there is a second copy, whole everywhere.
    copied = isinstance(table, Grpo) and table.beta > 0 and sizes.whole
    away = isinstance(table, Grpo) and table.reference_offload and not sizes.cpu and phase != "reference"
    return {
        "weights": division.shard(weights),
        "reference": weights if copied and not away else 0,
        "optimizer": division.shard(sizes.optimizer),
        "data": states + (features + load.corpus if sizes.cpu else 0),
        "process": load.process if sizes.cpu else 0,
    }
