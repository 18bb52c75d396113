"""Ask a run's model to go on from its own thoughts with swapped captions, and compare its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sari_bench.benchmarks.base import Benchmark, digest_of
from sari_bench.counting import counted
from sari_bench.running.beside import file_digest, responder_for, say_costs, write_results
from sari_bench.running.measure import measure, with_options
from sari_bench.running.reopening import read_bench, reopen
from sari_bench.running.runs import RESPONSES, Run
from sari_bench.scorers.base import choice_of
from sari_bench.scoring import Scored
from sari_bench.shortcuts.gains import paired_gains
from sari_bench.thoughts.swapping import (
    ANSWER_ONLY,
    FOLDER,
    ORIGINAL,
    OTHER,
    OWN,
    RESULTS,
    VARIANTS,
    Swapped,
    SwapRow,
    choose_captions,
    find_captions,
)
from sari_data.errors import BenchmarkError
from sari_data.responder import Request, Responder
from sari_data.types import AudioQuestion


def swap_captions(
    run: Run,
    *,
    limit: int | None = None,
    seed: int = 0,
    scorer: str = "answer",
    options: dict[str, Any] | None = None,
    responder: Responder | None = None,
    benchmark: Benchmark | None = None,
) -> Swapped:
    """Ask all variants, and compute and keep what they show; answers that are there already are not asked for again.

    Args:
        run: The run whose thoughts are looked at.
        limit: Swap in at most so many responses, chosen by a hash of their ids.
        seed: Decides whose caption each gets.
        scorer: What judges the answers.
        options: Further options of the responder; they win over those of the run's recipe.
        responder: Who goes on, where it is loaded already.
        benchmark: The questions with their audio, where they are loaded already.

    Raises:
        BenchmarkError: No response has a caption, all captions are alike, or the responder is another model.
        InputError: The responder cannot go on from a prefix, or the limit is not positive.
    """
    there = sum(any(answer.sample == 0 for answer in given) for given in run.answers.values())
    captioned = find_captions(run)
    captions = choose_captions(captioned, seed)
    if not captions:
        why = (
            f"of {counted(there, 'response')} none has a caption section (the run's mode is {run.mode!r}): "
            "take a run of a mode with one, such as structured"
            if not captioned
            else f"the {len(captioned):,} captions all have the same words or are about one clip: take a larger run"
        )
        raise BenchmarkError(f"there is nothing to swap in run {str(run.folder)!r}: {why}")
    bench = with_options(read_bench(run), options or {}).model_copy(update={"samples": 1})
    asked = benchmark if benchmark is not None else reopen(run)
    whole = _part(asked, set(captions), "with captions swapped")
    chosen = whole.limit(limit)
    ids = {gold.id for gold in chosen.golds}
    by_id = {response.gold.id: response for response in captioned if response.gold.id in ids}
    suffix = "" if len(ids) == len(captions) else f"@{limit}"
    parts = {
        name: chosen
        if name != ANSWER_ONLY
        else _part(chosen, {i for i, r in by_id.items() if r.answer is not None}, "")
        for name in VARIANTS
    }
    parts = {name: part for name, part in parts.items() if part.golds}
    left = say_costs([(name, part, run.folder / FOLDER / f"{name}{suffix}") for name, part in parts.items()], bench)
    responder = responder if responder is not None else responder_for(run, bench, left)
    _check_same_model(run, responder)
    answered: dict[str, dict[str, Scored]] = {}
    for name, part in parts.items():

        def request(question: AudioQuestion, prompt: str, name: str = name) -> Request:
            prefix = by_id[question.id].prefix(name, captions[question.id])
            return Request(question.id, question.audio, prompt, prefix=prefix, more_audio=question.more_audio)

        folder = run.folder / FOLDER / f"{name}{suffix}"
        variant = measure(bench, part, folder, responder=responder, variant=name, requests=request)
        answered[name] = {item.gold.id: item for item in variant.score(scorer).items}
    original = {item.gold.id: item for item in run.score(scorer).items if item.answer.sample == 0}
    left_out = {
        "no caption": there - len(captioned),
        "no other caption": len(captioned) - len(captions),
        "limit": len(captions) - len(ids),
    }
    result = compare_swapped(
        {ORIGINAL: original, **answered}, scorer, there, left_out, file_digest(run.folder / RESPONSES)
    )
    write_results(run.folder / FOLDER / RESULTS, result.to_json())
    return result


def compare_swapped(
    answered: Mapping[str, Mapping[str, Scored]],
    scorer: str,
    responses: int,
    left_out: Mapping[str, int],
    digest: str,
) -> Swapped:
    """Compare the scored answers of the variants, by question id, with the original's and with each other."""
    original, ids = answered[ORIGINAL], list(answered[OWN])
    golds = [original[i].gold for i in ids]
    rows, right, changed = [], {}, {}
    before = {i: choice_of(original[i].gold, original[i].answer) for i in ids}
    for name, items in answered.items():
        mine = [i for i in ids if i in items]
        right[name] = {i: float(items[i].outcome == "correct") for i in mine}
        changed[name] = {i: float(choice_of(items[i].gold, items[i].answer) != before[i]) for i in mine}
        rows.append(SwapRow(name, len(mine), int(sum(right[name].values())), int(sum(changed[name].values()))))
    return Swapped(
        scorer,
        tuple(rows),
        forcing=paired_gains(golds, right[ORIGINAL], right[OWN])[0],
        swap=paired_gains(golds, right[OWN], right[OTHER])[0],
        changes=paired_gains(golds, changed[OWN], changed[OTHER])[0],
        responses=responses,
        left_out={why: count for why, count in left_out.items() if count},
        digest=digest,
    )


def _part(benchmark: Benchmark, ids: set[str], what: str) -> Benchmark:
    kept = [row for row, gold in enumerate(benchmark.golds) if gold.id in ids]
    golds = tuple(benchmark.golds[row] for row in kept)
    questions = tuple(benchmark.questions[row] for row in kept)
    version = f"{benchmark.version}, {what}" if what else benchmark.version
    return Benchmark(benchmark.name, version, digest_of(golds), questions, golds, benchmark.notes)


def _check_same_model(run: Run, responder: Responder) -> None:
    there = run.meta["model"].get("name")
    if responder.name != there:
        raise BenchmarkError(
            f"run {str(run.folder)!r} has the thoughts of model {there!r}, and its recipe now opens "
            f"{responder.name!r}: a model must go on from its own thoughts, so restore it or run the benchmark again"
        )
