"""Leaderboards: the runs on one version of one benchmark, best first.

Runs on different questions never share a table, not even two revisions of one benchmark or a part
of it (``--limit``) and the whole. Published rows stand beside own runs only where they are of the
same benchmark and version; those of other versions are kept apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sari_bench.counting import counted
from sari_bench.published import PublishedRow, published_rows
from sari_bench.running.runs import Run
from sari_bench.scorers import JUDGE_FOLDER, load_scorer
from sari_bench.scoring import Score, score_all
from sari_bench.statistics.metrics import label_order
from sari_bench.statistics.voting import PassAt, has_votes, majority, pass_at

if TYPE_CHECKING:
    from sari_bench.contamination import CleanScores, Contamination

# Beside figures of these scorers alone do published ones say anything: they were made with such a script.
_COMPARABLE = {"answer", "official"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A run with its scores.

    Args:
        run: The run.
        score: Its score by the board's scorer.
        scores: Its score by every scorer that was asked for, the board's first.
        training: The score on either side of what training corpora share, where corpora were given.
        majority: The score of the majority's answer, where questions have several samples.
        pass_at: The chance that one of k samples is right, for each k; empty with one sample.
    """

    run: Run
    score: Score
    scores: Mapping[str, Score] = field(default_factory=dict)
    training: CleanScores | None = None
    majority: Score | None = None
    pass_at: tuple[PassAt, ...] = ()

    @property
    def clean(self) -> Score | None:
        """The score over the questions that no training corpus shares; ``None`` where there are none, or no corpus."""
        return None if self.training is None else self.training.clean

    def to_json(self) -> dict[str, Any]:
        """Return the entry's figures; what was not asked for is left out."""
        honest = self.score.honest
        body: dict[str, Any] = {
            "name": self.run.name,
            "folder": str(self.run.folder),
            "model": self.run.meta["model"],
            "mode": self.run.mode,
            "samples": self.run.samples,
            "mean_tokens": self.run.mean_tokens,
            **self.score.overall.to_json(),
            "unparsed": honest.outcomes["unparsed"],
            "truncated": honest.outcomes["truncated"],
            "refused": honest.outcomes["refused"],
            "missing": honest.outcomes["missing"],
            "task": {name: part.to_json() for name, part in self.score.by.get("task", {}).items()},
        }
        if len(self.scores) > 1:
            body["scores"] = {name: _figures(score) for name, score in self.scores.items()}
        if self.clean is not None:
            body["clean"] = _figures(self.clean)
        if self.training is not None:
            body["training"] = self.training.to_json()
        if self.majority is not None:
            body["majority"] = _figures(self.majority)
        if self.pass_at:
            body["pass_at"] = [found.to_json() for found in self.pass_at]
        return body


@dataclass(frozen=True, slots=True)
class Board:
    """One table: entries on exactly the same questions, best first.

    Args:
        benchmark: The benchmark's name.
        version: Its version.
        digest: Content hash of the questions.
        scorer: What judged the answers that the entries are ranked by.
        tasks: The benchmark's tasks, in their order.
        entries: The runs.
        published: Published rows of this benchmark and version.
        earlier: Published rows of other versions of the benchmark, or of one not stated: never in the same table.
        clean: Which questions a training corpus shares, where corpora were given.
    """

    benchmark: str
    version: str
    digest: str
    scorer: str
    tasks: tuple[str, ...]
    entries: tuple[Entry, ...]
    published: tuple[PublishedRow, ...] = ()
    earlier: tuple[PublishedRow, ...] = ()
    clean: Contamination | None = None

    @property
    def title(self) -> str:
        """Benchmark, version and number of questions."""
        count = len(self.entries[0].run.benchmark.golds)
        return f"{self.benchmark} ({self.version}), {counted(count, 'question')}"

    @property
    def scorers(self) -> tuple[str, ...]:
        """Every scorer that was asked for, the board's first."""
        return tuple(self.entries[0].scores) or (self.scorer,)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know, each sentence once."""
        about = dict.fromkeys(note for entry in self.entries for note in entry.run.benchmark.notes)
        own = [f"{entry.run.name}: {note}" for entry in self.entries for note in entry.score.notes if note not in about]
        return (*about, *own)

    def clean_notes(self, entries: Iterable[Entry]) -> tuple[str, ...]:
        """What the clean subset is, what these entries do on either side of it, and what that does not prove."""
        if self.clean is None:
            return ()
        total, marked = self.clean.questions, len(self.clean.marked)
        found = ", ".join(f"{count:,} by {why}" for why, count in self.clean.by_reason.items())
        return (
            f"clean: the {total - marked:,} of {total:,} questions that {self.clean.names} does not share"
            + (f" ({found})" if found else ""),
            *(f"{entry.run.name}: {entry.training.sentence}" for entry in entries if entry.training is not None),
            *(f"clean: {sentence}" for sentence in self.clean.notes),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the board as one JSON object."""
        body: dict[str, Any] = {
            "benchmark": self.benchmark,
            "version": self.version,
            "digest": self.digest,
            "scorer": self.scorer,
            "entries": [entry.to_json() for entry in self.entries],
            "published": [row.to_json() for row in self.published],
            "earlier": [row.to_json() for row in self.earlier],
            "notes": [*self.notes, *self.clean_notes(self.entries)],
        }
        if self.clean is not None:
            body["contamination"] = self.clean.to_json()
        return body


def make_boards(
    runs: Sequence[Run],
    scorer: str | Sequence[str] = "answer",
    *,
    published: bool = True,
    extra: Sequence[PublishedRow] = (),
    corpora: Sequence[Path] = (),
    text_overlap: bool = False,
) -> list[Board]:
    """Score the runs and sort them into one board for each set of questions.

    Args:
        runs: The runs.
        scorer: A scorer's name, or several: entries are ranked by the first.
        published: Whether published rows stand beside the runs.
        extra: Published rows of the user's own.
        corpora: Training corpora; questions that one of them shares are left out of every entry's ``clean`` score.
        text_overlap: Leave out questions too of which only the text is in a corpus, which is no evidence.

    Raises:
        SariError: As scoring, and as reading a corpus.
    """
    scorers = (scorer,) if isinstance(scorer, str) else tuple(dict.fromkeys(scorer))
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.benchmark.name, run.benchmark.digest), []).append(run)
    boards = []
    for (name, digest), members in sorted(groups.items()):
        version = members[0].benchmark.version
        clean = _contamination(members[0], corpora, text_overlap) if corpora else None
        entries = [_entry(run, scorers, clean) for run in members]
        entries.sort(key=lambda entry: (-(entry.score.overall.accuracy or 0.0), entry.run.name))
        tasks = dict.fromkeys(task for entry in entries for task in entry.score.by.get("task", {}))
        rows = published_rows(name, None, extra) if published and _COMPARABLE & set(scorers) else []
        boards.append(
            Board(
                benchmark=name,
                version=version,
                digest=digest,
                scorer=scorers[0],
                tasks=tuple(sorted(tasks, key=label_order)),
                entries=tuple(entries),
                published=tuple(row for row in rows if row.stated and row.version == version),
                earlier=tuple(row for row in rows if not (row.stated and row.version == version)),
                clean=clean,
            )
        )
    return boards


def _entry(run: Run, scorers: Sequence[str], clean: Contamination | None) -> Entry:
    loaded = [load_scorer(name, run.folder / JUDGE_FOLDER) for name in scorers]
    scores = score_all(run.benchmark, run.answers, loaded, run.samples)
    score = scores[scorers[0]]
    return Entry(run, score, scores, _training(score, clean), *_voted(score, run.samples))


def _voted(score: Score, samples: int) -> tuple[Score | None, tuple[PassAt, ...]]:
    if samples == 1:
        return None, ()
    return majority(score) if has_votes(score) else None, pass_at(score)


def _training(score: Score, about: Contamination | None) -> CleanScores | None:
    if about is None:
        return None
    from sari_bench.contamination import clean_scores

    return clean_scores(score, about)


def _contamination(run: Run, corpora: Sequence[Path], text_overlap: bool) -> Contamination:
    """Compare a run's questions with training corpora: with audio where it can be opened, else by their text."""
    from sari_bench.contamination import contamination
    from sari_bench.running.reopening import reopen
    from sari_data.console import note
    from sari_data.errors import SariError

    try:
        benchmark = reopen(run)
    except SariError as error:
        note(
            f"note: the audio of {run.benchmark.name} is not compared with the training corpora, only its text: {error}"
        )
        return contamination(run.benchmark, corpora, text_overlap=text_overlap)
    return contamination(benchmark, corpora, text_overlap=text_overlap)


def _figures(score: Score) -> dict[str, Any]:
    """A score's figures overall and by task."""
    return {
        **score.overall.to_json(),
        "task": {name: part.to_json() for name, part in score.by.get("task", {}).items()},
    }
