"""AudioSet: 10-second parts of YouTube videos with labels, some of them exact in time.

The weak labels (segment CSVs) say what is heard somewhere in a part; the strong ones (TSVs, 2021) mark every sound
with its beginning and end. Each part becomes a clip to be captioned, and those with strong labels also questions about
order, number, overlap and length that need no model: caption, answer and chains of thought follow from the labels
(:mod:`~sari_data.sources.audioset.rules` says where they leave doubt and nothing is asked).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from sari_data.config import Table
from sari_data.errors import InputError
from sari_data.sources.audioset.ontology import Ontology
from sari_data.sources.audioset.rules import RULES, Scene
from sari_data.sources.audioset.segments import FORMS, Event, Segment, StrongLabels, read_segments
from sari_data.sources.base import About, Clip, Item, SetAside
from sari_data.sources.fetching import fetched
from sari_data.sources.files import AudioIndex, seeded_hash, take
from sari_data.sources.phrasing import NO_RULE, write
from sari_data.types import AudioQuestion, AudioRef, hash_path

ABOUT = About(
    name="audioset",
    title="AudioSet, with its temporally-strong labels",
    gives="clips with labels to caption; from strong labels questions about order, number, overlap and length by rule",
    needs=(
        "segments: balanced_train_segments.csv and the like, or strong: audioset_train_strong.tsv, or both",
        "ontology: ontology.json",
        "audio: a folder of clips or videos, named " + ", ".join(FORMS),
    ),
    licence="CC BY 4.0 (labels), CC BY-SA 4.0 (ontology)",
    audio_licence="each YouTube uploader's own; AudioSet publishes no audio",
    share_audio=False,
    get=(
        "labels: https://research.google.com/audioset/download.html",
        "strong labels: https://research.google.com/audioset/download_strong.html",
        "ontology: https://github.com/audioset/ontology",
        "audio: from YouTube, each as far as it still exists and its licence allows",
    ),
    homepage="https://research.google.com/audioset/",
    paper="Gemmeke et al., ICASSP 2017; strong labels: Hershey et al., ICASSP 2021, arXiv 2105.07031",
)

# How much a file may differ in length from its segment: encoders pad, and downloaders cut at frames.
_SLACK = 1.0


class Options(Table):
    """Which part of AudioSet to take.

    Args:
        segments: Segment CSVs, relative to the working folder.
        strong: Strong-label TSVs.
        ontology: The class tree.
        audio: Folder of the audio; its subfolders count.
        limit: How many clips to take; all of them without it.
        make: ``clips`` to be captioned and asked about by a model, ``rules`` for questions from strong labels, or both.
        questions_per_clip: Most rule-made questions about a clip, each by another rule.
        rules: The rules to use.
    """

    segments: tuple[str, ...] = ()
    strong: tuple[str, ...] = ()
    ontology: str = "ontology.json"
    audio: str = "audio"
    limit: int | None = Field(default=None, ge=1)
    make: Literal["rules", "clips", "both"] = "both"
    questions_per_clip: int = Field(default=2, ge=1)
    rules: tuple[str, ...] = tuple(RULES)

    @field_validator("rules")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if name not in RULES]
        if unknown:
            raise ValueError(f"unknown rule {unknown[0]!r}, expected some of {', '.join(RULES)}")
        return value


def generate(options: Options, seed: int) -> Iterator[Item]:
    """Yield for each clip its questions by rule and the clip itself, as ``make`` says, in the tables' order.

    Raises:
        MissingFileError: A file or the folder of audio is not there.
        InputError: A file is not what it should be, no file is named, or none of the audio is there.
    """
    if not options.segments and not options.strong:
        raise InputError("audioset needs segments (CSV files), strong (TSV files) or both; found neither: name them")
    options = fetched(options, ("segments", "strong", "ontology"), "audio")
    ontology, strong = Ontology(options.ontology), StrongLabels(options.strong)
    maker = _Maker(options, ontology, strong, seed)
    done: set[str] = set()
    for item in take(
        lambda: read_segments(options.segments, strong),
        AudioIndex(options.audio, FORMS),
        names=Segment.names,
        clip=lambda segment: segment.id,
        provenance=Segment.provenance,
        limit=options.limit,
        seed=seed,
    ):
        if isinstance(item, SetAside):
            yield item
        elif item[0].id in done:
            yield _aside(item[0], "segment is listed again", "an earlier row has the same video and beginning")
        else:
            done.add(item[0].id)
            yield from maker.items(*item)


class _Maker:
    """Makes what one segment gives."""

    def __init__(self, options: Options, ontology: Ontology, strong: StrongLabels, seed: int) -> None:
        self.options, self.ontology, self.strong, self.seed = options, ontology, strong, seed
        self.weights: Mapping[str, float] = {mid: number**0.75 for mid, number in strong.counts().items()}

    def items(self, segment: Segment, path: Path, length: float) -> Iterator[Item]:
        """Yield a segment's questions, then its clip, and what of it is set aside."""
        events = self.strong.events(segment.id)
        given = dict.fromkeys((*segment.labels, *(mid for mid, _, _ in events)))
        labels = [mid for mid in given if mid in self.ontology]
        unknown = [mid for mid in given if mid not in self.ontology]
        if unknown:
            yield _aside(segment, "label is not in the ontology", ", ".join(unknown))
        if not labels:
            yield _aside(segment, "no known label", f"labels: {', '.join(given) or 'none'}")
            return
        audio = _audio(segment, path, length, max((end for _, _, end in events), default=0.0))
        if isinstance(audio, SetAside):
            yield audio
            return
        domain = self.ontology.domain(labels)
        if self.options.make != "clips":
            # A sound that cannot be named may be the one that comes first: then nothing is sure.
            sure = self.strong.whole(segment.id) and not any(mid in unknown for mid, _, _ in events)
            questions = list(self._questions(segment, events, audio, domain)) if sure and events else []
            yield from questions
            # With "both" the clip goes on all the same: nothing is lost.
            if not questions and self.options.make == "rules":
                yield self._unasked(segment, sure=sure)
        if self.options.make != "rules":
            names = self.ontology.names
            facts = {"events": [[names[m], a, b] for m, a, b in events if m in self.ontology]} if events else {}
            yield Clip(
                audio=audio,
                domain=domain,
                labels=tuple(names[mid] for mid in labels),
                facts=facts,
                provenance=segment.provenance(),
                category=domain,
            )

    def _unasked(self, segment: Segment, *, sure: bool) -> SetAside:
        if segment.id not in self.strong.clips:
            return _aside(segment, "no strong labels", "rules need them")
        why = "every rule finds doubt" if sure else "not all of its strong labels can be read"
        return _aside(segment, NO_RULE, why)

    def _questions(
        self, segment: Segment, events: tuple[Event, ...], audio: AudioRef, domain: str
    ) -> Iterator[AudioQuestion]:
        """Yield up to ``questions_per_clip`` questions, each by another rule; each clip has its own order of rules."""
        rules = sorted(self.options.rules, key=lambda rule: seeded_hash(self.seed, f"{segment.id}/{rule}"))
        made = 0
        for rule in rules:
            if made == self.options.questions_per_clip:
                return
            rng = np.random.default_rng(seeded_hash(self.seed, f"{segment.id}/{rule}/draw"))
            seconds = (segment.end_ms - segment.start_ms) / 1000
            scene = Scene(self.ontology, events, seconds, self.weights, rng)
            draft = next((d for d in RULES[rule](scene) if d.wrong), None)
            if draft is not None:
                made += 1
                draft = replace(draft, values={**draft.values, **scene.values})
                by = f"rule:{ABOUT.name}/{rule}"
                yield write(draft, ABOUT.name, audio, domain, segment.provenance(), by, self.seed)


def _audio(segment: Segment, path: Path, length: float, last: float) -> AudioRef | SetAside:
    """The segment's audio: the file, or the part of it where the file is the whole video.

    Args:
        segment: The segment.
        path: The file.
        length: Its length in seconds.
        last: Where the last label ends, in seconds of the segment.
    """
    wanted = (segment.end_ms - segment.start_ms) / 1000
    if length <= wanted + _SLACK:
        # Videos end, and downloads break off; what is labelled must be there.
        if length < last - 0.1:
            return _aside(segment, "audio is too short", f"{path}: {length:.2f} s, with labels up to {last:.2f} s")
        return hash_path(path)
    whole = path.stem in (segment.youtube_id, f"Y{segment.youtube_id}")
    if not whole or length < segment.end_ms / 1000 - _SLACK:
        return _aside(segment, "audio is not the segment", f"{path}: {length:.2f} s, expected {wanted:.2f} s")
    return hash_path(path, start=segment.start_ms / 1000, duration=wanted)


def _aside(segment: Segment, reason: str, detail: str) -> SetAside:
    return SetAside(
        stage="collect", reason=reason, id=segment.id, provenance=segment.provenance(), detail=f"{segment.id}: {detail}"
    )
