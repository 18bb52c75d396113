"""Which column of a table is what: those that a map names, and of the others the first with a usual name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sari_bench.benchmarks.table_map import TableMap
from sari_data.columns import (
    ANSWER_COLUMNS,
    AUDIO_COLUMNS,
    CHOICES_COLUMNS,
    ID_COLUMNS,
    LETTERS,
    OPTION_COLUMNS,
    QUESTION_COLUMNS,
)
from sari_data.errors import BenchmarkError

USUAL = {
    "task": ("task", "domain", "modality"),
    "category": ("category",),
    "sub_category": ("sub_category", "sub-category", "subcategory"),
    "difficulty": ("difficulty",),
}


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of a table's columns.

    Args:
        question: The question.
        choices: All options in one, or each in one of its own.
        answer: The right answer; ``None``, here and below, where there is no such column.
        audio: The recording.
        ids: Of these the first that has an id for every row, and none twice, has the ids.
        id_is_named: Whether there is but one of them, because the map or the name says that it has the ids.
        task: What is heard.
        category: The group that a question is in.
        sub_category: The finer group.
        difficulty: How hard it is.
    """

    question: str
    choices: str | tuple[str, ...]
    answer: str | None
    audio: str | None
    ids: tuple[str, ...]
    id_is_named: bool
    task: str | None
    category: str | None
    sub_category: str | None
    difficulty: str | None


def find_columns(there: Sequence[str], mapped: TableMap, path: str) -> Columns:
    """Return the columns of a table.

    Args:
        there: The names that it has.
        mapped: Which column is what.
        path: What it is called in messages.

    Raises:
        BenchmarkError: A column that the map names is not there, or none has the question or the options.
    """

    def column(key: str, usual: Sequence[str]) -> str | None:
        given: str | None = getattr(mapped, key)
        if given is not None and given not in there:
            raise BenchmarkError(f"{path}: expected the column {given!r} of bench.table.{key}, found {list(there)}")
        return given or next((name for name in usual if name in there), None)

    question = column("question", QUESTION_COLUMNS)
    if question is None:
        raise BenchmarkError(
            f"{path}: expected a column with the question ({', '.join(QUESTION_COLUMNS)}), found {list(there)}: name "
            "it with bench.table.question"
        )
    choices: str | tuple[str, ...] | None
    if isinstance(mapped.choices, tuple):
        absent = [name for name in mapped.choices if name not in there]
        if absent:
            raise BenchmarkError(f"{path}: expected the columns {absent} of bench.table.choices, found {list(there)}")
        choices = mapped.choices
    else:
        choices = column("choices", CHOICES_COLUMNS) or _lettered(there)
    if not choices:
        raise BenchmarkError(
            f"{path}: expected a column with the options ({', '.join(CHOICES_COLUMNS)}) or a column for each (A, B or "
            f"choice_a, choice_b, ...), found {list(there)}: name it with bench.table.choices"
        )
    own = column("id", ("id",))
    usual = {**USUAL, "task": ()} if mapped.task_is is not None else USUAL  # what is said of all rows holds for all
    return Columns(
        question=question,
        choices=choices,
        answer=column("answer", ANSWER_COLUMNS),
        audio=column("audio", AUDIO_COLUMNS),
        ids=(own,) if own else tuple(name for name in ID_COLUMNS if name in there),
        id_is_named=own is not None,
        **{key: column(key, names) for key, names in usual.items()},
    )


def _lettered(there: Sequence[str]) -> tuple[str, ...]:
    """The columns of the options where each has one of its own."""
    for pattern in OPTION_COLUMNS:
        for letters in (LETTERS, tuple(map(str.lower, LETTERS))):
            found = tuple(pattern.format(letter) for letter in letters if pattern.format(letter) in there)
            if len(found) >= 2:
                return found
    return ()
