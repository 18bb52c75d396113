"""Which questions of a benchmark a training corpus holds, and what a score is without them.

The search is that of ``sari-data check`` (docs/contamination.md), asked the other way round. A clean subset is
not a random one: it may be easier or harder than the rest for a model that never saw either, so the difference
between the two parts is evidence, and no proof.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sari_bench.benchmarks.base import Benchmark
from sari_bench.counting import are, counted
from sari_bench.scoring import BenchmarkGolds, Score, subset
from sari_bench.statistics.clustering import newcombe
from sari_bench.statistics.metrics import Tally, percent, percents

if TYPE_CHECKING:
    from sari_data.dedup import Dedup, Finding

_KINDS = {"sound": "sound", "segment": "video", "video": "video", "text": "text"}


@dataclass(frozen=True, slots=True)
class Contamination:
    """The questions of a benchmark that are in training corpora.

    Args:
        benchmark: The benchmark's name.
        version: Its version.
        questions: How many it has.
        marked: Id of each question that is in a corpus, to why: every finding that counts.
        corpora: Of each corpus its name, path, number of questions, and what of it was compared.
        compared: How many texts, segments of videos and sounds of the benchmark could be compared.
        reported: Questions with findings that do not count, for instance a text that is asked of many recordings.
    """

    benchmark: str
    version: str
    questions: int
    marked: Mapping[str, tuple[Finding, ...]]
    corpora: tuple[Mapping[str, Any], ...]
    compared: Mapping[str, int]
    reported: int

    @property
    def names(self) -> str:
        """The names of the corpora, for a sentence."""
        return ", ".join(str(corpus["name"]) for corpus in self.corpora)

    @property
    def by_kind(self) -> dict[str, int]:
        """How many questions were found by sound, by video and by text; one may be found by several."""
        found = Counter(kind for why in self.marked.values() for kind in {_KINDS[finding.kind] for finding in why})
        return {kind: found[kind] for kind in ("sound", "video", "text") if found[kind]}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the comparison does not prove."""
        said = []
        sounds, total = self.compared["sounds"], self.questions
        deaf = [str(corpus["name"]) for corpus in self.corpora if not corpus["compared"]["sounds"]]
        if not sounds:
            said.append(
                "no audio of the benchmark was at hand, so no sound was compared: the same recording with another text "
                "is found only where both name the video"
            )
        else:
            if sounds < total:
                said.append(f"only {sounds} of {total} questions have audio that could be compared")
            if deaf:
                said.append(f"no audio of {', '.join(deaf)} was at hand, so its sounds were not compared")
        if not self.compared["segments"]:
            said.append("the benchmark names no videos, so no segments were compared")
        return tuple(said)

    def to_json(self) -> dict[str, Any]:
        """Return everything as one JSON object."""
        return {
            "benchmark": self.benchmark,
            "version": self.version,
            "questions": self.questions,
            "contaminated": len(self.marked),
            "by_kind": self.by_kind,
            "only_reported": self.reported,
            "compared": dict(self.compared),
            "corpora": [dict(corpus) for corpus in self.corpora],
            "marked": {
                key: [
                    {"kind": f.kind, "grade": f.grade, "corpus": f.where, "other": f.other, "score": f.score}
                    for f in why
                ]
                for key, why in self.marked.items()
            },
            "notes": list(self.notes),
        }


def contamination(
    benchmark: Benchmark | BenchmarkGolds,
    corpora: Sequence[Path],
    table: Dedup | None = None,
    advance: Callable[[int], None] | None = None,
) -> Contamination:
    """Find the questions of a benchmark whose text, part of a video or sound a training corpus holds.

    Args:
        benchmark: With its audio where that is at hand; the golds of a run folder alone are compared by text and by the
            videos that names of audio files tell.
        corpora: Corpus folders, tables of questions (JSON, JSON lines, CSV, TSV, Parquet), or folders of audio.
        table: Thresholds, as of ``sari-data check``.
        advance: Called with 1 for each question that is held and for each corpus that is done.

    Raises:
        InputError: Two corpora have one name, or none is given.
        MissingFileError: A corpus is not there.
        BenchmarkError: A table or folder cannot be read.
        CorpusError: A corpus folder is not complete.
    """
    from sari_data.dedup.marking import mark_questions
    from sari_data.references import Against

    questions = benchmark.questions if isinstance(benchmark, Benchmark) else None
    marking = mark_questions(
        questions if questions is not None else (gold.to_question() for gold in benchmark.golds),
        [Against(path=str(path)) for path in corpora],
        table,
        advance,
    )
    counted = {key: tuple(f for f in those if f.counts) for key, those in marking.findings.items()}
    marked = {key: those for key, those in counted.items() if those}
    return Contamination(
        benchmark.name,
        benchmark.version,
        len(benchmark.golds),
        marked,
        marking.corpora,
        marking.compared,
        len(marking.findings) - len(marked),
    )


@dataclass(frozen=True, slots=True)
class CleanScores:
    """A score beside the same score over the questions that no training corpus holds.

    Args:
        full: Over all questions.
        clean: Over those that are in no corpus; ``None`` where there are none.
        marked: Over those that are in one; ``None`` where there are none.
        about: What was found.
    """

    full: Score
    clean: Score | None
    marked: Score | None
    about: Contamination

    @property
    def difference(self) -> tuple[float, tuple[float, float]] | None:
        """Accuracy on marked questions less that on clean ones, with its 95 % interval (Newcombe); in [-1, 1]."""
        if self.clean is None or self.marked is None:
            return None
        one, other = self.marked.overall, self.clean.overall
        if one.accuracy is None or other.accuracy is None or one.best_interval is None or other.best_interval is None:
            return None
        interval = newcombe(one.accuracy, one.best_interval, other.accuracy, other.best_interval)
        return one.accuracy - other.accuracy, interval

    @property
    def sentence(self) -> str:
        """Accuracy on the clean subset, beside the full one, and what sets them apart."""
        total = _questions(self.full)
        if self.marked is None:
            texts, sounds = self.about.compared["texts"], self.about.compared["sounds"]
            return (
                f"none of {total:,} questions was found in {self.about.names} "
                f"({counted(texts, 'text')} and {counted(sounds, 'sound')} could be compared); "
                f"full: {_share(self.full.overall)}"
            )
        count = _questions(self.marked)
        kinds = ", ".join(f"{found:,} by {kind}" for kind, found in _kinds_of(self).items())
        held = f"{counted(count, 'question')} {are(count)} in {self.about.names} ({kinds})"
        full = f"full: {_share(self.full.overall)} of {total:,}"
        if self.clean is None:
            return f"clean subset: none; {full}; all {held}"
        said = f"clean subset: {_share(self.clean.overall)} of {_questions(self.clean):,}; {full}; {held}"
        if self.difference is None:
            return said
        points, (low, high) = self.difference
        doubt = ", which cannot be told from none" if low <= 0 <= high else ""
        return (
            f"{said}; on these the accuracy is {points * 100:+.1f} points off the clean ones "
            f"[{low * 100:+.1f} to {high * 100:+.1f}]{doubt}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the figures of all three and the sentence; the findings are those of ``about``."""
        difference = self.difference
        return {
            "sentence": self.sentence,
            "full": self.full.overall.to_json(),
            "clean": None if self.clean is None else self.clean.overall.to_json(),
            "contaminated": None if self.marked is None else self.marked.overall.to_json(),
            "difference": None
            if difference is None
            else {"points": percent(difference[0]), "interval": percents(difference[1])},
            "corpora": [str(corpus["name"]) for corpus in self.about.corpora],
            "notes": list(self.about.notes),
        }


def clean_scores(score: Score, about: Contamination) -> CleanScores:
    """Return a score beside those over the clean and over the marked questions; groups and denominators anew."""
    ids = {item.gold.id for item in score.items}

    def part(kept: set[str], what: str) -> Score | None:
        return replace(subset(score, kept), version=f"{score.version}, {what}") if kept else None

    marked = ids & about.marked.keys()
    return CleanScores(score, part(ids - marked, "clean subset"), part(marked, "in training"), about)


def _kinds_of(scores: CleanScores) -> dict[str, int]:
    """How the questions of this score were found; a run with a limit has only some of those that are marked."""
    assert scores.marked is not None
    here = {item.gold.id for item in scores.marked.items}
    found = Counter(kind for key in here for kind in {_KINDS[f.kind] for f in scores.about.marked[key]})
    return {kind: found[kind] for kind in ("sound", "video", "text") if found[kind]}


def _questions(score: Score) -> int:
    return len({item.gold.id for item in score.items})


def _share(tally: Tally) -> str:
    interval = tally.best_interval
    if tally.accuracy is None or interval is None:
        return "no answers"
    return f"{tally.accuracy * 100:.1f} % [{interval[0] * 100:.1f}–{interval[1] * 100:.1f}]"
