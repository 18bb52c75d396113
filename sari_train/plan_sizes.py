"""What a model's layers hold in memory, from its sizes: text model, head and audio tower together.

The formulas are in ``plan_text.py``, ``plan_head.py`` and ``plan_audio.py``. All results are in bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sari_train.plan_audio import Tower
from sari_train.plan_head import HeadSizes


@dataclass(frozen=True)
class Sizes(HeadSizes):
    """A model's sizes, and what of it trains.

    Attributes:
        audio: The audio tower and the projector.
        context: Most tokens of a prompt with its completion.
        optimizer: Bytes of the optimizer's state.
        update: Bytes that the optimizer needs for a moment while it steps.
        largest: Bytes of the largest weight.
        merging: Bytes that it takes to merge an adapter into the largest weight that has one; 0 without adapters.
        split: Bytes of fused weights that a checkpoint holds in parts, for all layers.
    """

    audio: Tower
    context: int
    optimizer: int
    update: int
    largest: int
    merging: int
    split: int

    def audio_saved(self, clips: int, frames: int | Sequence[int], tokens: int, *, mixed: bool) -> int:
        """What the tower and the projector save.

        Args:
            clips: Number of clips.
            frames: True frames of a clip's only span, or of each of its spans.
            tokens: Audio tokens of a clip.
            mixed: Clips differ in length, so that some are padded where several run together.
        """
        projected = clips * tokens * self.audio.projected(self.c) if self.trained["projector"] else 0
        if not self.trained["tower"]:
            return projected
        return self.audio.saved(_spans(frames) * clips, self.w, self.c, mixed=mixed) + projected

    def audio_forward(self, clips: int, frames: int | Sequence[int], *, alone: bool) -> int:
        """Most that the tower needs without gradients; with ``alone`` one span after another."""
        spans = _spans(frames)
        if alone:
            return max(self.audio.forward([span], self.w) for span in spans)
        return self.audio.forward(spans * clips, self.w)

    def audio_backward(self, frames: int | Sequence[int], clips: int) -> int:
        """Beyond what was saved: the gradient of a layer's output and inner states."""
        return self.audio.backward(_spans(frames) * clips, self.w) if self.trained["tower"] else 0


def _spans(frames: int | Sequence[int]) -> list[int]:
    return [frames] if isinstance(frames, int) else list(frames)
