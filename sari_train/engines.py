"""What samples completions for GRPO: this process, or a server that is given the weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from sari_data.responder import Sampling
from sari_train.config import Grpo
from sari_train.models.base import AudioLM
from sari_train.parallel import run_all, workers
from sari_train.responder import Room, pack
from sari_train.rollout import Completion, Rollout, RolloutPrompt

# Rows that are decoded together; results do not depend on it.
ROLLOUT_ROWS = 192


class RolloutEngine(Protocol):
    """Samples every sample of every prompt with the latest weights it was given."""

    def update_weights(self, lm: AudioLM, step: int) -> None:
        """Sample with these weights from now on."""
        ...

    def sample(self, prompts: Sequence[RolloutPrompt], *, seed: int) -> list[Completion]:
        """Return every sample of every prompt, prompt after prompt, in the order of their numbers."""
        ...


class LocalEngine:
    """Samples in this process, with the very weights that learn."""

    def __init__(self, lm: AudioLM, table: Grpo) -> None:
        self.lm = lm
        self._cache_mib = table.cache_mib
        self._engine = Rollout(
            lm, Sampling(temperature=table.temperature, max_new_tokens=table.max_new_tokens, seed=table.seed)
        )

    def update_weights(self, lm: AudioLM, step: int) -> None:
        """Nothing to do: they are the same weights."""

    def sample(self, prompts: Sequence[RolloutPrompt], *, seed: int) -> list[Completion]:
        """Return every sample of every prompt, prompt after prompt, in the order of their numbers."""
        lm = self.lm
        largest = max((len(p.samples) for p in prompts), default=1)
        rows = min(ROLLOUT_ROWS, -(-len(prompts) // workers(lm)) * largest)
        draw = partial(self._engine.generate, seed=seed, decoder=lm.decoder())
        room = Room.of(lm, self._cache_mib // workers(lm), self._engine.sampling.max_new_tokens)
        found: dict[tuple[str, int], Completion] = {}
        for completions in run_all(lm, [partial(draw, batch) for batch in pack(prompts, rows, room)]):
            found |= {(done.prompt_id, done.sample): done for done in completions}
        return [found[p.id, s] for p in prompts for s in p.samples]


def make_engine(lm: AudioLM, table: Grpo) -> RolloutEngine:
    """Return the engine that ``[grpo.rollout]`` names."""
    return LocalEngine(lm, table)
