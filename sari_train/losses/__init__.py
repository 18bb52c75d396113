"""Policy losses: pure functions, tensors in, loss and metrics out; one file a loss, and this table of them."""

from __future__ import annotations

from collections.abc import Mapping

from sari_train.losses.base import Loss
from sari_train.losses.bnpo import BNPO
from sari_train.losses.cispo import CISPO
from sari_train.losses.dapo import DAPO
from sari_train.losses.dr_grpo import DR_GRPO
from sari_train.losses.grpo import GRPO
from sari_train.losses.gspo import GSPO

LOSSES: Mapping[str, Loss] = {loss.name: loss for loss in (GRPO, DR_GRPO, DAPO, BNPO, GSPO, CISPO)}
