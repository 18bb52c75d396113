"""Any table of multiple-choice questions as a benchmark: ``table:questions.csv``.

CSV, TSV, JSON, JSON lines, Parquet (with embedded audio too), a folder that ``datasets`` reads, or a data set on the
Hub. Columns with usual names are recognised; ``[bench.table]`` names the others (:class:`TableMap`). Nothing is
guessed: where the form of the golds could be two, or a cell does not fit, one sentence names the row and the column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sari_bench.benchmarks.assembling import assemble, recordings_of
from sari_bench.benchmarks.base import Benchmark, Gold
from sari_bench.benchmarks.fields import read_names
from sari_bench.benchmarks.places import AudioPlace, Found, open_audio
from sari_bench.benchmarks.table_columns import USUAL, Columns, find_columns
from sari_bench.benchmarks.table_map import TableMap
from sari_data.errors import BenchmarkError, InputError
from sari_data.sources.cells import AnswerForm
from sari_data.types import DIFFICULTIES, AudioRef

NAME = "table"
PREFIX = "table:"
SUMMARY = "any table of multiple-choice questions: CSV, TSV, JSON, JSON lines, Parquet, or hub:owner/name"
QUESTIONS = None
LICENCE = "that of the table"
HUB = ""
HOW_TO_GET = "write --benchmark table:PATH --audio FOLDER; [bench.table] says which column is what"

_FORMS: tuple[AnswerForm, ...] = ("text", "letter", "index0", "index1")


@dataclass(frozen=True, slots=True)
class _Entry:
    where: str
    values: dict[str, Any]
    choices: list[str | None]
    answer: Any


def load(
    questions: Path | None,
    audio_root: Path | None,
    *,
    audio: bool = True,
    table: TableMap | None = None,
    **options: Any,
) -> Benchmark:
    """Load a table of questions.

    Args:
        questions: A file, a folder that ``datasets`` reads, or ``hub:owner/name``.
        audio_root: Folder or archive of its audio; absent: the table's own folder, or what it embeds.
        audio: Whether audio is wanted.
        table: Which column is what.
        options: Must be empty.

    Raises:
        InputError: No table was named, options were given, or ``audio_root`` is no folder or archive.
        MissingFileError: It is not there.
        BenchmarkError: A column is absent, or a cell does not fit; names the row and the column.
        StorageError: The disk is full, or the Hub cannot be reached.
    """
    if options:
        raise InputError(f"benchmark {NAME!r} takes the option 'table'; found {sorted(options)}: remove them")
    if questions is None:
        raise InputError(f"benchmark {NAME!r} needs a table: write --benchmark {PREFIX}PATH, or give --questions")
    mapped = table or TableMap()
    with _readable():
        rows = _open(str(questions), mapped)
        there = rows.names()
    columns = find_columns(there, mapped, str(questions))
    embeds = columns.audio is not None and rows.embeds(columns.audio)
    folder = Path(rows.files[0]).parent if Path(rows.files[0]).is_file() else None
    if audio and columns.audio is None:
        raise BenchmarkError(
            f"{questions}: expected a column with the audio of each question, found {there}: name it with "
            "bench.table.audio"
        )
    place = open_audio(audio_root, Found(rows.files, str(questions), (), folder)) if audio else None
    with _readable():
        cells = list(_cells(rows, columns, embeds, audio and audio_root is None))
    entries = [_entry(where, values, columns, mapped) for where, values in cells]
    form = _form(entries, columns, mapped)
    names = _ids(entries, columns)
    name = mapped.name or f"{PREFIX}{rows.name}"
    made = assemble(name, _questions(entries, names, form, columns, mapped, place), str(questions))
    if place is not None:
        place.unpack()
    return made


def _open(path: str, mapped: TableMap) -> Any:
    from sari_data.sources.rows import Table

    text, _, revision = path.partition("@") if path.startswith("hub:") else (path, "", "")
    return Table(text, config=mapped.config, split=mapped.split, revision=revision or None)


@contextmanager
def _readable() -> Iterator[None]:
    """Turn what the readers of tables say of a file into the error of a benchmark's file."""
    try:
        yield
    except InputError as error:
        raise BenchmarkError(str(error)) from error


def _cells(rows: Any, columns: Columns, embeds: bool, audio: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where each row is and its cells, embedded audio taken out."""
    from sari_bench.benchmarks.embedded import read_parquet_rows

    flat = [columns.question, *([columns.choices] if isinstance(columns.choices, str) else columns.choices)]
    flat += [c for c in (columns.answer, columns.task, columns.category, columns.sub_category, columns.difficulty) if c]
    flat += columns.ids
    wanted = list(dict.fromkeys([*flat, *([columns.audio] if columns.audio and not embeds else [])]))
    if rows.files[0].endswith(".parquet"):
        yield from read_parquet_rows(rows.files, wanted, columns.audio if embeds else None, audio=audio)
        return
    for index, row in enumerate(rows.rows(wanted)):
        yield f"{row.file}: row {index} (line {row.number})", dict(row.values)


def _entry(where: str, values: dict[str, Any], columns: Columns, mapped: TableMap) -> _Entry:
    from sari_data.sources import cells

    named = columns.choices
    cell = values.get(named) if isinstance(named, str) else [values.get(name) for name in named]
    options = named if isinstance(named, str) else ", ".join(named)
    choices = _fits(where, options, lambda: cells.read_choices(cell, mapped.separator))
    answer = values.get(columns.answer) if columns.answer else None
    if mapped.strip_letters:
        form = mapped.answer_form or "text"
        choices, answer = _fits(where, options, lambda: cells.strip_letters(choices, answer, form))
    return _Entry(where, values, choices, None if cells.is_empty(answer) else answer)


def _fits(where: str, column: str | None, read: Callable[[], Any]) -> Any:
    """Return what a cell says; what does not fit is told with its row and column."""
    from sari_data.sources.cells import UnfitError

    try:
        return read()
    except UnfitError as error:
        raise BenchmarkError(f"{where}, column {column!r}: {error}") from error


def _form(entries: Sequence[_Entry], columns: Columns, mapped: TableMap) -> AnswerForm | None:
    """Return the form of the golds: what the map says, or the one that fits every row; ``None`` where there are none.

    Text comes first: where every gold is the text of an option, a letter or number among them is that text.
    """
    given = [entry for entry in entries if entry.answer is not None]
    if not given:
        return None
    if len(given) < len(entries):
        bare = next(entry for entry in entries if entry.answer is None)
        raise BenchmarkError(
            f"{bare.where}, column {columns.answer!r}: expected the right answer, found an empty cell: complete it, or "
            "leave the answers of all rows out"
        )
    if mapped.answer_form is not None:
        return mapped.answer_form
    fitting = [form for form in _FORMS if all(_gold(entry, form) is not None for entry in given)]
    if "text" in fitting or len(fitting) == 1:
        return fitting[0]
    first = given[0]
    found = f"fit {' and '.join(fitting)}" if fitting else f"fit no one form (the first is {first.answer!r})"
    raise BenchmarkError(
        f"{first.where}, column {columns.answer!r}: expected answers that are an option's text, letter or number, "
        f"found such as {found}: say which with bench.table.answer_form ({', '.join(_FORMS)})"
    )


def _gold(entry: _Entry, form: AnswerForm) -> str | None:
    from sari_data.sources.cells import UnfitError, read_answer

    try:
        return read_answer(entry.answer, entry.choices, form)
    except UnfitError:
        return None


def _ids(entries: Sequence[_Entry], columns: Columns) -> list[str]:
    """Return the ids: of the column ``id`` or the one that is named; else of the first column that has one for every
    row and none twice, else the rows' numbers.
    """
    from sari_data.sources.cells import is_empty

    for column in columns.ids:
        values = [entry.values.get(column) for entry in entries]
        names = ["" if is_empty(v) or isinstance(v, dict | list | bytes) else str(v).strip() for v in values]
        if columns.id_is_named and not all(names):
            where = entries[names.index("")].where
            raise BenchmarkError(f"{where}, column {column!r}: expected the row's id, found an empty cell: complete it")
        if columns.id_is_named or (all(names) and len(set(names)) == len(names)):
            return names
    return [str(number) for number in range(len(entries))]


def _questions(
    entries: Sequence[_Entry], names: Sequence[str], form: AnswerForm | None, columns: Columns, mapped: TableMap,
    place: AudioPlace | None,
) -> Iterator[tuple[str, Gold, tuple[AudioRef, ...]]]:  # fmt: skip
    for entry, name in zip(entries, names, strict=True):
        cell = entry.values.get(columns.audio) if columns.audio else None
        gold = _read(entry, name, form, columns, mapped, cell)
        yield entry.where, gold, recordings_of(gold, cell, place, entry.where)


def _read(entry: _Entry, name: str, form: AnswerForm | None, columns: Columns, mapped: TableMap, audio: Any) -> Gold:
    from sari_data.sources import cells

    where, values = entry.where, entry.values

    def text(column: str | None) -> str:
        return str(_fits(where, column, lambda: cells.read_text(values.get(column)))) if column else ""

    choices = tuple(choice for choice in entry.choices if choice is not None)
    if len(choices) < 2:
        raise BenchmarkError(
            f"{where}, column {columns.choices!r}: expected two options or more, found {list(choices)}"
        )
    question, difficulty = text(columns.question), text(columns.difficulty)
    if not question:
        raise BenchmarkError(f"{where}, column {columns.question!r}: expected the question, found an empty cell")
    if difficulty and difficulty not in DIFFICULTIES:
        raise BenchmarkError(
            f"{where}, column {columns.difficulty!r}: expected one of {', '.join(DIFFICULTIES)} or nothing, found "
            f"{difficulty!r}: correct it, or name another column with bench.table.difficulty"
        )
    answer = None
    if form == "text":
        # One that is no option is kept: published tables have such rows.
        answer = str(_fits(where, columns.answer, lambda: cells.read_text(entry.answer)))
    elif form is not None:
        answer = _fits(where, columns.answer, lambda: cells.read_answer(entry.answer, entry.choices, form))
    first, *others = read_names(audio, f"{where}, column {columns.audio!r}")
    return Gold(
        id=name,
        question=question,
        choices=choices,
        answer=answer,
        task=_task(where, values, columns, mapped),
        category=text(columns.category),
        sub_category=text(columns.sub_category),
        difficulty=difficulty,
        audio=first,
        more_audio=tuple(others),
    )


def _task(where: str, values: dict[str, Any], columns: Columns, mapped: TableMap) -> str:
    from sari_data.sources import cells

    cell = values.get(columns.task) if columns.task else None
    if cells.is_empty(cell) and mapped.task_is is not None:
        return mapped.task_is
    if columns.task is None:
        raise BenchmarkError(
            f"{where}: expected a column that says what is heard ({', '.join(USUAL['task'])}), found "
            f"{sorted(map(str, values))}: say it of all rows with bench.table.task_is (sound, music, speech or a mix)"
        )
    try:
        return cells.read_domain(cell, mapped.tasks)
    except cells.UnfitError as error:
        raise BenchmarkError(
            f"{where}, column {columns.task!r}: expected sound, music, speech or a mix, found {cell!r}: say what it "
            "means with bench.table.tasks, or what is heard in all rows with bench.table.task_is"
        ) from error
