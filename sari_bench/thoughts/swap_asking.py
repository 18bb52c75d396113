"""Ask a run's model to go on from its own thoughts with swapped captions, and compare its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sari_bench.benchmarks.base import Benchmark
from sari_bench.counting import counted
from sari_bench.running.beside import file_digest, responder_for, say_costs, write_results
from sari_bench.running.measure import measure, with_options
from sari_bench.running.reopening import read_bench, reopen
from sari_bench.running.run_meta import check_audio
from sari_bench.running.runs import RESPONSES, Run
from sari_bench.scorers.base import choice_of
from sari_bench.scoring import Scored
from sari_bench.shortcuts.gains import paired_gains
from sari_bench.statistics.metrics import count_outcomes
from sari_bench.thoughts.swapping import (
    ANSWER_ONLY,
    FOLDER,
    ORIGINAL,
    OTHER,
    OWN,
    RESULTS,
    VARIANTS,
    Captioned,
    Swapped,
    SwapRow,
    choose_captions,
    find_captions,
)
from sari_data.errors import BenchmarkError, InputError
from sari_data.responder import Request, Responder
from sari_data.types import AudioQuestion

Key = tuple[str, int]  # of an answer: its question's id, and which of the question's answers it is


def swap_captions(
    run: Run,
    *,
    limit: int | None = None,
    samples: int = 1,
    seed: int = 0,
    scorer: str = "answer",
    options: dict[str, Any] | None = None,
    responder: Responder | None = None,
    benchmark: Benchmark | None = None,
) -> Swapped:
    """Ask all variants, and compute and keep what they show; answers that are there already are not asked for again.

    Args:
        run: The run whose thoughts are looked at.
        limit: Of each sample, swap in at most so many responses, chosen by a hash of their questions' ids.
        samples: Of each question's answers, take so many, the first ones.
        seed: Decides whose caption each gets.
        scorer: What judges the answers.
        options: Further options of the responder; they win over those of the run's recipe.
        responder: Who goes on, where it is loaded already.
        benchmark: The questions with their audio, where they are loaded already.

    Raises:
        BenchmarkError: No response has a caption, all captions are alike, or the responder is another model.
        InputError: The responder cannot go on from a prefix, the limit is not positive, or the run has not so many
            samples.
    """
    if not 1 <= samples <= run.samples:
        raise InputError(
            f"run {str(run.folder)!r} has {counted(run.samples, 'answer')} to each question, and captions are to be "
            f"swapped in {samples} of them: ask for 1 to {run.samples} --samples"
        )
    there = sum(answer.sample < samples for given in run.answers.values() for answer in given)
    found = [find_captions(run, number) for number in range(samples)]
    captions = [choose_captions(captioned, seed) for captioned in found]
    if not any(captions):
        why = (
            f"of {counted(there, 'response')} none has a caption section (the run's mode is {run.mode!r}): "
            "take a run of a mode with one, such as structured"
            if not any(found)
            else f"the {sum(map(len, found)):,} captions all have the same words or are about one clip: take a larger "
            "run"
        )
        raise BenchmarkError(f"there is nothing to swap in run {str(run.folder)!r}: {why}")
    bench = with_options(read_bench(run), options or {}).model_copy(update={"samples": 1})
    asked = benchmark if benchmark is not None else reopen(run)
    check_audio(asked)
    parts = [
        part for number in range(samples) for part in _parts(run, number, asked, found[number], captions[number], limit)
    ]
    left = say_costs([(part.variant, part.questions, part.folder) for part in parts], bench)
    responder = responder if responder is not None else responder_for(run, bench, left)
    _check_same_model(run, responder)
    answered: dict[str, dict[Key, Scored]] = {ORIGINAL: {}}
    for item in run.score(scorer).items:
        answered[ORIGINAL][item.gold.id, item.answer.sample] = item
    for part in parts:
        # Of its own seed, so that answers which go on from two thoughts about one question are not drawn alike.
        table = bench.model_copy(update={"seed": bench.seed + part.sample})
        variant = measure(
            table, part.questions, part.folder, responder=responder, variant=part.variant, requests=part.request
        )
        mine = answered.setdefault(part.variant, {})
        mine |= {(item.gold.id, part.sample): item for item in variant.score(scorer).items}
    left_out = {
        "no caption": there - sum(map(len, found)),
        "no other caption": sum(map(len, found)) - sum(map(len, captions)),
        "limit": sum(map(len, captions)) - len(answered[OWN]),
    }
    result = compare_swapped(answered, scorer, there, left_out, file_digest(run.folder / RESPONSES), samples)
    if samples < run.samples:
        more = f"captions were swapped in {samples} of {run.samples} answers to each question (--samples)"
        result = replace(result, notes=(more,))
    write_results(run.folder / FOLDER / RESULTS, result.to_json())
    return result


@dataclass(frozen=True, slots=True)
class _Part:
    """What one variant asks of the responses with one number: a run folder of its own."""

    variant: str
    sample: int
    questions: Benchmark
    folder: Path
    responses: Mapping[str, Captioned]
    captions: Mapping[str, str]

    def request(self, question: AudioQuestion, prompt: str) -> Request:
        prefix = self.responses[question.id].prefix(self.variant, self.captions[question.id])
        return Request(question.id, question.audio, prompt, prefix=prefix, more_audio=question.more_audio)


def _parts(
    run: Run,
    sample: int,
    asked: Benchmark,
    captioned: Sequence[Captioned],
    captions: Mapping[str, str],
    limit: int | None,
) -> list[_Part]:
    """Return the variants of the responses with one number; none where no caption can be swapped in them."""
    if not captions:
        return []
    swappable = [row for row, gold in enumerate(asked.golds) if gold.id in captions]
    chosen = asked.part(swappable, "with a caption to swap").limit(limit)
    responses = {response.gold.id: response for response in captioned}
    begun = [row for row, gold in enumerate(chosen.golds) if responses[gold.id].answer is not None]
    number = f".sample-{sample}" if sample else ""
    suffix = "" if len(chosen.golds) == len(captions) else f"@{limit}"
    parts = []
    for variant in VARIANTS:
        if variant == ANSWER_ONLY and not begun:
            continue
        questions = chosen.part(begun, "with an answer") if variant == ANSWER_ONLY else chosen
        folder = run.folder / FOLDER / f"{variant}{number}{suffix}"
        parts.append(_Part(variant, sample, questions, folder, responses, captions))
    return parts


def compare_swapped(
    answered: Mapping[str, Mapping[Key, Scored]],
    scorer: str,
    responses: int,
    left_out: Mapping[str, int],
    digest: str,
    samples: int = 1,
) -> Swapped:
    """Compare the scored answers of the variants with the original's and with each other.

    Answers are paired by question and number; a question's score is then the mean over its answers.
    """
    original, keys = answered[ORIGINAL], list(answered[OWN])
    rows, right, changed = [], {}, {}
    before = {key: choice_of(original[key].gold, original[key].answer) for key in keys}
    for name, items in answered.items():
        mine = {key: items[key] for key in keys if key in items}
        is_right = {key: item.outcome == "correct" for key, item in mine.items()}
        is_changed = {key: choice_of(item.gold, item.answer) != before[key] for key, item in mine.items()}
        right[name], changed[name] = _by_question(is_right), _by_question(is_changed)
        counts = sum(is_right.values()), sum(is_changed.values())
        ends = _interval(mine, is_right), _interval(mine, is_changed)
        rows.append(SwapRow(name, len(mine), *counts, *ends))
    golds = list({identifier: original[identifier, sample].gold for identifier, sample in keys}.values())
    return Swapped(
        scorer,
        tuple(rows),
        forcing=paired_gains(golds, right[ORIGINAL], right[OWN])[0],
        swap=paired_gains(golds, right[OWN], right[OTHER])[0],
        changes=paired_gains(golds, changed[OWN], changed[OTHER])[0],
        responses=responses,
        left_out={why: count for why, count in left_out.items() if count},
        digest=digest,
        samples=samples,
    )


def _by_question(found: Mapping[Key, bool]) -> dict[str, float]:
    """Return of each question the share of its answers of which something holds."""
    parts: dict[str, list[bool]] = {}
    for (identifier, _), holds in found.items():
        parts.setdefault(identifier, []).append(holds)
    return {identifier: sum(part) / len(part) for identifier, part in parts.items()}


def _interval(items: Mapping[Key, Scored], found: Mapping[Key, bool]) -> tuple[float, float]:
    """Return the 95 % interval of the share of answers of which something holds: by clip where one repeats."""
    outcomes = ["correct" if holds else "wrong" for holds in found.values()]
    counts = count_outcomes([key[0] for key in found], outcomes, [item.gold.cluster for item in items.values()])
    assert counts.best_interval is not None, "a variant without an answer has no row"
    return counts.best_interval


def _check_same_model(run: Run, responder: Responder) -> None:
    there = run.meta["model"].get("name")
    if responder.name != there:
        raise BenchmarkError(
            f"run {str(run.folder)!r} has the thoughts of model {there!r}, and its recipe now opens "
            f"{responder.name!r}: a model must go on from its own thoughts, so restore it or run the benchmark again"
        )
