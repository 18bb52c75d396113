"""Register a published revision of a benchmark, so that files with its questions are known by their content.

    python -m benchmarks.register_revision mmar MMAR-meta.jsonl --name rubrics --date 2026 --source ddlBoJack/MMAR

The entry goes to the end of ``sari_bench/revisions/<benchmark>.json``, which ships with the package: name, source,
date, the digest of the questions, and for each question id 12 digits of a hash of its content. No text of a
question is in it. A revision with that name or content that is there already is an error.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from sari_bench.benchmarks import load_benchmark
from sari_bench.benchmarks.versions import FOLDER, to_entry
from sari_data.errors import InputError, SariError


def register(benchmark: str, questions: Path, name: str, source: str, date: str, folder: Path = FOLDER) -> Path:
    """Add a revision to a benchmark's file of revisions, and return that file.

    Raises:
        InputError: A revision with that name or content is registered already.
        SariError: The questions cannot be read as that benchmark.
    """
    golds = load_benchmark(benchmark, questions, audio=False).golds
    path = folder / f"{benchmark}.json"
    known: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["revisions"] if path.is_file() else []
    entry = to_entry(name, source, date, golds)
    same = next((one["name"] for one in known if one["name"] == name or one["digest"] == entry["digest"]), None)
    if same is not None:
        raise InputError(
            f"{path}: expected a new revision, found {same!r} with that name or content: leave it as it is"
        )
    body = {"benchmark": benchmark, "revisions": [*known, entry]}
    path.write_text(json.dumps(body, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    return path


def main() -> None:
    """Register one revision."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark")
    parser.add_argument("questions", type=Path)
    parser.add_argument("--name", required=True, help="as its publishers call it")
    parser.add_argument("--source", required=True, help="where it is published")
    parser.add_argument("--date", required=True, help="when it was published, as far as is known")
    arguments = parser.parse_args()
    try:
        path = register(arguments.benchmark, arguments.questions, arguments.name, arguments.source, arguments.date)
    except SariError as error:
        sys.exit(str(error))
    print(path)


if __name__ == "__main__":
    main()
