"""Predictions made elsewhere: rows of ``id`` with ``model_prediction``, ``model_output`` or ``answer_prediction``.

MMAU's README names the first key and its code the second; MMAR's named the first and names the third. A row without
any, or with ``null``, is a question that was not answered.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sari_bench.jsonfiles import read_objects
from sari_bench.scorers.base import Answer
from sari_data.errors import BenchmarkError

if TYPE_CHECKING:
    from sari_bench.benchmarks.base import Benchmark
    from sari_bench.scoring import BenchmarkGolds

KEYS = ("model_prediction", "model_output", "answer_prediction")
_NAMED = " or ".join(map(repr, KEYS))


def read_predictions(path: Path) -> dict[str, str | None]:
    """Return the prediction of each id in the file, ``None`` where the row has none.

    Raises:
        MissingFileError: There is no such file.
        BenchmarkError: Not JSON, not a list of objects, no row, wrong keys or types, or an id that stands twice.
    """
    rows = read_objects(path, "predictions")
    if not rows:
        raise BenchmarkError(f"{path}: expected predictions, found an empty list: give a file that holds some")
    found: dict[str, str | None] = {}
    for index, row in enumerate(rows):
        where = f"{path}: row {index}"
        identifier = row.get("id")
        if not isinstance(identifier, str) or not identifier:
            raise BenchmarkError(
                f"{where}: expected an 'id' that is a non-empty string and {_NAMED}, "
                f"found keys {sorted(map(str, row))} with id {identifier!r}: give each row the id of its question"
            )
        if identifier in found:
            raise BenchmarkError(f"{where}: id {identifier!r} stands twice: keep one prediction for each question")
        found[identifier] = _prediction(row, where)
    if not any(key in row for row in rows for key in KEYS):
        raise BenchmarkError(
            f"{path}: expected predictions under {_NAMED}, found none of them in any of {len(rows)} rows "
            f"(keys of the first: {sorted(map(str, rows[0]))}): rename the key"
        )
    return found


def read_answers(path: Path) -> dict[str, list[Answer]]:
    """Return the predictions of a file as answers, one for each id; they were taken out of responses already.

    Raises:
        MissingFileError: There is no such file.
        BenchmarkError: As :func:`read_predictions`.
    """
    return {key: [Answer(key, text, raw=False)] for key, text in read_predictions(path).items()}


def check_about(path: Path, ids: Collection[str], benchmarks: Sequence[Benchmark | BenchmarkGolds]) -> None:
    """Raise BenchmarkError where a file answers not one question of any of the benchmarks: it is about another.

    A single id in common will do, since revisions of one benchmark share only some.
    """
    known = {gold.id for benchmark in benchmarks for gold in benchmark.golds}
    if known.isdisjoint(ids):
        names = " and ".join(f"{benchmark.name} ({benchmark.version})" for benchmark in benchmarks)
        first = next((gold.id for benchmark in benchmarks for gold in benchmark.golds), "")
        raise BenchmarkError(
            f"{path}: expected predictions for {names}, with ids such as {first!r}, found none in {len(ids):,} "
            f"predictions (the first is for {next(iter(ids), '')!r}): name what they answer with --benchmark and "
            "--questions"
        )


def _prediction(row: dict[str, Any], where: str) -> str | None:
    given = {key: row[key] for key in KEYS if row.get(key) is not None}
    for value in given.values():
        if not isinstance(value, str):
            raise BenchmarkError(f"{where}: expected a prediction that is text, found {value!r}: write it as a string")
    if len(set(given.values())) > 1:
        (first, a), (second, b), *_ = given.items()
        if a == b:  # then it is the third that is another
            second, b = list(given.items())[2]
        raise BenchmarkError(
            f"{where}: {first!r} and {second!r} differ ({a[:40]!r} and {b[:40]!r}): keep the one that is to be scored"
        )
    return next(iter(given.values()), None)
