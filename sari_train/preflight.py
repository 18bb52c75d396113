"""``sari-train preflight``: is everything in order before a training begins? A table of ticks.

``examine`` runs the checks (``checks/``) and returns the report; ``run_preflight`` is what the training loops call;
``preflight_recipe`` is the command's. All leave the model, its caches and every random state as they were, to the bit.

Every check runs, whatever the others came to. What a check raises is its failure, with the message: a check that cannot
run has found a problem. With several processes, call it before the model is wrapped; each process computes the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sari_data.console import err, note, out
from sari_data.errors import InputError, SariError
from sari_data.store import read_split
from sari_data.types import AudioQuestion
from sari_train.checks.corpus import check_audio_lengths, check_keys, check_lessons, check_questions, check_splits
from sari_train.checks.learning import check_gradients, check_memory, check_step
from sari_train.checks.model import check_batch, check_clips, check_placeholders, check_sampler
from sari_train.checks.setting import Level, Setting, Verdict, make_setting, untouched
from sari_train.checks.texts import check_lengths, check_prompts, check_rewards, check_templates, check_tokens
from sari_train.config import Grpo, Sft, Training
from sari_train.models.base import AudioLM
from sari_train.rewards import Reward

# Name (for --json and messages), what it says in the table, the check.
CHECKS: tuple[tuple[str, str, Callable[[Setting], Verdict]], ...] = (
    ("questions", "questions can be graded", check_questions),
    ("keys", "chains end with the answer", check_keys),
    ("splits", "splits share nothing", check_splits),
    ("lessons", "pass rates leave something to learn", check_lessons),
    ("audio", "no clip is cut", check_audio_lengths),
    ("templates", "templates show all, targets follow the grammar", check_templates),
    ("rewards", "right answers earn all, wrong ones less", check_rewards),
    ("prompts", "prompts and targets arrive whole", check_prompts),
    ("tokens", "targets survive the tokenizer and end", check_tokens),
    ("lengths", "responses fit into max_new_tokens", check_lengths),
    ("placeholders", "audio placeholders = audio features", check_placeholders),
    ("batch", "a batch of 1 = a batch of many", check_batch),
    ("clips", "each completion hears its own clip", check_clips),
    ("sampler", "the sampler agrees with the trainer", check_sampler),
    ("gradients", "gradients reach what trains", check_gradients),
    ("step", "one step lowers the loss", check_step),
    ("memory", "it fits in memory", check_memory),
)
# Those that need examples as token ids: where they cannot be made, the check of prompts says why.
ENCODING = frozenset({"tokens", "placeholders", "batch", "clips", "sampler", "gradients", "step", "memory"})
MARKS: Mapping[Level, tuple[str, str]] = {
    "ok": ("✓", "green"),
    "warning": ("!", "yellow"),
    "fail": ("✗", "red"),
    "skipped": ("-", "dim"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the report.

    Args:
        name: The check's short name.
        title: What holds where it is ticked.
        verdict: What it came to.
        seconds: How long it took.
    """

    name: str
    title: str
    verdict: Verdict
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """What the checks came to.

    Args:
        kind: ``sft`` or ``grpo``.
        model: The model's name.
        lines: One for each check, in order.
    """

    kind: str
    model: str
    lines: tuple[Line, ...]

    @property
    def failed(self) -> tuple[Line, ...]:
        """The lines of the checks that found a problem."""
        return self.having("fail")

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.failed

    def having(self, level: Level) -> tuple[Line, ...]:
        """Return the lines of a level."""
        return tuple(line for line in self.lines if line.verdict.level == level)

    def __getitem__(self, name: str) -> Verdict:
        """The verdict of the check called ``name``."""
        return next(line.verdict for line in self.lines if line.name == name)

    @property
    def summary(self) -> str:
        """One line: how many of each level."""
        counts = [(len(self.having(level)), level) for level in MARKS]
        said = ", ".join(f"{count} {level}" for count, level in counts if count)
        return f"preflight for {self.kind} of {self.model}: {said} ({sum(line.seconds for line in self.lines):.1f} s)"

    def to_json(self) -> dict[str, Any]:
        """Return everything as one object."""
        checks = [
            {"name": line.name, "title": line.title, **asdict(line.verdict), "seconds": round(line.seconds, 3)}
            for line in self.lines
        ]
        return {"for": self.kind, "model": self.model, "passed": self.passed, "checks": checks}


def examine(
    lm: AudioLM,
    table: Training,
    questions: Sequence[AudioQuestion],
    *,
    rewards: Mapping[str, Reward] | None = None,
    quick: bool = True,
    only: Collection[str] | None = None,
) -> Report:
    """Run the checks and return the report; nothing is shown or raised, and everything is left as it was.

    Args:
        lm: The model as it will train: frozen and adapted.
        table: The recipe's ``[sft]`` or ``[grpo]``.
        questions: The training split.
        rewards: The rewards by name, default: sari's.
        quick: Read and encode fewer questions, as before a training.
        only: Names of the checks that are wanted, default: all.

    Raises:
        InputError: There are no questions.
    """
    if not questions:
        raise InputError("preflight needs questions to check, but the split is empty: build one with `sari-data build`")
    setting = make_setting(lm, table, questions, rewards=rewards, quick=quick)
    lines: list[Line] = []
    with untouched(lm):
        problem = _encoding_problem(setting)
        for name, title, check in CHECKS:
            if only is not None and name not in only:
                continue
            started = time.perf_counter()
            if problem and name in ENCODING:
                verdict = Verdict("skipped", f"no example can be encoded ({problem})")
            else:
                verdict = _judge(check, setting)
            lines.append(Line(name, title, verdict, time.perf_counter() - started))
    return Report("grpo" if isinstance(table, Grpo) else "sft", lm.name, tuple(lines))


def run_preflight(
    lm: AudioLM,
    table: Training,
    questions: Sequence[AudioQuestion],
    *,
    rewards: Mapping[str, Reward] | None = None,
    shown: bool = True,
) -> Report:
    """Check everything before a training: return the report, or raise where a check failed.

    Args:
        lm: The model as it will train: frozen, adapted, not wrapped.
        table: The recipe's ``[sft]`` or ``[grpo]``.
        questions: The training split.
        rewards: The rewards by name, default: sari's.
        shown: Tell of it on standard error: one line and the warnings, or the whole table where a check failed.

    Raises:
        InputError: A check failed; the sentence names it and says how to skip the checks.
    """
    report = examine(lm, table, questions, rewards=rewards)
    if shown and report.passed:
        note(report.summary)
        for line in report.having("warning"):
            note(f"preflight: {line.name}: {_because(line.verdict)}")
    elif shown:
        show(report, err)
    if not report.passed:
        raise InputError(refusal(report))
    return report


def refusal(report: Report) -> str:
    """Return the sentence that says why a training does not begin."""
    names = ", ".join(line.name for line in report.failed)
    count = len(report.failed)
    return (
        f"preflight: {count} of {len(report.lines)} checks found a problem ({names}; the first: "
        f"{_because(report.failed[0].verdict)}): do what they say, or set {report.kind}.preflight = false to train "
        "without these checks"
    )


def preflight_recipe(tables: Mapping[str, Training], kinds: Sequence[str]) -> list[Report]:
    """Load what each training would start from, and examine it.

    Args:
        tables: The recipe's ``sft`` and ``grpo``.
        kinds: Which of them.

    Raises:
        SariError: A model or corpus that cannot be read.
    """
    reports = []
    for kind in kinds:
        table = tables[kind]
        sft = tables["sft"]
        assert isinstance(sft, Sft)
        reports.append(examine(_load(table, sft), table, _read(table), quick=False))
    return reports


def show(report: Report, console: Console = out) -> None:
    """Print the table: ticks in a terminal, words where there is none."""
    if not console.is_terminal:
        console.print(report.summary, highlight=False, markup=False, soft_wrap=True)
        for line in report.lines:
            for text in (f"{line.verdict.level:8}{line.name:13}{line.verdict.measured}", *_details(line.verdict)):
                console.print(text, highlight=False, markup=False, soft_wrap=True)
        return
    grid = Table(title=report.summary, title_justify="left", show_header=False, box=None, padding=(0, 1))
    for _ in range(3):
        grid.add_column(overflow="fold")
    for line in report.lines:
        mark, style = MARKS[line.verdict.level]
        measured = Text(line.verdict.measured, style="dim" if line.verdict.level == "skipped" else "")
        for text in _details(line.verdict):
            measured.append(f"\n{text.strip()}", style=style)
        grid.add_row(Text(mark, style=f"bold {style}"), Text(f"{line.title}\n({line.name})"), measured)
    console.print(grid)


def _details(verdict: Verdict) -> list[str]:
    parts = (("expected", verdict.expected), ("found", verdict.found), ("do", verdict.remedy))
    return [f"          {label}: {text}" for label, text in parts if text]


def _because(verdict: Verdict) -> str:
    if not verdict.found:
        return verdict.measured
    return f"expected {verdict.expected}; found {verdict.found}; {verdict.remedy}"


def _judge(check: Callable[[Setting], Verdict], setting: Setting) -> Verdict:
    try:
        return check(setting)
    except SariError as error:
        return Verdict("fail", "could not be measured", "an input that can be used", str(error), "see there")
    except Exception as error:  # whatever a broken model, template or reward leads to: told, and it stops the run
        kind = type(error).__name__
        return Verdict("fail", "could not be measured", "no error", f"{kind}: {error}", "mend what raises it")


def _encoding_problem(setting: Setting) -> str | None:
    from sari_train.batch import encode_example

    try:
        for example in setting.examples:
            encode_example(setting.lm, example)
    except Exception as error:  # the check of prompts tells of it as its own failure
        return type(error).__name__
    return None


def _read(table: Training) -> list[AudioQuestion]:
    questions = read_split(table.corpus, getattr(table, "split", ""))
    if not questions:
        raise InputError(f"split {getattr(table, 'split', '')!r} of corpus {table.corpus} is empty: name another")
    return questions[: table.chains] if isinstance(table, Sft) else questions


def _load(table: Training, sft: Sft) -> AudioLM:
    """The model as the training loop would have it before its first step."""
    from sari_train.models.load import load_model
    from sari_train.plan_inputs import starting_model
    from sari_train.run import prepare_model

    name = starting_model(table, sft) if isinstance(table, Grpo) else table.model
    if name != table.model:
        note(f"there is no model in {table.model} yet: checking with {name}, which its warm-up starts from")
    quantize = table.lora.quantize if table.lora is not None else None
    lm = load_model(name, dtype=table.dtype, device=table.device, quantize=quantize)
    lm.long_audio = table.long_audio
    prepare_model(lm, table)
    return lm
