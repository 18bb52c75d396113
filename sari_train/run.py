"""What both training loops do around their steps: set up, record, evaluate, watch, save, and go on after a kill."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from sari_data.console import note
from sari_data.errors import InputError
from sari_data.types import AudioQuestion, AudioRef
from sari_train.checkpoint import TROUBLE, check_same, corpus_hash, finished, open_run, recipe_hash, save_run
from sari_train.completions import KeptGroup, save_completions
from sari_train.config import Grpo, Sft, Training
from sari_train.distributed import ALONE, World
from sari_train.evaluate import evaluate, evaluate_loss, read_dev, with_chains
from sari_train.health import Health
from sari_train.interrupt import StopRequest
from sari_train.lora import add_lora
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model
from sari_train.models.long_audio import survey
from sari_train.optim import make_optimizer
from sari_train.phases import Phases, memory_mib
from sari_train.preflight import run_preflight
from sari_train.progress import Progress, draw_curves
from sari_train.responder import weights_hash
from sari_train.rewards import Reward
from sari_train.run_folder import check_out
from sari_train.state_io import capture_rng, restore_rng, seed_rng
from sari_train.trackers import open_trackers, require_trackers


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
        phase: Measures what is done inside ``with run.phase(name)`` as a part of the step.
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
        rewards: Mapping[str, Reward] | None = None,
    ) -> None:
        self.table, self.kind, self.world = table, kind, world
        world.check(table)
        check_out(table, overwrite=overwrite)
        require_trackers(table.report_to)
        self._dev = read_dev(table)
        self._dev_chains = with_chains(self._dev, table.mode) if isinstance(table, Sft) else []
        self._health = watch(table)
        self._parts: dict[str, Stateful] = {**parts, "health": self._health}
        # Asked before the processes compare what they run: after that, the main one may change the folder.
        through = not overwrite and finished(table)
        self.lm = load_model(
            table.model,
            dtype=table.dtype,
            device=world.device(table.device),
            quantize=table.lora.quantize if table.lora is not None else None,
        )
        self.fingerprint = recipe_hash(table, model=weights_hash(self.lm), corpus=corpus_hash(questions))
        world.agree("recipe, model and corpus", self.fingerprint)
        if not overwrite:
            check_same(table, self.fingerprint)
        seed_rng(table.seed, world.rank)
        prepare_model(self.lm, table)
        if not through:
            check_lengths(self.lm, [q.audio for q in [*questions, *self._dev]])
        if table.preflight and not through:
            run_preflight(self.lm, table, questions, rewards=rewards, shown=world.is_main)
        with world.main_first():
            state = open_run(self.lm, table, kind, self.fingerprint, overwrite=overwrite, main=world.is_main)
        world.prepare(self.lm)
        self.optimizer = world.adopt(self.lm, make_optimizer(self.lm, table))
        self.step = state.step
        self._best = state.best[1] if state.best is not None else -1.0
        self.metrics: dict[str, float] = {}
        self._trouble: str | None = None
        self._stopping = False
        if state.optimizer is not None:
            world.load_optimizer(self.lm, self.optimizer, state.optimizer)
            if not restore_rng(state.rng, world.rank) or len(state.rng) != world.size:
                note(
                    f"the checkpoint is of {len(state.rng)} processes and here are {world.size}: the run goes on, but "
                    "not to the last digit"
                )
            for name, part in self._parts.items():
                part.load_state_dict(state.extra[name])
            if table.on_trouble == "stop":  # what it stopped for is told once an episode: it would go on without a word
                self._trouble = state.extra.get(TROUBLE)
            note(f"going on from step {state.step} of {table.steps} in {table.out}")
        self.phase = Phases(synchronise_with(self.lm.device))

    @contextmanager
    def going(self) -> Iterator[Run]:
        """Take Ctrl-C as a wish to stop after the step, and show and record what happens."""
        table, active = self.table, self.world.is_main
        trackers = open_trackers(
            table.report_to,
            table.out,
            title=self.kind,
            config=table.model_dump(mode="json"),
            fingerprint=self.fingerprint,
            step=self.step,
            active=active,
        )
        shown = Progress(
            self.kind.upper(), table.out, steps=table.steps, done=self.step, active=active, trackers=trackers
        )
        with StopRequest() as self._stop, shown as self._progress:
            self.phase.take()  # what came before the first step is no part of it
            yield self

    @property
    def more(self) -> bool:
        """Whether another step is to be taken."""
        return self.step < self.table.steps and not self._stopping and self._trouble is None

    def finish_step(
        self, metrics: dict[str, float], *, tokens: int, kept: Callable[[], Sequence[KeptGroup]] | None = None
    ) -> None:
        """Count a step: evaluate where it is time, record, watch for trouble, and save where it is time.

        Args:
            metrics: What follows from recipe, data and weights.
            tokens: Tokens of the step.
            kept: Makes what is kept of the step's completions; called where it is time for that.
        """
        table = self.table
        self.step += 1
        if self._dev and self.step % table.eval_every == 0:
            with self.phase("evaluate"):
                metrics |= self._evaluated()
        self.metrics = metrics
        if kept is not None and table.log_completions and self.step % table.log_completions == 0:
            groups = kept()
            if self.world.is_main:
                save_completions(table.out, self.step, groups)
        timings = self.phase.take(tokens) | memory_mib(self.lm.device)
        self._progress.update(self.step, metrics, timings)
        troubles = self._health.check(self.step, metrics)
        self._progress.tell(self.step, troubles)
        if troubles and table.on_trouble == "stop" and self.step < table.steps:
            self._trouble = troubles[0].message
        # Asked once a step: a wish that came a moment later must find a checkpoint too, and all processes must agree.
        self._stopping = self.world.total({"stop": float(bool(self._stop))})["stop"] > 0
        better = metrics.get("eval_accuracy", -1.0) > self._best
        if better or troubles or self.step % table.save_every == 0 or not self.more:
            # In trouble the checkpoint before may be the better one to go on from: it stays until the next.
            self._save(keep=table.keep + bool(troubles))

    def _save(self, keep: int) -> None:
        """Write a checkpoint of where the run stands, and prune older ones down to ``keep``."""
        table = self.table
        with self.phase("save"):
            weights, optimizer = self.world.states(self.lm, self.optimizer)
            rng = self.world.gather([capture_rng()])
            if self.world.is_main:
                if not self.more:  # a second or two each time; the report draws them whenever it is asked
                    draw_curves(table.out, f"{self.kind.upper()} of {self.lm.name}, mode {table.mode}")
                save_run(
                    self.lm,
                    self.optimizer,
                    table.out,
                    step=self.step,
                    fingerprint=self.fingerprint,
                    extra={name: part.state_dict() for name, part in self._parts.items()} | {TROUBLE: self._trouble},
                    metrics=self.metrics,
                    keep=keep,
                    rng=rng,
                    model_state=weights,
                    optimizer_state=optimizer,
                )
            self.world.barrier()
        self._best = max(self._best, self.metrics.get("eval_accuracy", -1.0))
        self._progress.restart_clock()

    @property
    def outcome(self) -> Outcome:
        """How the run stands."""
        stopped = self.step < self.table.steps and self._trouble is None
        return Outcome(Path(self.table.out), self.step, self.metrics, stopped, self._trouble)

    def _evaluated(self) -> dict[str, float]:
        table = self.table
        found = evaluate(
            self.lm,
            self._dev,
            mode=table.mode,
            max_new_tokens=table.max_new_tokens,
            cache_mib=table.cache_mib if isinstance(table, Grpo) else 4096,
            world=self.world,
        )
        return found | evaluate_loss(self.lm, self._dev_chains, table, self.world)


def check_lengths(lm: AudioLM, audios: Sequence[AudioRef]) -> None:
    """Say how many clips are longer than the model hears, and what is done with them.

    Raises:
        InputError: There are some, and ``long_audio`` is ``error``.
        AudioError: One of them is not audio.
    """
    found = survey(lm, audios)
    if found.long and lm.long_audio == "error":
        raise InputError(f"{found.note}: set long_audio to split or truncate, or leave them out of the corpus")
    if found.note:
        note(found.note)


def watch(table: Training) -> Health:
    """Return what watches a run for trouble."""
    if not isinstance(table, Grpo):
        return Health()
    return Health(
        groups=table.prompts_per_step,
        group_size=table.group_size,
        full_reward=sum(table.rewards.values()),
        max_new_tokens=table.max_new_tokens,
    )


def synchronise_with(device: torch.device) -> Callable[[], None] | None:
    """Return what waits for the device, so that a phase is charged with its own work; ``None`` on a CPU."""
    return torch.cuda.synchronize if device.type == "cuda" else None


def prepare_model(lm: AudioLM, table: Training) -> None:
    """Freeze, adapt and set a fresh model as the recipe says, in place.

    Raises:
        InputError: Adapters that do not fit the model.
    """
    lm.checkpointing = table.checkpointing
    lm.long_audio = table.long_audio
    if table.freeze_audio:
        lm.freeze_audio()
    if table.lora is not None:
        add_lora(lm, table.lora, seed=table.seed)
