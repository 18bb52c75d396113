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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from sari_data.errors import CheckpointError
from sari_train.config import Training
from sari_train.kernels import _rows, stock
from sari_train.models.base import ENCODED_FRAMES, AudioLM
from sari_train.models.qwen2_audio import MARGIN, Qwen2Audio
from sari_train.optim import split_weights

FLOAT = 4  # bytes of float32
# The places of a model's weights.
PLACES = ("tower", "projector", "embeddings", "layers", "head")
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
        weights: Bytes of the weights in each place, each weight once.
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
    weights: Mapping[str, int]
    trained: Mapping[str, int]
    optimizer: int
    update: int
    tied: bool
    adapters: frozenset[str]
    rank: int
    adapter_w: int
    cpu: bool

    @classmethod
    def of(cls, lm: AudioLM, table: Training, *, cpu: bool) -> Sizes:
        """Read the sizes of a model that is frozen and adapted as ``table`` says; its weights may be on ``meta``.

        Raises:
            CheckpointError: An architecture whose layers these formulas do not describe.
        """
        if not isinstance(lm, Qwen2Audio):
            raise CheckpointError(
                f"model {lm.name!r} is a {type(lm).__name__}, and the planner knows the layers of Qwen2Audio only: "
                "measure a step instead"
            )
        audio, text = lm.model.config.audio_config, lm.model.config.text_config
        head_size = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        places = _places(lm)
        optimizer, update = _optimizer(lm, table)
        inside = {name.split(".")[-4] for name, _ in lm.model.named_parameters() if ".lora_A." in name}
        return cls(
            w=lm.dtype.itemsize,
            heads=text.num_attention_heads,
            head_size=head_size,
            hidden=text.hidden_size,
            inner=text.intermediate_size,
            queries=text.num_attention_heads * head_size,
            keys=text.num_key_value_heads * head_size,
            vocabulary=lm.head_size,
            layers=text.num_hidden_layers,
            audio_width=audio.d_model,
            audio_inner=audio.encoder_ffn_dim,
            audio_layers=audio.encoder_layers,
            audio_heads=audio.encoder_attention_heads,
            mel_bands=audio.num_mel_bins,
            weights={place: _bytes(weights) for place, weights in places.items()},
            trained={place: _bytes(p for p in weights if p.requires_grad) for place, weights in places.items()},
            optimizer=optimizer,
            update=update,
            tied=lm.head_weights[0] is lm.model.get_input_embeddings().weight,
            adapters=frozenset(inside),
            rank=table.lora.rank if table.lora is not None else 0,
            adapter_w=next((p.element_size() for n, p in lm.model.named_parameters() if ".lora_A." in n), 0),
            cpu=cpu,
        )

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
        """Bytes a token that a norm saves: its input and the root, in float32; what the weight multiplies, if it trains."""
        return FLOAT * (self.hidden + 1) + (self.w * self.hidden if self.whole else 0)

    def text_saved(self, tokens: int, queries: int, *, first: bool = False, last: bool = False) -> int:
        """What one text layer saves.

        Args:
            tokens: Tokens with keys and values, T.
            queries: Tokens with queries, Q.
            first: It is the first layer; with adapters no gradient reaches its input.
            last: It is the last layer, which takes its queries' input apart.
        """
        h, w = self.hidden, self.w
        of_keys = 2 * self.keys * w + self._ranks("k_proj", "v_proj")
        if self.whole or not first:
            of_keys += self._norm()
        of_queries = (
            2 * self.queries * w  # q, and the attention's output
            + FLOAT * self.heads  # log-sum-exps
            + self._input(self.queries, "o_proj")  # the output once more, head beside head
            + self._norm()
            + self._input(h, "gate_proj", "up_proj")
            + 3 * self.inner * w  # gate, its SiLU, up
            + self._input(self.inner, "down_proj")
            + self._ranks("q_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
        )
        if last:
            of_keys += self._input(h, "k_proj", "v_proj")
            of_queries += self._input(h, "q_proj") + 2 * self.head_size * w  # cosines and sines of the kept tokens
        else:
            of_keys += self._input(h, "q_proj", "k_proj", "v_proj")
        return tokens * of_keys + queries * of_queries

    def rotary(self, tokens: int) -> int:
        """Cosines and sines, for all layers."""
        return 2 * self.head_size * self.w * tokens

    def final_norm_saved(self, queries: int) -> int:
        """What the norm after the last layer saves."""
        return self._norm() * queries

    def head_saved(self, completion: int) -> int:
        """What the head saves: hidden states where it trains, a row of the Jacobian where it does not; and small rows."""
        small = 2 * 8 + FLOAT if self.trained["head"] or self._tied_trains else 0
        return completion * (self.hidden * self.w + small)

    @property
    def _tied_trains(self) -> bool:
        return self.tied and self.trained["embeddings"] > 0

    @property
    def head_trains(self) -> bool:
        """Whether the head's weight has a gradient."""
        return self.trained["head"] > 0 or self._tied_trains

    @property
    def head_weight(self) -> int:
        """Bytes of the head's weight."""
        return self.hidden * self.vocabulary * self.w

    def audio_saved(self, clips: int, frames: int, tokens: int, *, mixed: bool) -> int:
        """What the tower and the projector save of ``clips`` clips of ``frames`` frames and ``tokens`` audio tokens."""
        d, w = self.audio_width, self.w
        projected = clips * tokens * d * w if self.trained["projector"] else 0
        if not self.trained["tower"]:
            return projected
        padded, places = frames + MARGIN, positions(frames)
        convolved = self.mel_bands * padded + 2 * d * padded + d * (padded // 2)
        norms = 2 * (d + d) * w + 4 * FLOAT  # of each: input, output; mean and deviation
        layer = norms + 4 * d * w + FLOAT * self.audio_heads + 2 * self.audio_inner * w
        mask = places * w if mixed else 0  # additive, made in each layer
        pooled = d * w + d * w // 2
        return clips * (convolved * w + places * (self.audio_layers * (layer + mask) + pooled)) + projected

    # -- what is needed for a moment ----------------------------------------------------------------------------

    def text_forward(self, tokens: int, completion: int, *, prompt: int, adapters: bool) -> int:
        """Most that one layer needs without gradients, with the sequence's embeddings and the layer's input.

        Args:
            tokens: T.
            completion: Tokens of completions among them, R.
            prompt: Tokens of one prompt.
            adapters: The adapters take part.
        """
        h, w = self.hidden, self.w
        mlp = 2 * h * w + 3 * self.inner * w  # residual, normed; SiLU, up, their product
        if adapters and self.adapters & {"gate_proj", "up_proj"}:
            # SiLU, up, and what is added to it, before and after
            mlp = max(mlp, 2 * h * w + 2 * self.inner * (w + max(w, self.adapter_w)))
        attention = (h + 2 * self.queries + 2 * self.keys) * w + FLOAT * self.heads
        # Of the completions: the part's output, what it is merged into, both scaled and their sum in float32.
        merging = completion * self.queries * (2 * w + 3 * FLOAT)
        gathering = completion * (2 * self.queries + 3 * self.keys) * w
        own = prompt * self.queries * w
        scores = self._scores(max(prompt, completion), prompt, SCORE_BLOCKS)
        within = max(tokens * mlp, tokens * attention + max(merging, gathering, own) + scores)
        return tokens * 2 * h * w + self.rotary(tokens) + within

    def text_backward(self, tokens: int, queries: int) -> int:
        """Most that one layer's backward pass needs beyond what was saved: where SiLU and up get their gradients."""
        inner = self.inner * (2 * self.w if self.whole or self.adapter_w == self.w else self.w + self.adapter_w)
        return queries * (inner + self.hidden * self.w) + self._scores(tokens, tokens, SCORE_BLOCKS_BACKWARD)

    def _scores(self, queries: int, keys: int, blocks: int) -> int:
        """Blocks of scores, and the keys and values repeated for every head, off the CPU."""
        if self.cpu:
            return 0
        elements = min(stock.BLOCK_ELEMENTS, self.heads * queries * keys)
        return blocks * FLOAT * elements + 2 * keys * self.queries * self.w

    def head_forward(self, completion: int) -> int:
        """A block of logits; with a frozen head the expectation of its rows too."""
        rows = min(completion, _rows.BLOCK_ROWS)
        block = rows * min(self.vocabulary, max(1, _rows.BLOCK_ELEMENTS // max(1, rows)))
        cast = block * self.w if self.w < FLOAT else 0
        return FLOAT * block + cast

    def expectation(self, completion: int) -> int:
        """What the forward pass of a frozen head needs for its Jacobian, beyond the Jacobian."""
        chunk = 2 * FLOAT * min(completion, _rows.BLOCK_ROWS) * self.hidden
        own = FLOAT * completion * self.hidden if self.w < FLOAT else 0
        return own + max(chunk, completion * self.hidden * self.w)

    def head_backward(self, completion: int) -> int:
        """A chunk of whole rows of logits, the gradient of the hidden states, and of the weight in float32."""
        hidden = completion * self.hidden * self.w
        if not self.head_trains:
            return hidden
        rows = max(1, min(completion, _rows.CHUNK_ELEMENTS // self.vocabulary))
        chunk, weight = rows * self.vocabulary, self.vocabulary * self.hidden
        low = self.w if self.w < FLOAT else 0
        return hidden + chunk * (FLOAT + low) + weight * (FLOAT + low)

    def audio_forward(self, clips: int, frames: int, *, alone: bool) -> int:
        """Most that the tower needs without gradients; with ``alone`` one clip after another."""
        together = 1 if alone else max(1, min(clips, ENCODED_FRAMES // frames))
        d, padded, places = self.audio_width, frames + MARGIN, positions(frames)
        convolved = self.mel_bands * padded + 2 * d * padded
        layer = places * (3 * d + 2 * self.audio_inner)  # the layer's input, its half's, normed; both of the MLP
        return together * max(convolved, layer) * self.w

    def audio_backward(self, frames: int, clips: int) -> int:
        """Beyond what was saved: the gradient of a layer's output and inner states."""
        return clips * positions(frames) * (self.audio_width + self.audio_inner) * self.w if self.trained["tower"] else 0


def positions(frames: int) -> int:
    """Return the encoder's positions for so many frames: the second convolution takes every other."""
    return (frames - 1) // 2 + 1


def _places(lm: AudioLM) -> dict[str, list[Tensor]]:
    embeddings, head = lm.model.get_input_embeddings().weight, lm.head_weights[0]
    inside = {id(p) for p in lm.text_model.parameters()}
    found: dict[str, list[Tensor]] = {place: [] for place in PLACES}
    for name, weight in lm.model.named_parameters():  # a weight that is tied comes once
        if weight is embeddings:
            found["embeddings"].append(weight)
        elif weight is head:
            found["head"].append(weight)
        elif id(weight) in inside:
            found["layers"].append(weight)
        else:
            found["tower" if "audio_tower" in name else "projector"].append(weight)
    return found


def _optimizer(lm: AudioLM, table: Training) -> tuple[int, int]:
    """Bytes of the optimizer's state, in the weights' own types, and of one update (``optim.py``)."""
    inside, other = split_weights(lm)
    if table.optimizer == "adamw":
        return 2 * _bytes(inside + other), 0
    most = max(inside, key=lambda p: p.numel(), default=None)
    update = 0
    if most is not None:
        # The update, two orthogonalised copies in bfloat16, and two products of the shorter side with itself.
        update = most.numel() * (most.element_size() + 2 * 2) + 2 * 2 * min(most.shape) ** 2
    return _bytes(inside) + 2 * _bytes(other), update


def _bytes(weights: Iterable[Tensor]) -> int:
    return sum(p.numel() * p.element_size() for p in weights)
