"""Versions by content: which published revision a set of questions is, or how far it is from the nearest.

A registered revision is a JSON file in ``sari_bench/revisions``: its name, source and date, the digest of its
questions (:func:`~sari_bench.benchmarks.base.digest_of`), and for each question id a short hash of its content. No
text of a question is in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sari_bench.benchmarks.base import Gold, digest_of, digest_row

FOLDER = Path(__file__).resolve().parent.parent / "revisions"
_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Revision:
    """A registered revision of a benchmark.

    Args:
        name: As its publishers call it, where they do.
        source: Where it is published.
        date: When, as far as is known.
        digest: Content hash of its questions.
        questions: Question id to the short hash of its content.
    """

    name: str
    source: str
    date: str
    digest: str
    questions: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """How a set of questions differs from a revision, in questions.

    Args:
        changed: The id is in both, the content differs.
        here: The id is only in the set.
        there: The id is only in the revision.
    """

    changed: int
    here: int
    there: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.changed + self.here + self.there


@cache
def revisions(name: str) -> tuple[Revision, ...]:
    """Return the registered revisions of a benchmark, oldest first; none where there are none."""
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        return ()
    body = json.loads(path.read_text(encoding="utf-8"))
    return tuple(Revision(**entry) for entry in body["revisions"])


def hash_question(gold: Gold) -> str:
    """Return the short content hash of a question: 12 hexadecimal digits of SHA-256."""
    return hashlib.sha256(digest_row(gold).encode()).hexdigest()[:_DIGITS]


def difference(golds: Iterable[Gold], revision: Revision) -> Difference:
    """Return in how many questions a set differs from a revision."""
    mine = {gold.id: hash_question(gold) for gold in golds}
    both = mine.keys() & revision.questions.keys()
    changed = sum(mine[key] != revision.questions[key] for key in both)
    return Difference(changed, len(mine) - len(both), len(revision.questions) - len(both))


def describe(name: str, golds: Sequence[Gold]) -> tuple[str, tuple[str, ...]]:
    """Return the version of a set of questions, and what must be said of it.

    A registered revision has its name for a version and nothing to be said. Of others the version is the first 12
    digits of the digest, and the note says how far they are from the nearest revision (of equally near ones the
    latest).
    """
    digest = digest_of(golds)
    known = revisions(name)
    same = next((revision.name for revision in known if revision.digest == digest), None)
    if same is not None:
        return same, ()
    version = digest[:_DIGITS]
    if not known:
        return version, ()
    distances = [difference(golds, revision) for revision in known]
    at = min(range(len(known)), key=lambda i: (distances[i].total, -i))
    far = distances[at]
    noun = "question" if far.total == 1 else "questions"
    names = ", ".join(revision.name for revision in known)
    if far.here == len(golds):
        return version, (
            f"unregistered revision, shares no question with the registered ones ({names}): its version is its content "
            f"hash, {version}",
        )
    return version, (
        f"unregistered revision, differs from {known[at].name} in {far.total:,} {noun} ({far.changed:,} changed, "
        f"{far.here:,} only here, {far.there:,} only there): its version is its content hash, {version}",
    )


def to_entry(name: str, source: str, date: str, golds: Sequence[Gold]) -> dict[str, object]:
    """Return a revision as it is registered, as a JSON object."""
    return {
        "name": name,
        "source": source,
        "date": date,
        "digest": digest_of(golds),
        "questions": {gold.id: hash_question(gold) for gold in sorted(golds, key=lambda gold: gold.id)},
    }
