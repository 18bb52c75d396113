"""The report on duplicates and contamination, as JSON values: for the manifest, the card and the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sari_data.dedup.collection import Benchmark, Held
from sari_data.dedup.findings import CORPUS, Dedup, Finding
from sari_data.dedup.grouping import Groups

EXAMPLES = 10
_THRESHOLDS = ("near", "near_within", "generic", "overlap_seconds", "same_video", "sound", "sound_share")


def summarise(
    held: Held,
    benchmarks: Sequence[Benchmark],
    groups: Groups,
    named: Mapping[str, str],
    by_question: Mapping[str, tuple[Finding, ...]],
    contaminated: Iterable[str],
    repeats: Sequence[Finding],
    table: Dedup,
) -> dict[str, Any]:
    """Return the report.

    ``contaminated_found`` are the questions that are a benchmark's, ``contaminated`` those of them that stay in the
    corpus when the table's ``on_contamination`` has been done.
    """
    found = len(list(contaminated))
    return {
        "checked": bool(benchmarks),
        "contaminated": found if table.on_contamination == "mark" else 0,
        "contaminated_found": found,
        "on_contamination": table.on_contamination,
        "questions": len(held.ids),
        "different_texts": len(held.texts),
        "clips": len(held.clips.segments),
        "compared": {
            "clips_with_segment": sum(s is not None for s in held.clips.segments),
            **_heard(held, table),
        },
        "against": [_about(benchmark, by_question, table) for benchmark in benchmarks],
        "within": {
            "done": table.within,
            "repeats": len(repeats),
            "by_grade": dict(sorted(Counter(f.grade for f in repeats).items())),
            "groups": len(set(named.values())),
            "clips_in_groups": len(named),
            "recordings": len(np.unique(groups.recordings)),
            "pairs_by_segment": groups.by_segment,
            "pairs_by_sound": groups.by_sound,
        },
        "thresholds": {key: getattr(table, key) for key in _THRESHOLDS},
        "examples": [str(f) for f in _examples(by_question)],
    }


def contaminated_count(manifest: Mapping[str, Any]) -> int | None:
    """Return how many questions of a corpus are known to be a benchmark's.

    Args:
        manifest: The corpus's manifest; its entry ``contamination`` is the report of the build.

    Returns:
        The number, or ``None`` where the corpus was never compared with a benchmark.
    """
    report = manifest.get("contamination")
    if not isinstance(report, Mapping) or not report.get("checked"):
        return None
    return int(report["contaminated"])


def _heard(held: Held, table: Dedup) -> dict[str, Any]:
    if not table.sound:
        return {"clips_with_sound": 0, "why_no_sound": "dedup.sound is false"}
    clips = held.clips
    return {
        "clips_with_sound": clips.heard,
        "silent": clips.silent,
        "unreadable": clips.unreadable,
        "unreadable_examples": list(clips.examples),
    }


def _about(benchmark: Benchmark, by_question: Mapping[str, tuple[Finding, ...]], table: Dedup) -> dict[str, Any]:
    hits = [f for findings in by_question.values() for f in findings if f.where == benchmark.name]
    counted = [f for f in hits if f.counts]
    about = benchmark.about
    return {
        **about,
        "contaminated": len({f.id for f in counted}),
        "benchmark_questions": len({f.other for f in counted}),
        "by_kind": _tally(counted),
        "only_reported": _tally([f for f in hits if not f.counts]),
        "notes": _notes(about["questions"], about["compared"], bool(benchmark.clips.heard), table),
    }


def _tally(findings: Sequence[Finding]) -> dict[str, int]:
    return dict(sorted(Counter(f"{f.kind}_{f.grade}" for f in findings).items()))


def _notes(total: int, compared: Mapping[str, int], heard: bool, table: Dedup) -> list[str]:
    """What the comparison does not prove."""
    notes = []
    if not table.sound:
        notes.append(
            "sounds were not compared (dedup.sound is false): the same recording under another text is not found"
        )
    elif not heard:
        notes.append(
            "its audio is not there, so no sound was compared: the same recording with another text is found only "
            "where both name the video"
        )
    elif compared["sounds"] < total:
        notes.append(f"only {compared['sounds']} of its {total} questions have audio that could be compared")
    if not compared["segments"]:
        notes.append("it names no videos, so no segments were compared")
    if not compared["texts"]:
        notes.append("it has no questions, so no texts were compared")
    return notes


def _examples(by_question: Mapping[str, tuple[Finding, ...]]) -> list[Finding]:
    """Some findings of each kind, those that count first."""
    every = [f for findings in by_question.values() for f in findings]
    chosen: list[Finding] = []
    kinds: Counter[tuple[str, str, str]] = Counter()
    for finding in sorted(every, key=lambda f: (not f.counts, f.where == CORPUS)):
        kind = (finding.where, finding.kind, finding.grade)
        kinds[kind] += 1
        if kinds[kind] <= 3:
            chosen.append(finding)
    return chosen[: 3 * EXAMPLES]
