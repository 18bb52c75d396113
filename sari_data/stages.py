"""The stages of a build, in their order: each takes the scratch, changes what is in it, and counts.

What a stage sets aside is recorded with its reason, so that nothing disappears without a word.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from sari_data.annotate import Asking, caption_clips, write_chains, write_questions
from sari_data.calibrate import Calibrate, Calibration, measure
from sari_data.config import Table
from sari_data.console import Advance, note, progress
from sari_data.counting import count
from sari_data.dedup import Dedup, find_duplicates
from sari_data.funnel import Funnel, Stage
from sari_data.responder import Responder, Usage
from sari_data.scratch import Scratch
from sari_data.sources import load_source
from sari_data.sources.base import SetAside
from sari_data.splitting import Entry, split_by_clip
from sari_data.types import AudioQuestion

# Splits below side/: what the calibration took out of rl.
NEVER_PASSED = "never_passed"
PASSED_UNHEARD = "passed_unheard"
SIDES = (NEVER_PASSED, PASSED_UNHEARD)

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


def caption(scratch: Scratch, funnel: Funnel, asking: Asking | None) -> None:
    """Have the clips without a caption described."""
    bare = scratch.clips(captioned=False)
    if asking is None or not len(bare):
        return
    stage = funnel.stage("caption", "clips", entered=len(bare))
    with progress("caption", total=len(bare)) as advance:
        _settle(scratch, stage, _told(caption_clips(bare, asking), advance, asking), "clip")
    _tell(stage, asking)


def question(scratch: Scratch, funnel: Funnel, asking: Asking | None) -> None:
    """Have questions written about the clips; without a writer the clips are set aside."""
    clips = scratch.clips()
    if not len(clips):
        return
    stage = funnel.stage("question", "clips", entered=len(clips), made="questions")
    if asking is None:
        for clip in clips:
            reason = "nobody writes questions (annotate.question.responder)"
            aside = SetAside(stage="question", reason=reason, id=clip.id, provenance=clip.provenance)
            _drop(scratch, stage, aside, kind="clip")
        note(f"{stage.name}: {stage.line()}")
        return
    with progress("question", total=len(clips)) as advance:
        _settle(scratch, stage, _told(write_questions(clips, asking), advance, asking), "clip")
    _tell(stage, asking)


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
        findings = find_duplicates(questions, table, advance=advance)
    for id_, aside in findings.dropped.items():
        assert id_ == aside.id
        _drop(scratch, stage, aside, kind="question")
    for found in scratch.chosen(findings.flags):
        scratch.put(found.replace(flags=(*found.flags, *findings.flags[found.id])))
    stage.left = len(scratch.questions())
    note(f"{stage.name}: {stage.line()}")
    return findings.summary, findings.groups


def split(
    scratch: Scratch, funnel: Funnel, *, sft: int, dev: int, seed: int, groups: Mapping[str, str], asking: Asking | None
) -> None:
    """Part the questions; chains are written for those that ``sft`` needs and that have none.

    Raises:
        InputError: There are too few questions.
    """
    entries = [Entry(e.id, groups.get(e.clip, e.clip), e.domain, e.chains) for e in scratch.entries()]
    stage = funnel.stage("reason") if asking is not None else None

    def write(ids: list[str]) -> set[str]:
        assert asking is not None
        assert stage is not None
        wanted = scratch.chosen(ids)
        stage.entered += len(wanted)
        written = set()
        with progress("reason", total=len(wanted)) as advance:
            for id_, found in _told(write_chains(wanted, asking), advance, asking):
                if isinstance(found, SetAside):
                    # Without a chain a question is still one to practise on.
                    scratch.note_aside(found)
                    stage.dropped[f"{found.reason} (left to rl)"] += 1
                else:
                    scratch.put(found)
                    stage.left += 1
                    written.add(id_)
        return written

    parts = split_by_clip(entries, sft=sft, dev=dev, seed=seed, write_chains=None if asking is None else write)
    for name, ids in parts.items():
        scratch.assign(name, ids)
    if asking is not None and stage is not None:
        _tell(stage, asking)
    note(f"split: {', '.join(f'{name} {len(ids):,}' for name, ids in parts.items())}; no clip is in two of them")


def rate(scratch: Scratch, funnel: Funnel, responder: Responder, table: Calibrate) -> dict[str, Any]:
    """Calibrate the questions of ``rl`` and those taken out of it before, and take out what the table says.

    Returns:
        The calibration's summary, for the manifest.
    """
    asked = [q.id for name in ("rl", *SIDES) for q in scratch.questions(name)]
    scratch.assign("rl", asked)
    questions = scratch.questions("rl")
    stage = funnel.stage("calibrate", entered=len(questions))
    note(
        f"calibrate: asking {responder.name} {len(questions):,} questions, "
        f"{'up to ' if table.method == 'adaptive' else ''}{table.samples} samples each, mode {table.mode}"
    )
    with progress("calibrate", total=len(questions)) as advance:
        calibration = measure(questions, responder, table, _with_usage(advance, responder))
    homes: dict[str, list[str]] = {name: [] for name in ("rl", *SIDES)}
    for found in questions:
        rated = apply_rates(found, calibration)
        scratch.put(rated)
        homes[_home(rated, table)].append(rated.id)
    for name, ids in homes.items():
        scratch.assign(name, ids)
        if name != "rl" and ids:
            stage.dropped[f"to the side file {name}"] = len(ids)
    stage.left = len(homes["rl"])
    note(f"{stage.name}: mean pass rate {calibration.summary['mean_pass_rate']}; {stage.line()}")
    return calibration.summary


def apply_rates(question: AudioQuestion, calibration: Calibration) -> AudioQuestion:
    """Return a question with its new pass rates; one of the same responder, mode, seed and audio is replaced."""
    new = calibration.rates[question.id]
    keys = {_run(rate) for rate in new}
    kept = tuple(rate for rate in question.pass_rates if _run(rate) not in keys)
    flags = [flag for flag in question.flags if not flag.startswith("passes_with")]
    return question.replace(pass_rates=(*kept, *new), flags=(*flags, *calibration.flags.get(question.id, ())))


def _home(question: AudioQuestion, table: Calibrate) -> str:
    latest = [rate for rate in question.pass_rates if rate.audio == "own"][-1]
    if table.drop_never_passed and latest.passes == 0:
        return NEVER_PASSED
    unheard = any(flag.startswith("passes_with") for flag in question.flags)
    return PASSED_UNHEARD if table.drop_passed_unheard and unheard else "rl"


def _run(rate: Any) -> tuple[Any, ...]:
    return rate.responder, rate.mode, rate.seed, rate.audio


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


def _told(results: Iterable[T], advance: Advance, asking: Asking) -> Iterator[T]:
    for result in results:
        yield result
        advance(1, text=describe_usage(asking.usage))


def _with_usage(advance: Advance, responder: Responder) -> Advance:
    usage: Usage | None = getattr(responder, "usage", None)

    def told(count: int = 1, /, text: str = "") -> None:
        advance(count, text=text or (describe_usage(usage) if usage else ""))

    return told


def _tell(stage: Stage, asking: Asking) -> None:
    stage.note = describe_usage(asking.usage)
    note(f"{stage.name}: {stage.line()}")


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
