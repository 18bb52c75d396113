"""What both training loops do around their steps: set up, record, evaluate, watch, save, and go on after a kill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ContextManager, Protocol

from sari_data.console import note
from sari_data.types import AudioQuestion
from sari_train.checkpoint import check_out, corpus_hash, open_run, recipe_hash, save_run
from sari_train.config import Sft, Training
from sari_train.distributed import ALONE, World
from sari_train.evaluate import evaluate, evaluate_loss, read_dev, with_chains
from sari_train.interrupt import StopRequest
from sari_train.lora import add_lora
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model
from sari_train.optim import make_optimizer
from sari_train.progress import Progress, draw_curves
from sari_train.responder import weights_hash


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Args:
        out: Its folder.
        step: Steps done.
        metrics: Those of the last step.
        stopped: Whether Ctrl-C ended it before its last step.
        trouble: What ended it before its last step, in words.
    """

    out: Path
    step: int
    metrics: dict[str, float]
    stopped: bool = False
    trouble: str | None = None


class Stateful(Protocol):
    """A part of a run whose state a checkpoint keeps as JSON."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take a state back."""
        ...


class Run:
    """One training run between its first step and its last.

    Attributes:
        table: The recipe table.
        lm: The model that learns.
        optimizer: Over the weights that train.
        world: The processes that share the run.
        step: Steps done.
        metrics: Those of the last step.
    """

    def __init__(
        self,
        table: Training,
        kind: str,
        questions: Sequence[AudioQuestion],
        parts: Mapping[str, Stateful],
        *,
        overwrite: bool,
        world: World = ALONE,
    ) -> None:
        self.table, self.kind, self.world = table, kind, world
        check_out(table)
        self._dev = read_dev(table)
        self._dev_chains = with_chains(self._dev, table.mode) if isinstance(table, Sft) else []
        self.lm = load_model(table.model, dtype=table.dtype, device=table.device)
        self.fingerprint = recipe_hash(table, model=weights_hash(self.lm), corpus=corpus_hash(questions))
        prepare_model(self.lm, table)
        state = open_run(self.lm, table, kind, self.fingerprint, overwrite=overwrite)
        self.optimizer = make_optimizer(self.lm, table)
        self._parts = dict(parts)
        self.step = state.step
        self.metrics: dict[str, float] = {}
        if state.optimizer is not None:
            self.optimizer.load_state_dict(state.optimizer)
            note(f"going on from step {state.step} of {table.steps} in {table.out}")

    @contextmanager
    def going(self) -> Iterator[Run]:
        """Take Ctrl-C as a wish to stop after the step, and show and record what happens."""
        with ExitStack() as stack:
            self._stop = stack.enter_context(StopRequest())
            title = self.kind.upper()
            self._progress = stack.enter_context(
                Progress(title, self.table.out, steps=self.table.steps, done=self.step)
            )
            yield self

    @property
    def more(self) -> bool:
        """Whether another step is to be taken."""
        return self.step < self.table.steps and not self._stop

    def phase(self, name: str) -> ContextManager[object]:
        """Measure what is done inside as a part of the step."""
        return self._progress.phase(name)

    def finish_step(self, metrics: dict[str, float], *, tokens: int) -> None:
        """Count a step: evaluate where it is time, record, and save where it is time."""
        table, lm = self.table, self.lm
        self.step += 1
        if self._dev and self.step % table.eval_every == 0:
            with self.phase("evaluate"):
                metrics |= evaluate(
                    lm, self._dev, mode=table.mode, max_new_tokens=table.max_new_tokens, world=self.world
                )
                metrics |= evaluate_loss(lm, self._dev_chains, table, self.world)
        self.metrics = metrics
        self._progress.update(self.step, metrics, tokens=tokens)
        if self.step % table.save_every == 0 or not self.more:
            self.save()

    def save(self) -> None:
        """Write a checkpoint of where the run stands."""
        if self.step == self.table.steps:
            draw_curves(self.table.out, f"{self.kind.upper()} of {self.lm.name}, mode {self.table.mode}")
        with self.phase("save"):
            save_run(self.lm, self.optimizer, self.table.out, step=self.step, fingerprint=self.fingerprint)

    @property
    def outcome(self) -> Outcome:
        """How the run stands."""
        return Outcome(Path(self.table.out), self.step, self.metrics, stopped=self.step < self.table.steps)


def prepare_model(lm: AudioLM, table: Training) -> None:
    """Freeze, adapt and set a fresh model as the recipe says, in place.

    Raises:
        InputError: Adapters that do not fit the model.
    """
    lm.checkpointing = table.checkpointing
    if table.freeze_audio:
        lm.freeze_audio()
    if table.lora is not None:
        add_lora(lm, table.lora, seed=table.seed)
