"""What a model's head holds in memory while it makes log-probabilities or a loss (``kernels/linear_*.py``).

Shapes: N completion tokens, H hidden size, V vocabulary. All results are in bytes. The head computes in the weights'
own type, under autocast too.
"""

from __future__ import annotations

from dataclasses import dataclass

from sari_train.kernels import _rows
from sari_train.plan_text import FLOAT, TextSizes


@dataclass(frozen=True)
class HeadSizes(TextSizes):
    """A text model with its head.

    Attributes:
        tied: Head and embeddings are one weight.
    """

    tied: bool

    @property
    def head_trains(self) -> bool:
        """Whether the head's weight has a gradient."""
        return self.trained["embeddings" if self.tied else "head"] > 0

    @property
    def head_gradient(self) -> int:
        """Bytes of the head's gradient."""
        return self.head_weight if self.head_trains else 0

    @property
    def _low(self) -> int:
        """Bytes of an element of what is computed in low precision beside float32; 0 where nothing is."""
        return self.w if self.w < FLOAT else 0

    def head_scan(self, completion: int, *, with_entropy: bool, with_jacobian: bool) -> int:
        """The head without a gradient of its own: hidden states and a block of logits (``_rows.scan``)."""
        rows = max(1, min(completion, _rows.BLOCK_ROWS))
        columns = max(1, _rows.BLOCK_ELEMENTS // rows)
        total = completion * self.hidden * self.w + rows * min(self.vocabulary, columns) * (FLOAT + self._low)
        if with_entropy:  # exponentials of a slice, and their product with it
            total += 2 * FLOAT * rows * min(self.vocabulary, max(1, columns // 64))
        if with_jacobian:  # the expectation of the weights for all rows, and twice for those of a block
            total += FLOAT * self.hidden * (completion + 2 * rows)
        return total

    def head_loss(self, completion: int) -> int:
        """The head with its loss in the forward pass (``kernels/linear_loss.py``)."""
        if not self.head_trains:
            return self.head_scan(completion, with_entropy=True, with_jacobian=True)
        return self._head_chunks(completion, weight=True, with_entropy=True)

    def head_cross_entropy(self, completion: int) -> int:
        """The head with the cross entropy: a frozen one, too, makes whole rows of logits."""
        return self._head_chunks(completion, weight=self.head_trains, with_entropy=False)

    def head_apart(self, completion: int) -> tuple[int, int]:
        """The head of a loss that needs all log-probabilities first: in the forward pass, and in the backward pass."""
        forward = self.head_scan(completion, with_entropy=True, with_jacobian=not self.head_trains)
        if not self.head_trains:
            return forward, self.head_handed(completion)
        return forward, self._head_chunks(completion, weight=True, with_entropy=False)

    def _head_chunks(self, completion: int, *, weight: bool, with_entropy: bool) -> int:
        """Hidden states and their gradient, whole rows of logits, and the weight's gradient in float32."""
        h, v = self.hidden, self.vocabulary
        rows = max(1, min(completion, _rows.CHUNK_ELEMENTS // v))
        # Where products run in low precision: the chunk in it, or a product with what is added to float32.
        product = min(v, 16_384) * h * (self._low + (FLOAT if self.cpu else 0)) if self._low and weight else 0
        slices = 2 * FLOAT * max(1, rows // 64) * v if with_entropy else 0
        working = max(slices, rows * v * self._low, product)
        return 2 * completion * h * self.w + FLOAT * (rows * v + (v * h if weight else 0)) + working

    def head_handed(self, completion: int) -> int:
        """What the head's backward pass hands on: gradients of hidden states and weight, once more in low precision."""
        hidden = completion * self.hidden * self.w
        if not self.head_trains:
            return 2 * hidden  # the Jacobian, and its product
        return hidden + self.hidden * self.vocabulary * (FLOAT + self._low)
