"""Near-duplicates within a corpus, and its contamination with a benchmark.

Three things are compared: the text of a question with its options, the part of the video that its audio is from, and
the sound itself. What counts as contamination, and what is only reported:

- the same part of a video, or the same sound: contamination, whatever is asked about it;
- the same or a near text with the same answer: contamination, unless the text is one that is asked of many recordings
  ("What is the key of this music?"), because then it says nothing about any of them;
- the same video: contamination where it is not known which part of it is meant; another part is only reported.

Within a corpus a text is compared only with those about the same recording: several questions about one clip are
what a corpus wants, the same question about it twice is not.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sari_data.dedup.collection import Benchmark, Held, hold_benchmark, hold_corpus
from sari_data.dedup.findings import CORPUS, Dedup, Finding, Findings
from sari_data.dedup.grouping import find_repeats, group_clips, name_groups
from sari_data.dedup.matching import Matches, match_segments, match_sounds, match_texts
from sari_data.dedup.report import contaminated_count, summarise
from sari_data.errors import InputError
from sari_data.references import Against, check_against
from sari_data.types import AudioQuestion

__all__ = [
    "CORPUS",
    "Against",
    "Dedup",
    "Finding",
    "Findings",
    "contaminated_count",
    "contamination",
    "find_duplicates",
]


def find_duplicates(
    questions: Collection[AudioQuestion], table: Dedup, advance: Callable[[int], None] | None = None
) -> Findings:
    """Find the questions of a corpus that repeat one another or are a benchmark's.

    The questions are iterated once and not held: about 500 bytes a question stay in memory. Fingerprints and hashes are
    in scratch files, where :mod:`tempfile` puts them.

    Args:
        questions: The corpus, in its order; of a set of repeats the first one stays.
        table: What to compare and with what.
        advance: Called with 1 for each question read.

    Raises:
        InputError: Two benchmarks have one name.
        MissingFileError: A benchmark is not there.
        BenchmarkError: A benchmark cannot be read.
        StorageError: The fingerprints cannot be kept, or there is no room for a scratch file.
    """
    titles = [against.title for against in table.against]
    for against in table.against:
        check_against(against)
        if titles.count(against.title) > 1:
            raise InputError(
                f"benchmark {against.path!r}: expected benchmarks with different names, found {against.title!r} more "
                "than once: give each a name of its own in dedup.against"
            )
    held = hold_corpus(questions, table, advance or (lambda count: None))
    groups = group_clips(held.clips, table)
    found: dict[int, list[Finding]] = {}
    benchmarks = []
    for against in table.against:
        benchmark = hold_benchmark(against, table)
        texts = match_texts(held, groups.recordings, benchmark, table)
        parts, videos = match_segments(held, benchmark, table)
        sounds = match_sounds(held, benchmark, table)
        _collect(found, held, benchmark, texts, (sounds, parts, videos))
        benchmarks.append(benchmark)
    bad = [any(f.counts for f in found.get(number, ())) for number in range(len(held.ids))]
    repeats: list[Finding] = []
    if table.within != "off":
        leave_out = bad if table.on_contamination == "drop" else [False] * len(bad)
        repeats = find_repeats(held, groups, table, leave_out)
    by_question = {
        held.ids[number]: tuple(sorted(those, key=lambda f: not f.counts)) for number, those in sorted(found.items())
    }
    for repeat in repeats:
        by_question[repeat.id] = (*by_question.get(repeat.id, ()), repeat)
    contaminated = frozenset(held.ids[number] for number, is_bad in enumerate(bad) if is_bad)
    named = name_groups(held.clips, groups)
    summary = summarise(held, benchmarks, groups, named, by_question, contaminated, repeats, table)
    return Findings(by_question, named, contaminated, frozenset(f.id for f in repeats), summary)


def _collect(
    found: dict[int, list[Finding]], held: Held, benchmark: Benchmark, texts: Matches, of_clips: Sequence[Matches]
) -> None:
    """Turn matches of texts and clips into findings of the questions that have them."""
    for number, (text, clip) in enumerate(zip(held.text_numbers, held.clip_numbers, strict=True)):
        for match in (texts.get(text), *(matches.get(clip) for matches in of_clips)):
            if match is not None:
                found.setdefault(number, []).append(
                    Finding(
                        held.ids[number],
                        match.kind,
                        match.grade,
                        benchmark.ids[match.other],
                        benchmark.name,
                        match.score,
                        match.counts,
                    )
                )


@dataclass(frozen=True, slots=True)
class _Corpus(Collection[AudioQuestion]):
    """The questions of a corpus folder, read anew at each iteration."""

    folder: Path
    splits: Mapping[str, Any]

    def __iter__(self) -> Iterator[AudioQuestion]:
        from sari_data.store import iter_split

        for split in self.splits:
            yield from iter_split(self.folder, split)

    def __len__(self) -> int:
        return sum(split["rows"] for split in self.splits.values())

    def __contains__(self, question: object) -> bool:
        return any(question == own for own in self)


def contamination(
    folder: str | Path,
    against: Sequence[Against | str | Path],
    table: Dedup | None = None,
    advance: Callable[[int], None] | None = None,
) -> Findings:
    """Compare a corpus folder with benchmarks; its ``summary`` is the report, and nothing in the folder changes.

    Args:
        folder: The corpus.
        against: Benchmarks, as tables or paths.
        table: Thresholds; its ``against`` is not used. Repeats within the corpus are not looked for.
        advance: Called with 1 for each question read.

    Raises:
        MissingFileError: The folder or a benchmark is not there.
        CorpusError: The folder is no complete corpus.
        BenchmarkError: A benchmark cannot be read.
    """
    from sari_data.store import read_manifest

    tables = tuple(a if isinstance(a, Against) else Against(path=str(a)) for a in against)
    asked = (table or Dedup()).model_copy(update={"against": tables, "within": "off", "on_contamination": "mark"})
    return find_duplicates(_Corpus(Path(folder), read_manifest(folder)["splits"]), asked, advance)
