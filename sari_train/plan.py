"""How many bytes a GRPO step takes, worked out from the model's sizes and the recipe; nothing is run.

The step's phases follow one another (``grpo.py``): prompts are prefilled, samples decoded, the reference scores
them, the policy runs forward and backward in micro-batches, the optimizer steps. Of each phase the
moments that can be its highest are written down with all the tensors that are alive then, and the highest counts:
transients of a layer are there once, what autograd saves is there for every layer.

Counted is the worst case: every prompt the longest, every completion ``max_new_tokens``, every row with an
advantage, and on a CPU all micro-batches that run side by side at their highest at once. It is a step after the
first, so that the optimizer's state exists.

Not counted: loading the model and writing a checkpoint, the fragmentation of a GPU's or the C library's allocator,
and buffers inside the matrix libraries.

Shapes: T packed tokens, Q tokens with queries in the last layer (the kept ones), N completion tokens, R tokens of
completions in the sequence, B rows, P prompts, H hidden size, F inner size of the MLP, A = heads x head size, K = key
heads x head size, V vocabulary, D audio width, S audio tokens, L layers. All results are in bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from sari_data.errors import CheckpointError
from sari_train.batch import Encoded
from sari_train.config import Grpo
from sari_train.grpo import ROLLOUT_ROWS
from sari_train.kernels import _rows, stock
from sari_train.models.base import ENCODED_FRAMES, AudioLM, BoundedCache, Clip
from sari_train.models.cache import FIRST_COLUMNS
from sari_train.models.qwen2_audio import MARGIN, Qwen2Audio
from sari_train.optim import split_weights
from sari_train.responder import Room, pack
from sari_train.rollout import RolloutPrompt

# What memory is spent on, in the order of the table.
PARTS = ("weights", "reference", "gradients", "optimizer", "audio", "text", "cache", "head", "data")
FLOAT = 4  # bytes of float32
