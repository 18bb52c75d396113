"""Which questions of a benchmark a training corpus holds, and what a score is without them.

What counts is evidence (docs/contamination.md): the recording, the part of a video, or a text that chance does not
explain. A clean subset is not a random one: it may be easier or harder than the rest for a model that never saw either,
so the difference between the two parts is evidence, and no proof.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sari_bench.benchmarks.base import Benchmark
from sari_bench.counting import are, counted
from sari_bench.scoring import BenchmarkGolds, Score, subset
from sari_bench.statistics.clustering import newcombe
from sari_bench.statistics.metrics import Tally, percent, percents, range_text
from sari_data.errors import InputError

if TYPE_CHECKING:
    from sari_data.dedup import Dedup, Finding

# Why a question is said to be in a corpus, the surest first; the last two are no evidence and only reported.
REASONS = ("audio", "video", "question and options", "question text only", "another part of the video")
# Contaminated questions: of fewer, Newcombe's interval excludes a true "none" in up to 20 %, from here on in 8 %.
FEW = 5
_OF_KIND = {"sound": REASONS[0], "segment": REASONS[1], "video": REASONS[1], "text": REASONS[2]}
_WEAK = {"text": REASONS[3], "video": REASONS[4]}


def reason(finding: Finding) -> str:
    """Return why a finding stands, one of REASONS."""
    weak = finding.grade in ("generic", "other_answer", "question", "other_part") and not (
        finding.kind == "video" and finding.counts
    )
    return _WEAK[finding.kind] if weak else _OF_KIND[finding.kind]


def reasons(findings: Iterable[tuple[Finding, ...]]) -> dict[str, int]:
    """Return by reason how many questions it holds of, given the findings of each; a question may have several."""
    found = Counter(why for those in findings for why in {reason(finding) for finding in those})
    return {why: found[why] for why in REASONS if found[why]}


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
        reported: Id of each other question with findings, to these: none is evidence, for instance a text that many
            recordings share.
        text_overlap: Whether a shared text counted whatever it says.
    """

    benchmark: str
    version: str
    questions: int
    marked: Mapping[str, tuple[Finding, ...]]
    corpora: tuple[Mapping[str, Any], ...]
    compared: Mapping[str, int]
    reported: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    text_overlap: bool = False

    @property
    def names(self) -> str:
        """The names of the corpora, for a sentence."""
        return ", ".join(str(corpus["name"]) for corpus in self.corpora)

    @property
    def by_reason(self) -> dict[str, int]:
        """How many questions were found by each reason; one may be found by several."""
        return reasons(self.marked.values())

    @property
    def only_reported(self) -> dict[str, int]:
        """The same of the questions that are not taken for contaminated."""
        return reasons(self.reported.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """What stays in the clean subset, and what the comparison does not prove."""
        said = []
        shared = self.only_reported.get(REASONS[3], 0)
        if shared:
            stay = "it stays" if shared == 1 else "they stay"
            said.append(
                f"{counted(shared, 'question')} more {'shares its' if shared == 1 else 'share their'} text with "
                f"{self.names}, as templates do, which is no evidence; {stay} in the clean subset (--text-overlap "
                "leaves such questions out)"
            )
        found = self.marked.keys() | self.reported.keys()
        # Where sounds were compared they have said it: all scenes of the same templates share their texts.
        by_text_alone = not self.compared["sounds"] or all(map(_unheard, self.corpora))
        if by_text_alone and self.marked and len(self.marked) < self.questions == len(found):
            said.append(f"every question has its text in {self.names}: is it the benchmark itself?")
        sounds, total = self.compared["sounds"], self.questions
        if not sounds:
            said.append(
                "no audio of the benchmark was at hand, so no sound was compared: the same recording with another text "
                "is found only where both name the video"
            )
        else:
            if sounds < total:
                said.append(f"only {sounds} of {total} questions have audio that could be compared")
            said += [_deafness(corpus) for corpus in self.corpora if _unheard(corpus)]
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
            "by_reason": self.by_reason,
            "only_reported": self.only_reported,
            "text_overlap": self.text_overlap,
            "compared": dict(self.compared),
            "corpora": [dict(corpus) for corpus in self.corpora],
            "marked": {key: [_finding_json(f) for f in why] for key, why in self.marked.items()},
            "reported": {key: [_finding_json(f) for f in why] for key, why in self.reported.items()},
            "notes": list(self.notes),
        }


def _finding_json(finding: Finding) -> dict[str, Any]:
    return {
        "reason": reason(finding),
        "kind": finding.kind,
        "grade": finding.grade,
        "corpus": finding.where,
        "other": finding.other,
        "score": finding.score,
    }


def _unheard(corpus: Mapping[str, Any]) -> int:
    """How many questions of a corpus had no sound to compare."""
    return int(corpus["questions"] - corpus["compared"]["sounds"])


def _deafness(corpus: Mapping[str, Any]) -> str:
    heard = corpus["compared"]["sounds"]
    if not heard:
        return f"no audio of {corpus['name']} was at hand, so its sounds were not compared"
    return f"of {corpus['name']} only {heard:,} of {corpus['questions']:,} questions have audio that could be compared"


def contamination(
    benchmark: Benchmark | BenchmarkGolds,
    corpora: Sequence[Path],
    table: Dedup | None = None,
    advance: Callable[[int], None] | None = None,
    *,
    text_overlap: bool = False,
) -> Contamination:
    """Find the questions of a benchmark whose sound, part of a video or text a training corpus holds.

    Args:
        benchmark: With its audio where that is at hand; the golds of a run folder alone are compared by text and by the
            videos that names of audio files tell.
        corpora: Corpus folders, tables of questions (JSON, JSON lines, CSV, TSV, Parquet), folders of Parquet shards,
            or folders of audio.
        table: Thresholds, as of ``sari-data check``.
        advance: Called with 1 for each question that is held and for each corpus that is done.
        text_overlap: A text that is shared counts whatever it says: also a template's, and one with other options or
            another answer.

    Raises:
        InputError: A corpus is given twice, or none is given.
        MissingFileError: A corpus is not there.
        BenchmarkError: A table or folder cannot be read.
        CorpusError: A corpus folder is not complete.
    """
    from sari_data.dedup.marking import mark_questions
    from sari_data.references import Against

    questions = benchmark.questions if isinstance(benchmark, Benchmark) else None
    marking = mark_questions(
        questions if questions is not None else (gold.to_question() for gold in benchmark.golds),
        [Against(path=str(path), name=name) for path, name in zip(corpora, _names(corpora), strict=True)],
        table,
        advance,
    )

    def counts(finding: Finding) -> bool:
        return finding.counts or (text_overlap and finding.kind == "text")

    evidence = {key: tuple(f for f in those if counts(f)) for key, those in marking.findings.items()}
    return Contamination(
        benchmark.name,
        benchmark.version,
        len(benchmark.golds),
        {key: those for key, those in evidence.items() if those},
        marking.corpora,
        marking.compared,
        {key: those for key, those in marking.findings.items() if not evidence[key]},
        text_overlap,
    )


def _names(corpora: Sequence[Path]) -> list[str]:
    """Return a name for each corpus: its own, with as many of the folders above it as tell it from the others."""
    if not corpora:
        raise InputError("a clean subset needs a training corpus, and none is given: name one or more")
    whole = [path.resolve() for path in corpora]
    for place, path in enumerate(whole):
        if path in whole[:place]:
            raise InputError(f"training corpus {str(corpora[place])!r} is given twice: name it once")
    tails = [(*path.parts[:-1], path.stem if path.is_file() else path.name) for path in whole]
    taken = [1] * len(tails)
    for depth in range(1, max(map(len, tails))):
        shown = [tail[-depth:] for tail in tails]
        taken = [
            depth + 1 if shown.count(tail[-depth:]) > 1 else least for tail, least in zip(tails, taken, strict=True)
        ]
    return ["/".join(tail[-depth:]) for tail, depth in zip(tails, taken, strict=True)]


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
    def full_less_clean(self) -> tuple[float, tuple[float, float]] | None:
        """Full accuracy less the clean one, with its 95 % interval; in [-1, 1].

        The marked questions are a share w of all, so it is w times ``difference``, and so are the interval's ends.
        """
        if self.difference is None or self.marked is None:
            return None
        points, (low, high) = self.difference
        share = self.marked.overall.n / self.full.overall.n
        return share * points, (share * low, share * high)

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
        why = ", ".join(f"{found:,} by {name}" for name, found in _reasons_of(self).items())
        held = f"{counted(count, 'question')} {are(count)} in {self.about.names} ({why})"
        full = f"full: {_share(self.full.overall)} of {total:,}"
        if self.clean is None:
            return f"clean subset: none; {full}; all {held}"
        said = f"clean subset: {_share(self.clean.overall)} of {_questions(self.clean):,}; {full}"
        if self.difference is None or self.full_less_clean is None:
            return f"{said}; {held}"
        doubt = ""
        if self.difference[1][0] <= 0 <= self.difference[1][1]:
            doubt = ", which cannot be told from none"
        elif count < FEW:
            doubt = ", on so few questions that it says little"
        return (
            f"{said} ({_points(self.full_less_clean)}); {held}, where the accuracy is {_share(self.marked.overall)}, "
            f"{_points(self.difference)} compared with the clean ones{doubt}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the figures of all three and the sentence; the findings are those of ``about``."""
        return {
            "sentence": self.sentence,
            "full": self.full.overall.to_json(),
            "clean": None if self.clean is None else self.clean.overall.to_json(),
            "contaminated": None if self.marked is None else self.marked.overall.to_json(),
            "difference": _difference_json(self.difference),
            "full_less_clean": _difference_json(self.full_less_clean),
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


def _reasons_of(scores: CleanScores) -> dict[str, int]:
    """How the questions of this score were found; a run with a limit has only some of those that are marked."""
    assert scores.marked is not None
    return reasons(scores.about.marked[key] for key in {item.gold.id for item in scores.marked.items})


def _difference_json(difference: tuple[float, tuple[float, float]] | None) -> dict[str, Any] | None:
    return None if difference is None else {"points": percent(difference[0]), "interval": percents(difference[1])}


def _points(difference: tuple[float, tuple[float, float]]) -> str:
    points, (low, high) = difference
    return f"{points * 100:+.1f} points [{low * 100:+.1f} to {high * 100:+.1f}]"


def _questions(score: Score) -> int:
    return len({item.gold.id for item in score.items})


def _share(tally: Tally) -> str:
    interval = tally.best_interval
    if tally.accuracy is None or interval is None:
        return "no answers"
    return f"{tally.accuracy * 100:.1f} % [{range_text(interval)}]"
