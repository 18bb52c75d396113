"""The stage ``reason``: chains of thought for the questions that the warm-up takes, and only for those."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from sari_data.annotate import Annotate, OpenAsker, OpenAskers, Tally, caption_clips, write_chains
from sari_data.errors import InputError
from sari_data.funnel import Funnel
from sari_data.metering import UNASKED, Meter, Watch, asking, list_reasons, tell
from sari_data.scratch import Scratch
from sari_data.sources.base import Clip, SetAside
from sari_data.types import AudioQuestion

# So many times as many questions as sft wants may be asked for chains, and some more where it wants few.
_TIMES, _MORE = 4, 100


class ChainStage:
    """Has chains written for the questions that a split is short of, and their clips described before that.

    Args:
        scratch: Where the questions are.
        funnel: Where they are counted.
        askers: Who writes, judges and describes.
        table: What is asked for.
        sft: Questions that the warm-up wants. Where it takes four times as many to get them, the writer is no good.
    """

    def __init__(self, scratch: Scratch, funnel: Funnel, askers: OpenAskers, table: Annotate, *, sft: int) -> None:
        self._scratch, self._funnel, self._askers, self._table = scratch, funnel, askers, table
        self._most = _TIMES * sft + _MORE
        describers = [] if askers.caption is None else [askers.caption.responder]
        writers = [a.responder for a in (askers.reasoning, askers.judge) if a is not None]
        self._captions, self._chains = funnel.stage("caption for chains", "clips"), funnel.stage("reason")
        self._tallies, self._meters = (Tally(), Tally()), (Meter(*describers), Meter(*writers))
        self._watch = Watch("reason")
        self._refused: Counter[str] = Counter()

    def __call__(self, ids: list[str]) -> set[str]:
        """Write chains for these questions; returns the ids of those that have them now.

        Raises:
            InputError: Too many have been asked about already.
            ResponderError: Nearly all of the first were refused, or nobody answers any more.
        """
        asker = self._askers.reasoning
        assert asker is not None, "a split without a writer asks for no chains"
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
        with asking("reason", len(wanted), tally, meter, self._watch) as told:
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
        with asking(stage.name, len(clips), tally, self._meters[0]) as told:
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
                tell(stage, tally, meter)
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
