"""The stages of a build, in their order: each takes the scratch, changes what is in it, and counts.

What a stage sets aside is recorded with its reason, so that nothing disappears without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from sari_data.annotate import Annotate, OpenAsker, OpenAskers, Tally, caption_clips, write_chains, write_questions
from sari_data.calibrate import (
    NEVER_PASSED,
    PASSED_UNHEARD,
    UNANSWERED,
    Calibrate,
    calibrated,
    measure,
    progress_total,
    side_split,
)
from sari_data.config import Table
from sari_data.console import Advance, note, progress
from sari_data.counting import count
from sari_data.dedup import Dedup, find_duplicates
from sari_data.funnel import Funnel, Stage
from sari_data.responder import Responder, Usage
from sari_data.scratch import Scratch
from sari_data.sources import load_source
from sari_data.sources.base import Clip, SetAside
from sari_data.splitting import Entry, split_by_clip
from sari_data.types import AudioQuestion

# Splits below side/: what the calibration took out of rl.
SIDES = (NEVER_PASSED, PASSED_UNHEARD, UNANSWERED)

NO_WRITER = "nobody writes questions about it"

T = TypeVar("T")


def collect(scratch: Scratch, funnel: Funnel, sources: Mapping[str, Table], seed: int) -> None:
    """Put in what the sources yield; what they set aside, and what comes twice, is recorded.

    Raises:
        InputError: A source is unknown, or its files are not what it reads.
    """
    for name, options in sources.items():
        stage = funnel.stage(f"collect {name}", "items")
        with progress(f"collect from {name}") as advance:
            for item in load_source(name).generate(options, seed):
                stage.entered += 1
                if isinstance(item, SetAside):
                    _drop(scratch, stage, item, kind=None)
                elif scratch.add(item):
                    stage.left += 1
                else:
                    _drop(scratch, stage, SetAside(stage="collect", reason="exact repeat", id=item.id), kind=None)
                advance(1)
        note(f"{stage.name}: {stage.line()}")
    questions = count(scratch.questions())
    tally = ", ".join(f"{domain} {number:,}" for domain, number in questions["domains"].items())
    clips = len(scratch.clips())
    also = f", and {clips:,} clips to write questions about" if clips else ""
    note(f"collect: {questions['questions']:,} questions ({tally or 'none'}){also}, seed {seed}")


def caption(scratch: Scratch, funnel: Funnel, askers: OpenAskers, table: Annotate) -> None:
    """Have the clips without a caption described."""
    bare, asker = scratch.clips(captioned=False), askers.caption
    if asker is None or not len(bare):
        return
    stage, tally = funnel.stage("caption", "clips", entered=len(bare)), Tally()
    with _asking("caption", len(bare), tally, asker) as told:
        _settle(scratch, stage, told(caption_clips(bare, asker, table, tally=tally)), "clip")
    _tell(stage, tally, asker)


def question(scratch: Scratch, funnel: Funnel, askers: OpenAskers, table: Annotate) -> None:
    """Have questions written about the clips; without a writer the clips are set aside."""
    clips, asker = scratch.clips(), askers.question
    if not len(clips):
        return
    stage, tally = funnel.stage("question", "clips", entered=len(clips), made="questions"), Tally()
    if asker is None:
        for clip in clips:
            aside = SetAside(stage="question", reason=NO_WRITER, id=clip.id, provenance=clip.provenance)
            _drop(scratch, stage, aside, kind="clip")
        note(f"{stage.name}: {stage.line()}; set annotate.question.responder to have questions written")
        return
    with _asking("question", len(clips), tally, asker) as told:
        _settle(scratch, stage, told(write_questions(clips, asker, table, tally=tally)), "clip")
    if tally.short:
        stage.dropped["questions that no valid answer was found for"] = tally.short
    _tell(stage, tally, asker)


def clean(scratch: Scratch, funnel: Funnel, table: Dedup | None) -> tuple[dict[str, Any], dict[str, str]]:
    """Find near-duplicates and what a benchmark has too, and drop or mark them as the table says.

    Returns:
        What was compared and found, for the manifest (empty where nothing was compared), and the groups of clips
        that are the same sound, clip to group.
    """
    if table is None:
        return {}, {}
    questions = scratch.questions()
    stage = funnel.stage("clean", entered=len(questions))
    with progress("clean", total=len(questions)) as advance:
        findings = find_duplicates(questions, table, advance)
    for found in scratch.chosen([*findings.contaminated, *findings.duplicates]):
        fate, flag = findings.verdict(found.id, table)
        if fate == "mark":
            scratch.put(found.replace(flags=tuple(dict.fromkeys([*found.flags, flag]))))
        elif fate == "drop":
            reason = {"contaminated": "in a benchmark", "near_duplicate": "near-duplicate"}[flag]
            detail = "; ".join(map(str, findings.by_question[found.id]))
            aside = SetAside(stage="clean", reason=reason, id=found.id, provenance=found.provenance, detail=detail)
            _drop(scratch, stage, aside, kind="question")
    stage.left = len(scratch.questions())
    note(f"{stage.name}: {stage.line()}")
    return dict(findings.summary), dict(findings.groups)


def split(
    scratch: Scratch,
    funnel: Funnel,
    *,
    sft: int,
    dev: int,
    seed: int,
    groups: Mapping[str, str],
    askers: OpenAskers,
    table: Annotate,
) -> None:
    """Part the questions; chains are written for those that ``sft`` needs and that have none.

    Raises:
        InputError: There are too few questions.
    """
    entries = [Entry(e.id, groups.get(e.clip, e.clip), e.domain, e.chains) for e in scratch.entries()]
    asker, stage, tally = askers.reasoning, funnel.stage("reason"), Tally()

    def write(ids: list[str]) -> set[str]:
        assert asker is not None
        if askers.caption is not None:
            _caption_questions(scratch, funnel, scratch.chosen(ids), askers.caption, table)
        wanted = scratch.chosen(ids)
        stage.entered += len(wanted)
        written = set()
        with _asking("reason", len(wanted), tally, asker) as told:
            for id_, found in told(write_chains(wanted, asker, askers.judge, table, tally=tally)):
                if isinstance(found, SetAside):
                    # Without a chain a question is still one to practise on.
                    scratch.note_aside(found)
                    stage.dropped[f"{found.reason} (left to rl)"] += 1
                else:
                    scratch.put(found)
                    stage.left += 1
                    written.add(id_)
        return written

    parts = split_by_clip(entries, sft=sft, dev=dev, seed=seed, write_chains=None if asker is None else write)
    for name, ids in parts.items():
        scratch.assign(name, ids)
    if asker is not None:
        _tell(stage, tally, asker, *filter(None, [askers.judge]))
    if not stage.entered:
        funnel.stages.remove(stage)
    note(f"split: {', '.join(f'{name} {len(ids):,}' for name, ids in parts.items())}; no clip is in two of them")


def _caption_questions(
    scratch: Scratch, funnel: Funnel, questions: Iterable[AudioQuestion], asker: OpenAsker, table: Annotate
) -> None:
    """Have the clips of questions described that came without a caption (AVQA's): a chain is written from one."""
    clips: dict[str, Clip] = {}
    about: dict[str, list[str]] = {}
    for found in questions:
        if found.caption is None:
            clip = Clip(audio=found.audio, domain=found.domain, provenance=found.provenance)
            clips[clip.id] = clip
            about.setdefault(clip.id, []).append(found.id)
    if not clips:
        return
    stage, tally = funnel.stage("caption for chains", "clips", entered=len(clips)), Tally()
    with _asking(stage.name, len(clips), tally, asker) as told:
        for id_, result in told(caption_clips(clips.values(), asker, table, tally=tally)):
            if isinstance(result, SetAside):
                # The question stays; the writer of chains will say that it lacks a caption.
                stage.dropped[result.reason] += 1
                continue
            stage.left += 1
            for found in scratch.chosen(about[id_]):
                made_by = {**found.provenance.made_by, "caption": result.provenance.made_by["caption"]}
                scratch.put(
                    found.replace(caption=result.caption, provenance=replace(found.provenance, made_by=made_by))
                )
    _tell(stage, tally, asker)


def rate(scratch: Scratch, funnel: Funnel, responder: Responder, table: Calibrate) -> dict[str, Any]:
    """Calibrate the questions of ``rl`` and those taken out of it before, and take out what the table says.

    Returns:
        The calibration's summary, for the manifest.
    """
    asked = [q.id for name in ("rl", *SIDES) for q in scratch.questions(name)]
    scratch.assign("rl", asked)
    questions = scratch.questions("rl")
    stage = funnel.stage("calibrate", entered=len(questions))
    how = f"{table.samples} samples each" if table.method == "fixed" else "as many samples as it takes"
    note(f"calibrate: asking {responder.name} {len(questions):,} questions, {how}, mode {table.mode}")
    with progress("calibrate", total=progress_total(table, len(questions))) as advance:
        calibration = measure(questions, responder, table, _with_usage(advance, responder))
    homes: dict[str, list[str]] = {name: [] for name in ("rl", *SIDES)}
    for found in questions:
        rated = calibrated(found, calibration)
        scratch.put(rated)
        homes[side_split(rated, table, calibration) or "rl"].append(rated.id)
    for name, ids in homes.items():
        scratch.assign(name, ids)
        if name != "rl" and ids:
            stage.dropped[f"to the side file {name}"] = len(ids)
    stage.left = len(homes["rl"])
    summary = dict(calibration.summary)
    stage.note = _used(responder)
    for why, number in summary.get("unanswered_because", {}).items():
        note(f"calibrate: {number:,} questions could not be answered: {why}")
    note(f"{stage.name}: mean pass rate {summary['mean_pass_rate']}; {stage.line()}")
    return summary


def _settle(scratch: Scratch, stage: Stage, results: Iterable[tuple[str, Any]], kind: str) -> None:
    """Take in what became of items, by their ids: a new one, several questions for a clip, or that it was set aside."""
    for id_, found in results:
        if isinstance(found, SetAside):
            _drop(scratch, stage, found, kind=kind)
        elif isinstance(found, list):
            repeats = scratch.expand(id_, found)
            for one in repeats:
                _drop(scratch, stage, SetAside(stage=stage.name, reason="exact repeat", id=one.id), kind=None)
            stage.left += len(found) - len(repeats)
            scratch.take_out("clip", id_)
        else:
            scratch.put(found)
            stage.left += 1


def _drop(scratch: Scratch, stage: Stage, aside: SetAside, *, kind: str | None) -> None:
    scratch.set_aside(aside, kind=kind)
    stage.dropped[aside.reason] += 1


@contextmanager
def _asking(name: str, total: int, tally: Tally, asker: OpenAsker) -> Iterator[Callable[[Iterable[T]], Iterator[T]]]:
    """Show how a stage's results come in, with what it costs so far; yields what lets them through."""
    with progress(name, total=total) as advance:

        def told(results: Iterable[T]) -> Iterator[T]:
            for result in results:
                yield result
                again = f"{tally.asked_again:,} asked again, " if tally.asked_again else ""
                advance(1, text=again + _used(asker.responder))

        yield told


def _with_usage(advance: Advance, responder: Responder) -> Callable[[int], None]:
    def told(count: int) -> None:
        advance(count, text=_used(responder))

    return told


def _tell(stage: Stage, tally: Tally, *askers: OpenAsker) -> None:
    again = [f"{tally.asked_again:,} asked again"] if tally.asked_again else []
    used = [_used(asker.responder) for asker in {id(a.responder): a for a in askers}.values()]
    stage.note = "; ".join(filter(None, [*again, *used]))
    note(f"{stage.name}: {stage.line()}")


def _used(responder: Responder) -> str:
    usage: Usage | None = getattr(responder, "usage", None)
    return "" if usage is None else describe_usage(usage)


def describe_usage(usage: Usage) -> str:
    """Return what was used as one phrase: requests, cached answers, tokens, and the cost where it is known."""
    parts = [f"{usage.requests:,} requests"]
    if usage.cached:
        parts.append(f"{usage.cached:,} answers from the cache")
    if usage.retries:
        parts.append(f"{usage.retries:,} sent again")
    if usage.prompt_tokens or usage.completion_tokens:
        parts.append(f"{usage.prompt_tokens:,} tokens read, {usage.completion_tokens:,} written")
    if usage.cost is not None:
        parts.append(f"cost {usage.cost:,.4f}")
    return ", ".join(parts)
