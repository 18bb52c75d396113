"""What a model's layers hold in memory, from its sizes: what autograd saves of them, and what they need for a moment.

Each formula lists tensors, in the order in which the layer makes them, so that it can be held against the layer's code.
``w`` is the weights' element size; norms and log-sum-exps are float32 whatever it is. A frozen linear layer
saves nothing of its input; one with an adapter saves it in the adapter's type, once where that is the
weights' own type and once for each adapter otherwise.

Shapes: T packed tokens, Q tokens that have queries (in the last layer the kept ones), R tokens of completions in the
sequence, N completion tokens, H hidden size, F inner size of the MLP, A = heads x head size, K = key heads x head
size, V vocabulary, D audio width, L layers. All results are in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sari_train.kernels import _rows, packing, prepacked, stock
from sari_train.models.base import ENCODED_FRAMES
from sari_train.models.whisper import MARGIN

FLOAT = 4  # bytes of float32
# Blocks of scores that are alive at once in the attention that runs off the CPU (kernels/stock.py).
SCORE_BLOCKS, SCORE_BLOCKS_BACKWARD = 3, 4


@dataclass(frozen=True)
class Sizes:
    """A model's sizes, and what of it trains.

    Attributes:
        w: Bytes of an element of the weights.
        heads: Query heads of the text model.
        head_size: Its head size d.
        hidden, inner, queries, keys, vocabulary, layers: H, F, A, K, V and L of the text model.
        audio_width, audio_inner, audio_layers, audio_heads, mel_bands: Of the audio tower.
        window: Most frames that it hears.
        context: Most tokens of a prompt with its completion.
        weights: Bytes of the weights in tower, projector, embeddings, layers and head, each weight once.
        trained: Bytes of those that train, and so of their gradients.
        optimizer: Bytes of the optimizer's state.
        update: Bytes that the optimizer needs for a moment while it steps.
        tied: Head and embeddings are one weight.
        adapters: Names of the linear layers with an adapter.
        rank: The adapters' rank; 0 without.
        adapter_w: Bytes of an element of the adapters.
        cpu: The device is a CPU, where attention runs in one operator that keeps no scores.
    """

    w: int
    heads: int
    head_size: int
    hidden: int
    inner: int
    queries: int
    keys: int
    vocabulary: int
    layers: int
    audio_width: int
    audio_inner: int
    audio_layers: int
    audio_heads: int
    mel_bands: int
    window: int
    context: int
    weights: Mapping[str, int]
    trained: Mapping[str, int]
    optimizer: int
    update: int
    tied: bool
    adapters: frozenset[str]
    rank: int
    adapter_w: int
    cpu: bool

    @property
    def whole(self) -> bool:
        """Whether all of the text model trains, not adapters only."""
        return not self.adapters

    @property
    def cache_bytes(self) -> int:
        """Keys and values of one token, over all layers."""
        return 2 * self.keys * self.w * self.layers

    # -- what autograd saves ------------------------------------------------------------------------------------

    def _input(self, width: int, *names: str) -> int:
        """Bytes a token of the input that linear layers save, which all of them read."""
        if self.whole:
            return width * self.w
        copies = len(self.adapters.intersection(names))
        return width * self.adapter_w * (min(copies, 1) if self.adapter_w == self.w else copies)

    def _ranks(self, *names: str) -> int:
        """Bytes a token between the two matrices of adapters."""
        return len(self.adapters.intersection(names)) * self.rank * self.adapter_w

    def _norm(self) -> int:
        """Bytes a token that a norm saves: its input, and one number in float32."""
        return self.hidden * self.w + FLOAT

    def _output(self, *, last: bool) -> int:
        """Bytes a token of the attention's output in front of the last projection, where that is another tensor."""
        if self.whole:
            return self.queries * self.w if last else 0
        return self._input(self.queries, "o_proj") if last or self.adapter_w != self.w else 0

    def text_saved(
        self, tokens: int, queries: int, *, first: bool = False, last: bool = False, apart: bool = True
    ) -> int:
        """What one text layer saves.

        Args:
            tokens: Tokens with keys and values, T.
            queries: Tokens with queries, Q.
            first: It is the first layer; with adapters no gradient reaches its input.
            last: It is the last layer, behind whose attention only the kept tokens are left.
            apart: The last layer takes its queries' input apart, and attends with them only.
        """
        h, w = self.hidden, self.w
        of_keys = 2 * self.keys * w + self._ranks("k_proj", "v_proj")
        if self.whole or not first:
            of_keys += self._norm()
        of_attended = 2 * self.queries * w + FLOAT * self.heads  # q, output, log-sum-exps
        of_queries = self._output(last=last and not apart) + self._ranks("q_proj", "o_proj")
        if last and apart:
            of_keys += self._input(h, "k_proj", "v_proj")
            of_queries += self._input(h, "q_proj") + 2 * self.head_size * w  # cosines and sines of the kept tokens
        else:
            of_keys += self._input(h, "q_proj", "k_proj", "v_proj")
        attended = queries if apart else tokens
        return tokens * of_keys + attended * of_attended + queries * of_queries + self.mlp_saved(queries)

    def mlp_saved(self, queries: int) -> int:
        """What the second half of a text layer saves, its norm included."""
        # Gate and up; where the last projection has an adapter, SiLU and the product with its input too.
        inner = 2 * self.inner * self.w
        if "down_proj" in self.adapters:
            inner += self.inner * self.w + self._input(self.inner, "down_proj")
        inputs = self._input(self.hidden, "gate_proj", "up_proj")
        return queries * (self._norm() + inputs + inner + self._ranks("gate_proj", "up_proj", "down_proj"))

    def rotary(self, tokens: int) -> int:
        """Cosines and sines, for all layers."""
        return 2 * self.head_size * self.w * tokens

    def final_norm_saved(self, queries: int) -> int:
        """What the norm after the last layer saves."""
        return self._norm() * queries

    @property
    def head_weight(self) -> int:
        """Bytes of the head's weight, and of the embeddings'."""
        return self.hidden * self.vocabulary * self.w

    @property
    def head_trains(self) -> bool:
        """Whether the head's weight has a gradient."""
        return self.trained["embeddings" if self.tied else "head"] > 0

    @property
    def head_gradient(self) -> int:
        """Bytes of the head's gradient."""
        return self.head_weight if self.head_trains else 0

    def audio_saved(self, clips: int, frames: int, tokens: int, *, mixed: bool) -> int:
        """What the tower and the projector save of ``clips`` clips of ``frames`` frames and ``tokens`` audio tokens."""
        d, w = self.audio_width, self.w
        projected = clips * tokens * d * w if self.trained["projector"] else 0
        if not self.trained["tower"]:
            return projected
        padded, places = self.kept_frames(frames), positions(frames)
        # Features; the first convolution and its GELU; the second.
        convolved = self.mel_bands * padded + 2 * d * padded + d * (padded // 2)
        norms = 2 * (d + d) * w + 4 * FLOAT  # of each: input, output; mean and deviation
        attention = 5 * d * w + FLOAT * self.audio_heads  # q, k, v, output, that once more head beside head
        layer = norms + attention + 2 * self.audio_inner * w
        mask = places * w if mixed else 0  # additive, made in each layer
        pooled = d * w + d * w // 2  # the pooling's input and output
        return clips * (convolved * w + places * (self.audio_layers * (layer + mask) + pooled)) + projected

    # -- what is needed for a moment ----------------------------------------------------------------------------

    def text_forward(self, prompt: int, prompts: int, completion: int, *, adapters: bool) -> int:
        """Most that one layer needs without gradients, with the sequence's embeddings and the layer's input.

        Args:
            prompt: Tokens of one prompt.
            prompts: Number of prompts.
            completion: Tokens of completions behind them, R.
            adapters: The adapters take part.
        """
        h, w, a, k = self.hidden, self.w, self.queries, self.keys
        tokens = prompts * prompt + completion
        # Residual, normed; SiLU in the gate's place and up; through an adapter also their product.
        mlp = 2 * h * w + (3 if "down_proj" in self.adapters else 2) * self.inner * w
        if adapters and self.adapters & {"gate_proj", "up_proj"}:
            # SiLU, up, what the adapter adds to it, and the sum; where the types differ, copies of input and up too.
            cast = self.adapter_w if self.adapter_w != w else 0
            added = 2 * (w + max(w, self.adapter_w)) + (cast if self.cpu else 0)
            mlp = max(mlp, 2 * h * w + cast * h + added * self.inner)
        attention = tokens * ((h + 2 * a + 2 * k) * w + FLOAT * self.heads)
        # Queries, keys, values and output of a padded call; of the completions also what the output is merged into,
        # then both parts as they are, and scaled and added in float32.
        padded = self._prompts_padded(prompt, prompts) * (2 * a + 2 * k) * w
        merged = completion * max((3 * a + 2 * k) * w, a * (2 * w + 3 * FLOAT))
        scores = self._scores(prompt, prompts, completion, SCORE_BLOCKS)
        within = max(tokens * mlp, attention + max(padded, merged, prompt * a * w) + scores)
        return tokens * 2 * h * w + self.rotary(tokens) + within

    def text_backward(self, prompt: int, prompts: int, completion: int, queries: int) -> int:
        """Most that one layer's backward pass needs beyond what was saved.

        In the MLP, where gate and up get their gradients; or in the attention, when the MLP's are gone.
        """
        h, w, a, k = self.hidden, self.w, self.queries, self.keys
        tokens = prompts * prompt + completion
        inner = 3 * w  # the product's gradient, and those of gate and up
        if "down_proj" in self.adapters:
            inner = w + max(w, self.adapter_w)
        mlp = queries * (self.inner * inner + h * w)
        # The gradients of output, q, k and v; and of a padded call these again, with all its inputs.
        padded = max(completion, self._prompts_padded(prompt, prompts)) * 4 * (a + k)
        attention = (queries * (h + 2 * a) + tokens * 2 * k + padded) * w
        scores = self._scores(prompt, prompts, completion, SCORE_BLOCKS_BACKWARD)
        return max(mlp, attention + scores - self.mlp_saved(queries))

    @staticmethod
    def _prompts_padded(prompt: int, prompts: int) -> int:
        """Tokens of prompts that attend to themselves in one padded call."""
        return prompt * prompts if prompts > 1 and prompt <= packing.TOGETHER else 0

    def _scores(self, prompt: int, prompts: int, completion: int, blocks: int) -> int:
        """Blocks of scores, and the keys and values repeated for every head, off the CPU."""
        if self.cpu:
            return 0
        together = max(self._prompts_padded(prompt, prompts), prompt, completion)
        elements = min(stock.BLOCK_ELEMENTS, self.heads * together * prompt)
        return blocks * FLOAT * elements + 2 * together * self.queries * self.w

    @property
    def prepacked(self) -> int:
        """Bytes of the weights that decoding lays out anew (``kernels/prepacked.py``)."""
        h, a, k, f = self.hidden, self.queries, self.keys, self.inner
        products = {
            ("q_proj", "k_proj", "v_proj"): h * (a + 2 * k),
            ("o_proj",): a * h,
            ("gate_proj", "up_proj"): 2 * h * f,
            ("down_proj",): f * h,
        }
        everything = self.weights["layers"] + self.head_weight
        if not self.cpu or everything > prepacked.PREPACKED_BYTES:
            return 0
        plain = sum(size for names, size in products.items() if not self.adapters.intersection(names))
        return self.w * (self.layers * plain + h * self.vocabulary)

    def head_scan(self, completion: int, *, with_entropy: bool, with_jacobian: bool) -> int:
        """The head without a gradient of its own: hidden states and a block of logits (``_rows.scan``)."""
        rows = max(1, min(completion, _rows.BLOCK_ROWS))
        columns = max(1, _rows.BLOCK_ELEMENTS // rows)
        low = self.w if self.w < FLOAT else 0
        total = completion * self.hidden * self.w + rows * min(self.vocabulary, columns) * (FLOAT + low)
        if with_entropy:  # exponentials of a slice, and their product with it
            total += 2 * FLOAT * rows * min(self.vocabulary, max(1, columns // 64))
        if with_jacobian:  # the expectation of the weights for all rows, and twice for those of a block
            total += FLOAT * self.hidden * (completion + 2 * rows)
        return total

    def head_loss(self, completion: int) -> int:
        """The head with its loss in the forward pass (``kernels/linear_loss.py``)."""
        if not self.head_trains:
            return self.head_scan(completion, with_entropy=True, with_jacobian=True)
        h, v = self.hidden, self.vocabulary
        low = self.w if self.w < FLOAT else 0
        rows = max(1, min(completion, _rows.CHUNK_ELEMENTS // v))
        # Hidden states and their gradient; whole rows of logits; the weight's gradient in float32; a slice for the
        # entropy. Where products run in low precision: the chunk in it, or a product with what is added to float32.
        product = min(v, 16_384) * h * (low + (FLOAT if self.cpu else 0)) if low else 0
        working = max(2 * FLOAT * max(1, rows // 64) * v, rows * v * low, product)
        return 2 * completion * h * self.w + FLOAT * (rows * v + v * h) + working

    def head_handed(self, completion: int) -> int:
        """What the head's backward pass hands on: gradients of hidden states and weight, once more in low precision."""
        hidden = completion * self.hidden * self.w
        if not self.head_trains:
            return 2 * hidden  # the Jacobian, and its product
        return hidden + self.hidden * self.vocabulary * (FLOAT + (self.w if self.w < FLOAT else 0))

    def audio_forward(self, clips: int, frames: int, *, alone: bool) -> int:
        """Most that the tower needs without gradients; with ``alone`` one clip after another."""
        together = 1 if alone else max(1, min(clips, ENCODED_FRAMES // frames))
        d, padded, places = self.audio_width, self.kept_frames(frames), positions(frames)
        convolved = self.mel_bands * padded + 2 * d * padded
        layer = places * (3 * d + 2 * self.audio_inner)  # the layer's input, its half's, normed; both of the MLP
        return together * max(convolved, layer) * self.w

    def kept_frames(self, frames: int) -> int:
        """Frames of a clip's features, with the silence behind it that is kept."""
        return min(frames + MARGIN, self.window)

    def audio_backward(self, frames: int, clips: int) -> int:
        """Beyond what was saved: the gradient of a layer's output and inner states."""
        if not self.trained["tower"]:
            return 0
        return clips * positions(frames) * (self.audio_width + self.audio_inner) * self.w


def positions(frames: int) -> int:
    """Return the encoder's positions for so many frames: the second convolution takes every other."""
    return (frames - 1) // 2 + 1
