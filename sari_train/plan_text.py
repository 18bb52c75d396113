"""What a text model's layers hold in memory: what autograd saves of them, and what they need for a moment.

Each formula lists tensors, in the order in which the layer makes them, so that it can be held against the layer's code.
``w`` is the weights' element size, ``c`` that of what products give: 2 under autocast, else ``w``. Norms and
log-sum-exps are float32 whatever it is. A frozen linear layer saves nothing of its input; one with an adapter
saves it in the adapter's type, once where that is the weights' own type and once for each adapter otherwise.
Under autocast every product casts its input and its weight anew, and the backward pass keeps both.

A mixture of experts runs all pairs of a token and one of its experts side by side, ordered by expert; under
autocast in float32, because its fused products do not take part in it.

Shapes: T packed tokens, Q tokens that have queries (in the last layer the kept ones), R tokens of completions in the
sequence, H hidden size, F inner size of the MLP, A = heads x head size, K = key heads x head size, L layers. All
results are in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sari_train.kernels import packing, prepacked, stock

FLOAT, HALF, INDEX = 4, 2, 8  # bytes of float32, bfloat16 and int64
# Blocks of scores that are alive at once in the attention that runs off the CPU (kernels/stock.py).
SCORE_BLOCKS, SCORE_BLOCKS_BACKWARD = 3, 4


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of experts in the MLPs' place.

    Args:
        count: Experts of a layer.
        chosen: Experts of a token.
        inner: Inner size of one.
        weights: Bytes of a layer's fused weights.
        dense: Some layers have a plain MLP; each layer is then taken for the one that holds more.
    """

    count: int
    chosen: int
    inner: int
    weights: int
    dense: bool = False


@dataclass(frozen=True)
class TextSizes:
    """A text model's sizes, and what of it trains.

    Attributes:
        w: Bytes of an element of the weights.
        heads: Query heads.
        head_size: Head size d.
        hidden, inner, queries, keys, layers: H, F, A, K and L.
        vocabulary: V, rows of the head.
        weights: Bytes of the weights in tower, projector, embeddings, layers, head and what rests, each weight once.
        trained: Bytes of those that train, and so of their gradients.
        adapters: Names of the linear layers with an adapter.
        rank: The adapters' rank; 0 without.
        adapter_w: Bytes of an element of the adapters.
        cpu: The device is a CPU, where attention runs in one operator that keeps no scores.
        head_norms: Every head's query and key are normed.
        experts: What is in the MLPs' place, ``None`` for a gated MLP.
        mixed: float32 weights compute under autocast in bfloat16.
        casts: Under ``mixed``: bytes of the cast copies of the weights in tower, projector and layers.
        quantized: The linear layers of the text model are held in 4 or 8 bits.
        unpacked: Bytes of the largest of those in the type that it computes in.
    """

    w: int
    heads: int
    head_size: int
    hidden: int
    inner: int
    queries: int
    keys: int
    layers: int
    vocabulary: int
    weights: Mapping[str, int]
    trained: Mapping[str, int]
    adapters: frozenset[str]
    rank: int
    adapter_w: int
    cpu: bool
    head_norms: bool
    experts: Experts | None
    mixed: bool
    casts: Mapping[str, int]
    quantized: bool
    unpacked: int

    @property
    def c(self) -> int:
        """Bytes of an element that a product gives in training."""
        return HALF if self.mixed else self.w

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
        copies = len(self.adapters.intersection(names))
        if self.mixed:
            return width * HALF * (len(names) if self.whole else copies)
        if self.whole:
            return width * self.w
        return width * self.adapter_w * (min(copies, 1) if self.adapter_w == self.w else copies)

    def _ranks(self, *names: str) -> int:
        """Bytes a token between the two matrices of adapters."""
        return len(self.adapters.intersection(names)) * self.rank * (HALF if self.mixed else self.adapter_w)

    def _norm(self) -> int:
        """Bytes a token that a norm saves: its input, and one number in float32."""
        return self.hidden * self.w + FLOAT

    def _head_norm(self, width: int, *, last: bool) -> int:
        """Bytes a token that the norm of queries or keys saves; in all layers but the last it is the model's own."""
        if not self.head_norms:
            return 0
        numbers = FLOAT * width // self.head_size
        if last:
            return width * self.c + numbers
        # Its input in float32; what the weight multiplies, where it trains.
        return width * (FLOAT + (self.c if self.whole else 0)) + numbers

    def _output(self, *, last: bool) -> int:
        """Bytes a token of the attention's output in front of the last projection, where that is another tensor."""
        if self.whole:
            return self.queries * self.c if last else 0
        return self._input(self.queries, "o_proj") if last or self.mixed or self.adapter_w != self.w else 0

    def text_saved(
        self, tokens: int, queries: int, *, first: bool = False, last: bool = False, apart: bool = True
    ) -> int:
        """What one text layer saves, but for the cast copies of its weights.

        Args:
            tokens: Tokens with keys and values, T.
            queries: Tokens with queries, Q.
            first: It is the first layer; with adapters no gradient reaches its input.
            last: It is the last layer, behind whose attention only the kept tokens are left.
            apart: The last layer takes its queries' input apart, and attends with them only.
        """
        h, w, c = self.hidden, self.w, self.c
        of_keys = 2 * self.keys * c + self._ranks("k_proj", "v_proj") + self._head_norm(self.keys, last=last)
        if self.whole or not first:
            of_keys += self._norm()
        # q, output, log-sum-exps
        of_attended = 2 * self.queries * c + FLOAT * self.heads + self._head_norm(self.queries, last=last)
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
        # Gate and up; where the last projection is not a plain product, SiLU and the product with its input too.
        inner = 2 * self.inner * self.c
        if self.mixed or self.quantized or "down_proj" in self.adapters:
            inner += self.inner * self.c + self._input(self.inner, "down_proj")
        inputs = self._input(self.hidden, "gate_proj", "up_proj")
        plain = inputs + inner + self._ranks("gate_proj", "up_proj", "down_proj")
        if self.experts is not None:
            sparse = self._experts_saved()
            plain = max(plain, sparse) if self.experts.dense else sparse
        return queries * (self._norm() + plain)

    def _experts_saved(self) -> int:
        """Bytes a token that a mixture of experts saves."""
        experts = self.experts
        assert experts is not None
        # The router's probabilities, the chosen ones and their sum, and their places.
        router = FLOAT * (experts.count + experts.chosen + 1) + INDEX * experts.chosen
        # Of a pair: its places, its weight, gate and up, SiLU, the product with the last projection.
        pair = 3 * INDEX + (1 + 3 * experts.inner + self.hidden) * self.w
        if self.whole:  # the inputs of the router, and of both projections
            router += self.hidden * self.c
            pair += (self.hidden + experts.inner) * self.w
        return router + experts.chosen * pair

    def rotary(self, tokens: int) -> int:
        """Cosines and sines, for all layers."""
        return 2 * self.head_size * self.w * tokens

    def final_norm_saved(self, queries: int) -> int:
        """What the norm after the last layer saves."""
        return self._norm() * queries

    def layer_cast(self, *, first: bool = False) -> int:
        """Bytes of the cast copies of one layer's weights that the backward pass keeps."""
        if not self.mixed:
            return 0
        # With adapters no gradient reaches the first layer's input: of its frozen products nothing is kept.
        left_out = HALF * self.hidden * (self.queries + 2 * self.keys) if first and not self.whole else 0
        return self.casts["layers"] // self.layers - left_out

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
        mlp = 2 * h * w + (3 if self.quantized or "down_proj" in self.adapters else 2) * self.inner * w
        if adapters and self.adapters & {"gate_proj", "up_proj"}:
            # SiLU, up, what the adapter adds to it, and the sum; where the types differ, copies of input and up too.
            cast = self.adapter_w if self.adapter_w != w else 0
            added = 2 * (w + max(w, self.adapter_w)) + (cast if self.cpu else 0)
            mlp = max(mlp, 2 * h * w + cast * h + added * self.inner)
        if self.experts is not None:
            # Of a pair its input, and gate, up, SiLU and product; or output, that weighted, and that in its place.
            pair = max(h + 4 * self.experts.inner, 4 * h) * w
            sparse = 2 * h * w + self.experts.chosen * (pair + 4 * INDEX) + 3 * FLOAT * self.experts.count
            mlp = max(mlp, sparse) if self.experts.dense else sparse
        attention = tokens * ((h + 2 * a + 2 * k) * w + FLOAT * self.heads)
        if self.head_norms:  # in float32: what is normed, its square, and the result
            attention += tokens * max(0, 3 * FLOAT * a - (2 * k + a) * w)
        # Queries, keys, values and output of a padded call; of the completions also what the output is merged into,
        # then both parts as they are, and scaled and added in float32.
        padded = self._prompts_padded(prompt, prompts) * (2 * a + 2 * k) * w
        merged = completion * max((3 * a + 2 * k) * w, a * (2 * w + 3 * FLOAT))
        scores = self._scores(prompt, prompts, completion, SCORE_BLOCKS)
        within = max(tokens * mlp, attention + max(padded, merged, prompt * a * w) + scores)
        return tokens * 2 * h * w + self.rotary(tokens) + within + self.unpacked

    def text_backward(
        self, prompt: int, prompts: int, completion: int, queries: int, *, attended: int | None = None
    ) -> int:
        """Most that one layer's backward pass needs beyond what was saved.

        In the MLP, where gate and up get their gradients; or in the attention, when the MLP's are gone. ``attended``
        are the tokens that attend, where they are more than the ``queries`` that are kept.
        """
        h, w, c, a, k = self.hidden, self.w, self.c, self.queries, self.keys
        tokens = prompts * prompt + completion
        inner = 3 * c  # the product's gradient, and those of gate and up
        if "down_proj" in self.adapters:
            inner = c + max(c, self.adapter_w)
        mlp = queries * (self.inner * inner + h * w)
        if self.experts is not None:
            sparse = self._experts_backward(queries)
            mlp = max(mlp, sparse) if self.experts.dense else sparse
        # The gradients of output, q, k and v; and of a padded call these again, with all its inputs.
        padded = max(completion, self._prompts_padded(prompt, prompts)) * 4 * (a + k)
        attention = queries * h * w + (attended or queries) * 2 * a * c + (tokens * 2 * k + padded) * c
        scores = self._scores(prompt, prompts, completion, SCORE_BLOCKS_BACKWARD)
        return max(mlp, attention + scores - self.mlp_saved(queries)) + self.unpacked

    def _experts_backward(self, queries: int) -> int:
        """Gradients of the pairs' outputs, weighed and not, of inner states, and of the fused weights."""
        experts = self.experts
        assert experts is not None
        weights = experts.weights if self.whole else 0
        # In the last projection; or when what that had saved is gone, with the gradients of all fused weights.
        pair = (2 * self.hidden + experts.inner) * self.w
        return queries * self.hidden * self.w + max(queries * experts.chosen * pair + weights // 3, weights)

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
    def head_weight(self) -> int:
        """Bytes of the head's weight, and of the embeddings'."""
        return self.hidden * self.vocabulary * self.w

    @property
    def prepacked(self) -> int:
        """Bytes of the weights that decoding lays out anew (``kernels/prepacked.py``)."""
        h, a, k, f = self.hidden, self.queries, self.keys, self.inner
        products = {("q_proj", "k_proj", "v_proj"): h * (a + 2 * k), ("o_proj",): a * h}
        if self.experts is None:
            products |= {("gate_proj", "up_proj"): 2 * h * f, ("down_proj",): f * h}
        everything = self.weights["layers"] + self.head_weight
        if not self.cpu or everything > prepacked.PREPACKED_BYTES:
            return 0
        plain = sum(size for names, size in products.items() if not self.adapters.intersection(names))
        if self.quantized:
            plain = 0
        return self.w * (self.layers * plain + h * self.vocabulary)
