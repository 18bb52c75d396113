"""Which questions of a benchmark are in a training corpus: the search of this package, asked the other way round.

A corpus may be a hundred times as large as the benchmark. So it is the benchmark's sounds that are indexed (18 kB a
clip) and the corpus that is looked up in the index; of the corpus about 500 bytes a question stay in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sari_data.dedup.collection import Benchmark, Held, content_key, hold_benchmark
from sari_data.dedup.evidence import match_evidence
from sari_data.dedup.findings import FINGERPRINT, Dedup, Finding
from sari_data.dedup.matching import Match, Matches, keep_best, match_bytes, match_segments
from sari_data.dedup.sound import SoundIndex
from sari_data.dedup.text import Text
from sari_data.errors import InputError
from sari_data.references import Against, check_against
from sari_data.segments import of_provenance, parse_name
from sari_data.types import AudioQuestion, AudioRef, hash_audio


@dataclass(frozen=True, slots=True)
class Marking:
    """What of a benchmark was found in training corpora.

    A question about several recordings is found by any of them, and its sound could be compared where all could.

    Args:
        findings: Id of a benchmark's question to its findings, those that count first; ``where`` is the corpus and
            ``other`` the id there.
        corpora: Of each corpus its name and path, and how many texts, segments and sounds of it could be compared.
        compared: How many texts, segments and sounds of the benchmark could be compared.
    """

    findings: Mapping[str, tuple[Finding, ...]]
    corpora: tuple[Mapping[str, Any], ...]
    compared: Mapping[str, int]


def mark_questions(
    questions: Iterable[AudioQuestion],
    corpora: Sequence[Against],
    table: Dedup | None = None,
    advance: Callable[[int], None] | None = None,
) -> Marking:
    """Find the questions of a benchmark whose text, part of a video or sound is in a training corpus.

    Sounds and videos count as when a corpus is checked against a benchmark. Texts are weighed
    (:mod:`sari_data.dedup.evidence`): a corpus is cleaned of whatever may be a benchmark's, but a question is called
    leaked only where chance does not explain the match. See the table in docs/contamination.md. Where no audio of the
    benchmark is at hand, no sound of the corpora is heard.

    Args:
        questions: The benchmark's; audio that is not at hand is a path to no file.
        corpora: Corpus folders, tables, or folders of audio.
        table: Thresholds; ``against``, ``within`` and ``on_contamination`` play no part.
        advance: Called with 1 for each question of the benchmark that is held, and 1 for each corpus done.

    Raises:
        InputError: Two corpora have one name.
        MissingFileError: A corpus is not there.
        BenchmarkError: A table or folder cannot be read.
        CorpusError: A corpus folder is not complete.
    """
    asked = table or Dedup()
    titles = [against.title for against in corpora]
    for against in corpora:
        check_against(against, "training corpus")
        if titles.count(against.title) > 1:
            raise InputError(
                f"training corpus {against.path!r}: expected corpora with different names, found {against.title!r} "
                "more than once: give folders with different names"
            )
    tell = advance or (lambda count: None)
    held, more_clips = _hold(questions, asked, tell)
    # Without a sound of the benchmark, hours of listening to a corpus would find nothing.
    heard = asked if held.clips.heard else asked.model_copy(update={"sound": False})
    found: dict[str, list[Finding]] = {}
    abouts = []
    for against in corpora:
        corpus = hold_benchmark(against, heard)
        texts = match_evidence(held, corpus, asked)
        parts, videos = match_segments(held, corpus, asked)
        sounds = match_recordings(held, corpus, heard)
        for number, identifier in enumerate(held.ids):
            matches = [texts.get(held.text_numbers[number])]
            for clip in (held.clip_numbers[number], *more_clips.get(number, ())):
                matches += [sounds.get(clip), parts.get(clip), videos.get(clip)]
            for match in dict.fromkeys(filter(None, matches)):
                other = corpus.ids[match.other]
                finding = Finding(identifier, match.kind, match.grade, other, corpus.name, match.score, match.counts)
                found.setdefault(identifier, []).append(finding)
        abouts.append(corpus.about)
        tell(1)
    compared = {
        "texts": sum(number >= 0 for number in held.text_numbers),
        "segments": sum(held.clips.segments[clip] is not None for clip in held.clip_numbers),
        "sounds": _heard(held, more_clips),
    }
    ordered = {key: tuple(sorted(those, key=lambda f: not f.counts)) for key, those in found.items()}
    return Marking(ordered, tuple(abouts), compared)


def _hold(
    questions: Iterable[AudioQuestion], table: Dedup, advance: Callable[[int], None]
) -> tuple[Held, dict[int, list[int]]]:
    """Read a benchmark once, and hear those of its clips that are at hand.

    Returns:
        (the benchmark, each question with its first recording; the clips of the further recordings, by the question's
        number, where it is about several)
    """
    held = Held()
    more_clips: dict[int, list[int]] = {}

    def at_hand() -> Iterator[tuple[int, AudioRef]]:
        for question in questions:
            held.ids.append(question.id)
            held.text_numbers.append(held.texts.add(Text.of(question.question, question.choices, question.answer)))
            advance(1)
            for place, audio in enumerate(question.recordings):
                there = audio.data is not None or Path(str(audio.path)).is_file()
                audio = hash_audio(audio)
                named = parse_name(PurePosixPath(audio.path).name) if audio.path else None
                told = None if place else of_provenance(question.provenance)
                number, new = held.clips.add(content_key(audio, ""), told or named)
                if place:
                    more_clips.setdefault(len(held.ids) - 1, []).append(number)
                else:
                    held.clip_numbers.append(number)
                if new and there:
                    yield number, audio

    held.clips.hear(at_hand(), table)
    return held, more_clips


def match_recordings(held: Held, corpus: Benchmark, table: Dedup) -> Matches:
    """Return the best match of each clip of a benchmark by its sound: the same bytes, or the same fingerprint."""
    matches, first_with = match_bytes(held, corpus)
    if table.sound and corpus.clips.heard:
        for same in SoundIndex(held.clips.peaks).find(corpus.clips.peaks, threshold=table.sound_share):
            keep_best(matches, same.clip, Match("sound", FINGERPRINT, first_with[same.query], same.score, True))
    return matches


def _heard(held: Held, more_clips: Mapping[int, Sequence[int]]) -> int:
    """How many questions have a fingerprint of each of their recordings."""
    sizes = held.clips.peaks.sizes
    return sum(
        all(one >= 0 and sizes[one] > 0 for one in (clip, *more_clips.get(number, ())))
        for number, clip in enumerate(held.clip_numbers)
    )
