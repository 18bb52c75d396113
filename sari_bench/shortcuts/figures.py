"""From a run and the variants beside it to the table of shortcuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sari_bench.benchmarks.base import Benchmark, Gold
from sari_bench.running.runs import META, RESPONSES, Run, count_responses, read_meta, read_run
from sari_bench.scoring import Score, Scored
from sari_bench.shortcuts.circular import evaluate
from sari_bench.shortcuts.gains import paired_gains
from sari_bench.shortcuts.priors import chance, check_answers, priors
from sari_bench.shortcuts.results import FOLDER, WITHOUT, Row, Shortcuts, file_digest
from sari_bench.shortcuts.variants import CIRCULAR, VARIANTS
from sari_bench.statistics.metrics import Tally
from sari_data.errors import BenchmarkError


def rules_only(benchmark: Benchmark) -> Shortcuts:
    """Return what rules score, from the questions alone.

    Raises:
        BenchmarkError: Answers are withheld.
    """
    about = {"name": benchmark.name, "version": benchmark.version, "digest": benchmark.digest}
    return Shortcuts(about, "", "", 1, "answer", tuple(_rules(benchmark.golds, None)), notes=benchmark.notes)


def evaluate_shortcuts(run: Run, scorer: str = "answer", notes: Sequence[str] = ()) -> Shortcuts:
    """Compute every figure from a run and the variants that were asked beside it.

    Args:
        run: The run with the own audio.
        scorer: What judges the answers.
        notes: What else must be known.

    Raises:
        BenchmarkError: Answers are withheld, or a variant's folder is not as it was written or of another model.
    """
    golds = run.benchmark.golds
    own = run.score(scorer)
    shares = _shares(own.items)
    rows = _rules(golds, shares)
    rows.append(_own_row(own))
    digests = {"own": file_digest(run.folder / RESPONSES)}
    circular = None
    for name in VARIANTS:
        folder = run.folder / FOLDER / name
        if not (folder / META).is_file():
            continue
        variant = read_run(folder)
        _check_model(run, variant)
        digests[name] = file_digest(folder / RESPONSES)
        score = variant.score(scorer)
        if name == CIRCULAR:
            tally, right, circular = evaluate(golds, own.items, score.items, run.samples)
            about = "every rotation of the options; right only if right in all"
        else:
            # As the run's own row and its gain: over every question, whatever the scorer's total leaves out.
            tally, right, about = score.honest, _shares(score.items), WITHOUT[name]
        rows.append(_row(name, "variant", about, tally, golds, shares, right))
    about_benchmark = {key: run.meta["benchmark"][key] for key in ("name", "version", "digest")}
    told = [*notes, *_missing(run, digests, scorer)]
    return Shortcuts(
        about_benchmark, str(run.meta["model"].get("name", "")), run.mode, run.samples, scorer, tuple(rows), circular,
        digests, tuple(told),
    )  # fmt: skip


def _rules(golds: Sequence[Gold], own: Mapping[str, float] | None) -> list[Row]:
    check_answers(golds)
    guess = chance(golds)
    rows = [Row("chance", "chance", "a uniform guess among the options", guess.n, guess.expected, guess.middle)]
    for prior in priors(golds):
        right = {gold.id: float(gold.id in prior.right) for gold in golds}
        rows.append(_row(prior.name, "rule", prior.about, prior.tally, golds, own, right))
    return rows


def _own_row(own: Score) -> Row:
    tally = own.honest
    return Row(
        "own audio",
        "own",
        "the run itself",
        tally.n,
        tally.accuracy or 0.0,
        _interval(tally),
        tally.correct,
    )


def _row(
    name: str,
    kind: str,
    about: str,
    tally: Tally,
    golds: Sequence[Gold],
    own: Mapping[str, float] | None,
    right: Mapping[str, float],
) -> Row:
    asked = [gold for gold in golds if gold.id in right]
    gain, by = (None, {}) if own is None else paired_gains(asked, right, own, tasks=kind == "variant")
    listed = tuple(gold.id for gold in asked if right[gold.id] == 1.0) if kind == "variant" else ()
    return Row(name, kind, about, tally.n, tally.accuracy or 0.0, _interval(tally), tally.correct, gain, by, listed)


def _interval(tally: Tally) -> tuple[float, float]:
    return tally.best_interval or (0.0, 1.0)  # of nothing nothing is known


def _shares(items: Sequence[Scored]) -> dict[str, float]:
    """Share of each question's samples that are right."""
    outcomes: dict[str, list[bool]] = {}
    for item in items:
        outcomes.setdefault(item.gold.id, []).append(item.outcome == "correct")
    return {identifier: sum(right) / len(right) for identifier, right in outcomes.items()}


def _check_model(run: Run, variant: Run) -> None:
    for key, there, here in (
        ("model", variant.meta["model"].get("name"), run.meta["model"].get("name")),
        ("mode", variant.mode, run.mode),
    ):
        if there != here:
            raise BenchmarkError(
                f"{str(variant.folder)!r} holds answers of another {key} ({there}) than the run beside it ({here}): "
                "delete the folder and run 'sari-bench shortcuts' again"
            )


def _missing(run: Run, digests: Mapping[str, str], scorer: str) -> list[str]:
    """Say which figures rest on answers that are not there."""
    notes = []
    for name in digests:
        folder = run.folder if name == "own" else run.folder / FOLDER / name
        meta = read_meta(folder)
        due = meta["benchmark"]["questions"] * meta["samples"]
        there = count_responses(folder)
        if there < due:
            notes.append(f"{name}: {due - there:,} of {due:,} answers are missing and count as not right")
    return notes
