"""Published results: rows of boards and papers, each with its source, version and split, and what is wrong in it.

The rows that ship with sari are in the TOML files of this package, one a benchmark; users add their own from a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from sari_bench.published.checking import checked
from sari_bench.published.reading import read_published
from sari_bench.published.rows import NOT_STATED, PublishedRow

__all__ = ["NOT_STATED", "PublishedRow", "checked", "known_rows", "published_rows", "read_published"]


@lru_cache(maxsize=1)
def known_rows() -> tuple[PublishedRow, ...]:
    """Return every row that ships with sari, checked."""
    files = sorted(Path(__file__).parent.glob("*.toml"))
    return checked([row for path in files for row in read_published(path)])


def published_rows(
    benchmark: str, version: str | None = None, extra: Sequence[PublishedRow] = ()
) -> list[PublishedRow]:
    """Return the published rows of one benchmark, best average first.

    Args:
        benchmark: The benchmark's name, as ``sari-bench list`` shows it.
        version: Only rows of exactly this version; ``None``: of all versions.
        extra: Further rows, of a user's own file; they are checked together with the known ones.
    """
    rows = checked([*known_rows(), *extra]) if extra else known_rows()
    found = [row for row in rows if row.benchmark == benchmark and version in (None, row.version)]
    return sorted(found, key=lambda row: (-(row.average if row.average is not None else -1.0), row.label))
