"""What GRPO asks of whatever samples, and the engine that samples in this process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from sari_data.responder import Sampling
from sari_data.types import AudioQuestion
from sari_train.config import Grpo
from sari_train.distributed import ALONE, World
from sari_train.models.base import AudioLM
from sari_train.parallel import run_all, workers
from sari_train.responder import Room, pack
from sari_train.rollout import Completion, Rollout, RolloutPrompt

# Rows that are decoded together in this process; results do not depend on it.
ROLLOUT_ROWS = 192


class RolloutEngine(Protocol):
    """Samples completions with the weights that learn.

    Attributes:
        exact: The sampler's log-probabilities are the trainer's but for rounding, so no token needs a weight that
            corrects for the difference.
    """

    exact: bool

    def update_weights(self, lm: AudioLM, step: int) -> None:
        """Sample from now on with the weights that ``lm`` has; ``step`` is how many steps they have learned."""
        ...

    def sample(
        self, prompts: Sequence[RolloutPrompt], questions: Sequence[AudioQuestion], *, seed: int
    ) -> list[Completion]:
        """Return every sample of every prompt, prompt after prompt, samples in order.

        Args:
            prompts: What is answered.
            questions: The question of each prompt: its audio, for an engine in another process.
            seed: Together with a prompt's id and the sample's index it decides the sample.
        """
        ...

    def close(self) -> None:
        """Let go of what the engine holds outside this process."""
        ...


class LocalEngine:
    """Samples in this process, with the weights as they are.

    Args:
        lm: The model that learns.
        sampling: Temperature, length and stop strings.
        cache_mib: Bound on the keys and values kept at once, in MiB; results do not depend on it.
    """

    exact = True

    def __init__(self, lm: AudioLM, sampling: Sampling, *, cache_mib: int = 4096) -> None:
        self.lm, self.cache_mib = lm, cache_mib
        self.rollout = Rollout(lm, sampling)

    def update_weights(self, lm: AudioLM, step: int) -> None:
        """Nothing to do: they are the same tensors."""
        assert lm is self.lm, "the local engine samples from the model that it was made with"

    def sample(
        self, prompts: Sequence[RolloutPrompt], questions: Sequence[AudioQuestion], *, seed: int
    ) -> list[Completion]:
        """See :class:`RolloutEngine`; batches run side by side as micro-batches do."""
        if not prompts:
            return []
        lm, most = self.lm, self.rollout.sampling.max_new_tokens
        count = workers(lm)
        rows = min(ROLLOUT_ROWS, -(-len(prompts) // count) * max(len(p.samples) for p in prompts))
        draw = partial(self.rollout.generate, seed=seed, decoder=lm.decoder())
        room = Room.of(lm, self.cache_mib // count, most)
        found: dict[tuple[str, int], Completion] = {}
        for completions in run_all(lm, [partial(draw, batch) for batch in pack(prompts, rows, room)]):
            found |= {(done.prompt_id, done.sample): done for done in completions}
        return [found[p.id, s] for p in prompts for s in p.samples]

    def close(self) -> None:
        """Nothing is held."""


def make_engine(lm: AudioLM, table: Grpo, world: World = ALONE) -> RolloutEngine:
    """Return the engine that ``[grpo.rollout]`` names; every process of the run makes one.

    Raises:
        InputError: An address that is none, or a setting that the server does not have.
        ResponderError: No server there, or one that cannot do what is needed; the sentence says what.
    """
    sampling = Sampling(temperature=table.temperature, max_new_tokens=table.max_new_tokens, seed=table.seed)
    if table.rollout.engine == "local":
        return LocalEngine(lm, sampling, cache_mib=table.cache_mib)
    from sari_train.rollouts.vllm import VllmEngine

    out = Path(table.out).resolve()
    # Beside the run's folder, which every checkpoint replaces as a whole.
    return VllmEngine(lm, sampling, table.rollout, folder=out.parent / f".{out.name}.weights", world=world)
