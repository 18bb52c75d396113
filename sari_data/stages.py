"""The stages of a build, in their order: each takes the scratch, changes what is in it, and counts.

What a stage sets aside is recorded with its reason, so that nothing disappears without a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sari_data.annotate import Annotate, OpenAskers, Tally, caption_clips, write_questions
from sari_data.annotation.question_checks import pitch_form
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
from sari_data.chain_stage import ChainStage
from sari_data.config import Table
from sari_data.console import note, progress
from sari_data.counting import count
from sari_data.dedup import Dedup, find_duplicates
from sari_data.errors import InputError
from sari_data.funnel import Funnel, Stage
from sari_data.metering import Meter, asking, list_reasons, tell, with_usage
from sari_data.responder import Responder
from sari_data.scratch import Scratch
from sari_data.sources import load_source
from sari_data.sources.base import Clip, SetAside
from sari_data.splitting import Entry, split_by_clip
from sari_data.types import AudioQuestion

# Splits below side/: what the calibration took out of rl.
SIDES = (NEVER_PASSED, PASSED_UNHEARD, UNANSWERED)

NO_WRITER = "nobody writes questions about it"
REPEAT = "exact repeat"
_REPEATED = "the same question about the same audio with the same options was there already"


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
                elif (pitch := _one_pitch_twice(item)) is not None:
                    reason = "two options are one pitch"
                    aside = SetAside(
                        stage="collect", reason=reason, id=item.id, provenance=item.provenance, detail=pitch
                    )
                    _drop(scratch, stage, aside, kind=None)
                elif scratch.add(item):
                    stage.left += 1
                else:
                    _drop(scratch, stage, _repeat("collect", item), kind=None)
                advance(1)
        note(f"{stage.name}: {stage.line()}")
    questions = count(scratch.questions())
    tally = ", ".join(f"{domain} {number:,}" for domain, number in questions["domains"].items())
    clips = len(scratch.clips())
    also = f", and {clips:,} clips to write questions about" if clips else ""
    note(f"collect: {questions['questions']:,} questions ({tally or 'none'}){also}, seed {seed}")


def check_enough(scratch: Scratch, *, sft: int, dev: int, per_clip: int) -> None:
    """Find out before anybody is asked whether the splits can be filled at all.

    Args:
        scratch: What was collected.
        sft: Questions with chains.
        dev: Questions held out.
        per_clip: Most questions that are written about a clip.

    Raises:
        InputError: They cannot.
    """
    questions, clips = len(scratch.questions()), len(scratch.clips())
    if questions + per_clip * clips < sft + dev:
        also = f" and {clips:,} clips, each good for {per_clip} at most" if clips else ""
        raise InputError(
            f"the splits need {sft + dev:,} questions (build.sft {sft:,} and build.dev {dev:,}), found {questions:,}"
            f"{also}: lower them, or ask the sources for more"
        )


def check_any(scratch: Scratch, funnel: Funnel) -> None:
    """Find out whether there is anything to make a corpus of.

    Raises:
        InputError: There is not; the message has the most frequent reasons.
    """
    if len(scratch.questions()):
        return
    reasons: Counter[str] = sum((stage.dropped for stage in funnel.stages), Counter())
    why = f" ({list_reasons(reasons)})" if reasons else ""
    raise InputError(f"expected questions to make a corpus of, found that none is left{why}: see to the sources")


def caption(scratch: Scratch, funnel: Funnel, askers: OpenAskers, table: Annotate) -> None:
    """Have the clips without a caption described."""
    bare, asker = scratch.clips(captioned=False), askers.caption
    if asker is None or not len(bare):
        return
    stage, tally, meter = funnel.stage("caption", "clips", entered=len(bare)), Tally(), Meter(asker.responder)
    with asking("caption", len(bare), tally, meter) as told:
        _settle(scratch, stage, told(caption_clips(bare, asker, table, tally=tally)), "clip")
    tell(stage, tally, meter)


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
    meter = Meter(asker.responder)
    with asking("question", len(clips), tally, meter) as told:
        _settle(scratch, stage, told(write_questions(clips, asker, table, tally=tally)), "clip")
    if tally.short:
        stage.dropped["questions that no valid answer was found for"] = tally.short
    tell(stage, tally, meter)


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
    writer = None if askers.reasoning is None else ChainStage(scratch, funnel, askers, table, sft=sft)
    try:
        parts = split_by_clip(entries, sft=sft, dev=dev, seed=seed, write_chains=writer)
    except InputError as error:
        raise error if writer is None else writer.explain(error) from error
    for name, ids in parts.items():
        scratch.assign(name, ids)
    if writer is not None:
        writer.tell()
    short = [f"{name} {size - len(parts[name])} short" for name, size in (("sft", sft), ("dev", dev))]
    why = "; ".join(text for text in short if not text.endswith(" 0 short"))
    note(
        f"split: {', '.join(f'{name} {len(ids):,}' for name, ids in parts.items())}; no clip is in two of them"
        + (f" ({why}: whole clips do not add up to more)" if why else "")
    )


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
    if table.listening:
        how += f", and up to {2 * table.unheard_samples} more without their audio and with another's"
    note(f"calibrate: asking {responder.name} {len(questions):,} questions, {how}, mode {table.mode}")
    meter = Meter(responder)
    with meter, progress("calibrate", total=progress_total(table, len(questions))) as advance:
        calibration = measure(questions, responder, table, with_usage(advance, meter))
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
    stage.note = str(meter)
    for why, number in summary.get("unanswered_because", {}).items():
        note(f"calibrate: {number:,} questions could not be answered: {why}")
    note(f"{stage.name}: mean pass rate {summary['mean_pass_rate']}; {stage.line()}")
    if not homes["rl"]:
        note(
            "calibrate: nothing is left in rl, and GRPO learns from nothing else: take another responder, "
            "or set calibrate.drop_never_passed=false"
        )
    return summary


def _one_pitch_twice(item: AudioQuestion | Clip) -> str | None:
    """Return two options of a question about music that name one pitch (A# and Bb), whatever table it is from."""
    if not isinstance(item, AudioQuestion) or "music" not in item.domain:
        return None
    seen: dict[str, str] = {}
    for option in dict.fromkeys(item.choices):
        first = seen.setdefault(pitch_form(option), option)
        if first.casefold() != option.casefold():
            return f"{first!r} and {option!r}"
    return None


def _settle(scratch: Scratch, stage: Stage, results: Iterable[tuple[str, Any]], kind: str) -> None:
    """Take in what became of items, by their ids: a new one, several questions for a clip, or that it was set aside."""
    for id_, found in results:
        if isinstance(found, SetAside):
            _drop(scratch, stage, found, kind=kind)
        elif isinstance(found, list):
            repeats = scratch.expand(id_, found)
            for one, place in repeats:
                scratch.set_aside(_repeat(stage.name, one), kind=None, place=place)
                stage.dropped[REPEAT] += 1
            stage.left += len(found) - len(repeats)
            scratch.take_out("clip", id_)
        else:
            scratch.put(found)
            stage.left += 1


def _drop(scratch: Scratch, stage: Stage, aside: SetAside, *, kind: str | None) -> None:
    scratch.set_aside(aside, kind=kind)
    stage.dropped[aside.reason] += 1


def _repeat(stage: str, item: AudioQuestion | Clip) -> SetAside:
    return SetAside(stage=stage, reason=REPEAT, id=item.id, provenance=item.provenance, detail=_REPEATED)
