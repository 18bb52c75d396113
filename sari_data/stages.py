"""The stages of a build, in their order: each takes the scratch, changes what is in it, and counts.

What a stage sets aside is recorded with its reason, so that nothing disappears without a word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from sari_data.annotate import Annotate, OpenAsker, OpenAskers, Tally, caption_clips, write_chains, write_questions
from sari_data.calibrate import (
    NEVER_PASSED,
    PASSED_UNHEARD,
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
from sari_data.errors import InputError
from sari_data.funnel import Funnel, Stage
from sari_data.metering import UNASKED, Meter, Watch, list_reasons
from sari_data.responder import Responder
from sari_data.scratch import Scratch
from sari_data.sources import load_source
from sari_data.sources.base import Clip, SetAside
from sari_data.splitting import Entry, split_by_clip
from sari_data.types import AudioQuestion

# So many times as many questions as sft wants may be asked for chains, and some more where it wants few.
_TIMES, _MORE = 4, 100
# Splits below side/: what the calibration took out of rl.
SIDES = (NEVER_PASSED, PASSED_UNHEARD)

NO_WRITER = "nobody writes questions about it"
REPEAT = "exact repeat"
_REPEATED = "the same question about the same audio with the same options was there already"

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
                    _drop(scratch, stage, _repeat("collect", item), kind=None)
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
    stage, tally, meter = funnel.stage("caption", "clips", entered=len(bare)), Tally(), Meter(asker.responder)
    with _asking("caption", len(bare), tally, meter) as told:
        _settle(scratch, stage, told(caption_clips(bare, asker, table, tally=tally)), "clip")
    _tell(stage, tally, meter)


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
    with _asking("question", len(clips), tally, meter) as told:
        _settle(scratch, stage, told(write_questions(clips, asker, table, tally=tally)), "clip")
    if tally.short:
        stage.dropped["questions that no valid answer was found for"] = tally.short
    _tell(stage, tally, meter)


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
    writer = None if askers.reasoning is None else _Chains(scratch, funnel, askers, table, most=_TIMES * sft + _MORE)
    try:
        parts = split_by_clip(entries, sft=sft, dev=dev, seed=seed, write_chains=writer)
    except InputError as error:
        raise error if writer is None else writer.explain(error) from error
    for name, ids in parts.items():
        scratch.assign(name, ids)
    if writer is not None:
        writer.tell()
    note(f"split: {', '.join(f'{name} {len(ids):,}' for name, ids in parts.items())}; no clip is in two of them")


class _Chains:
    """Has chains written for the questions that a split is short of, and their clips described before that.

    Args:
        scratch: Where the questions are.
        funnel: Where they are counted.
        askers: Who writes, judges and describes.
        table: What is asked for.
        most: Most questions to ask about: a warm-up that needs more has a writer that is no good.
    """

    def __init__(self, scratch: Scratch, funnel: Funnel, askers: OpenAskers, table: Annotate, *, most: int) -> None:
        self._scratch, self._funnel, self._askers, self._table, self._most = scratch, funnel, askers, table, most
        describers = [] if askers.caption is None else [askers.caption.responder]
        writers = [a.responder for a in (askers.reasoning, askers.judge) if a is not None]
        self._captions, self._chains = funnel.stage("caption for chains", "clips"), funnel.stage("reason")
        self._tallies, self._meters = (Tally(), Tally()), (Meter(*describers), Meter(*writers))
        self._watch = Watch("reason")
        self._refused: Counter[str] = Counter()

    def __call__(self, ids: list[str]) -> set[str]:
        """Write chains for these questions; returns the ids of those that have them now."""
        asker = self._askers.reasoning
        assert asker is not None, "checked where this was made"
        asked = self._chains.left + sum(number for reason, number in self._refused.items() if reason not in UNASKED)
        if asked + len(ids) > self._most:
            raise InputError(
                f"split sft would take chains of more than {self._most:,} questions: see to annotate.reasoning"
            )
        if self._askers.caption is not None:
            self._describe(self._scratch.chosen(ids), self._askers.caption)
        wanted = self._scratch.chosen(ids)
        self._chains.entered += len(wanted)
        written: set[str] = set()
        tally, meter = self._tallies[1], self._meters[1]
        with _asking("reason", len(wanted), tally, meter, self._watch) as told:
            for id_, found in told(write_chains(wanted, asker, self._askers.judge, self._table, tally=tally)):
                if isinstance(found, SetAside):
                    # Without a chain a question is still one to practise on.
                    self._scratch.note_aside(found)
                    self._chains.dropped[f"{found.reason} (left to rl)"] += 1
                    self._refused[found.reason] += 1
                else:
                    self._scratch.put(found)
                    self._chains.left += 1
                    written.add(id_)
        return written

    def _describe(self, questions: Iterable[AudioQuestion], asker: OpenAsker) -> None:
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
        stage, tally = self._captions, self._tallies[0]
        stage.entered += len(clips)
        with _asking(stage.name, len(clips), tally, self._meters[0]) as told:
            for id_, result in told(caption_clips(clips.values(), asker, self._table, tally=tally)):
                if isinstance(result, SetAside):
                    # The questions stay; the writer of chains will say that they lack a caption.
                    stage.dropped[result.reason] += 1
                    self._scratch.note_aside(result, about=about[id_][0])
                    continue
                stage.left += 1
                for found in self._scratch.chosen(about[id_]):
                    made_by = {**found.provenance.made_by, "caption": result.provenance.made_by["caption"]}
                    told_by = replace(found.provenance, made_by=made_by)
                    self._scratch.put(found.replace(caption=result.caption, provenance=told_by))

    def tell(self) -> None:
        """Say what was done; stages that nothing went through are forgotten."""
        for stage, tally, meter in zip((self._captions, self._chains), self._tallies, self._meters, strict=True):
            if stage.entered:
                _tell(stage, tally, meter)
            else:
                self._funnel.stages.remove(stage)

    def explain(self, error: InputError) -> InputError:
        """Return the error with what became of the chains that were asked for."""
        if not self._refused:
            return error
        asked = self._chains.entered
        return InputError(
            f"{error}; {self._chains.left:,} of {asked:,} questions got chains, the others did not "
            f"({list_reasons(self._refused)})"
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
    note(f"calibrate: asking {responder.name} {len(questions):,} questions, {how}, mode {table.mode}")
    meter = Meter(responder)
    with meter, progress("calibrate", total=progress_total(table, len(questions))) as advance:
        calibration = measure(questions, responder, table, _with_usage(advance, meter))
    homes: dict[str, list[str]] = {name: [] for name in ("rl", *SIDES)}
    for found in questions:
        rated = calibrated(found, calibration)
        scratch.put(rated)
        homes[side_split(rated, table) or "rl"].append(rated.id)
    for name, ids in homes.items():
        scratch.assign(name, ids)
        if name != "rl" and ids:
            stage.dropped[f"to the side file {name}"] = len(ids)
    stage.left = len(homes["rl"])
    summary = dict(calibration.summary)
    stage.note = str(meter)
    note(f"{stage.name}: mean pass rate {summary['mean_pass_rate']}; {stage.line()}")
    return summary


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


@contextmanager
def _asking(
    name: str, total: int, tally: Tally, meter: Meter, watch: Watch | None = None
) -> Iterator[Callable[[Iterable[T]], Iterator[T]]]:
    """Show how a stage's results come in, with what it costs so far; yields what lets them through."""
    watch = watch or Watch(name)
    with meter, progress(name, total=total) as advance:

        def told(results: Iterable[T]) -> Iterator[T]:
            for result in results:
                watch.see(result[1] if isinstance(result, tuple) else result)
                yield result
                again = f"{tally.asked_again:,} asked again, " if tally.asked_again else ""
                advance(1, text=f"{again}{meter}")

        yield told


def _with_usage(advance: Advance, meter: Meter) -> Callable[[int], None]:
    def told(count: int) -> None:
        advance(count, text=str(meter))

    return told


def _tell(stage: Stage, tally: Tally, meter: Meter) -> None:
    again = f"{tally.asked_again:,} asked again" if tally.asked_again else ""
    stage.note = "; ".join(filter(None, [again, str(meter)]))
    note(f"{stage.name}: {stage.line()}")
