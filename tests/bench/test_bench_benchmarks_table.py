"""Any table of multiple-choice questions as a benchmark, through usual names or a column map."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from published_files import clip, parquet, write_json

from sari_bench.benchmarks import load_benchmark
from sari_bench.benchmarks.base import Benchmark
from sari_bench.benchmarks.table_map import TableMap
from sari_bench.config import Bench
from sari_data.config import load_tables
from sari_data.errors import BenchmarkError, InputError, MissingFileError, RecipeError

USUAL = [
    {
        "id": f"t{n}",
        "audio_path": f"clips/t{n}.wav",
        "question": f"What is heard in {n}?",
        "choices": ["dog", "cat", "bell"],
        "answer": ("dog", "cat", "bell")[n % 3],
        "task": ("sound", "mix-sound-speech")[n % 2],
        "category": "Perception",
        "sub-category": "Counting",
        "difficulty": "hard",
    }
    for n in range(4)
]


def _table(path: Path, rows: Sequence[dict[str, Any]], delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def _load(path: Path, **columns: Any) -> Benchmark:
    return load_benchmark(f"table:{path}", table=TableMap(**columns))


def test_every_format_with_usual_names_is_the_same_benchmark(tmp_path: Path) -> None:
    flat = [{**row, "choices": json.dumps(row["choices"])} for row in USUAL]
    (tmp_path / "t.parquet").write_bytes(parquet(USUAL))
    paths = [
        write_json(tmp_path / "t.json", USUAL),
        write_json(tmp_path / "t.jsonl", USUAL),
        _table(tmp_path / "t.csv", flat),
        _table(tmp_path / "t.tsv", [{**row, "choices": "['dog', 'cat', 'bell']"} for row in flat], "\t"),
        tmp_path / "t.parquet",
    ]
    found = [_load(path) for path in paths]
    assert {benchmark.digest for benchmark in found} == {found[0].digest}
    first = found[0]
    assert (first.name, first.version, first.notes) == ("table:t", first.digest[:12], ())
    assert [gold.task for gold in first.golds] == ["sound", "sound+speech"] * 2
    assert first.golds[0].sub_category == "Counting"
    assert first.questions[0].audio.path == str(tmp_path / "clips" / "t0.wav")
    assert load_benchmark("table", paths[0]).digest == first.digest


ODD = [
    {"frage": f"Was {n}?", "opt1": "Hund", "opt2": "Katze", "opt3": "", "lösung": "AB"[n % 2], "art": "umwelt",
     "datei": f"{n}.wav", "nr": n, "stufe": "easy"}
    for n in range(3)
]  # fmt: skip
MAP: dict[str, Any] = {
    "question": "frage",
    "choices": ("opt1", "opt2", "opt3"),
    "answer": "lösung",
    "answer_form": "letter",
    "task": "art",
    "tasks": {"umwelt": "sound"},
    "audio": "datei",
    "id": "nr",
    "difficulty": "stufe",
    "name": "quiz",
}


def test_any_names_through_a_map(tmp_path: Path) -> None:
    path = _table(tmp_path / "odd.csv", ODD)
    benchmark = _load(path, **MAP)
    assert benchmark.name == "quiz"
    assert [gold.answer for gold in benchmark.golds] == ["Hund", "Katze", "Hund"]
    assert [gold.choices for gold in benchmark.golds] == [("Hund", "Katze")] * 3
    assert [gold.id for gold in benchmark.golds] == ["0", "1", "2"]
    assert {gold.task for gold in benchmark.golds} == {"sound"}
    recipe = tmp_path / "mine.toml"
    lines = "\n".join(
        f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in MAP.items() if key != "tasks"
    )
    recipe.write_text(f'[bench]\nbenchmark = "table:{path}"\n[bench.table]\n{lines}\ntasks = {{ umwelt = "sound" }}\n')
    bench = load_tables(recipe, {"bench": Bench})["bench"]
    again = load_benchmark(bench.benchmark, bench.questions, bench.audio, **bench.benchmark_options())
    assert again == benchmark
    assert Bench().benchmark_options().keys() == {"scenes", "scenes_seed"}
    with pytest.raises(RecipeError, match=r"bench\.table\.tasks"):
        load_tables(recipe, {"bench": Bench}, ['bench.table.tasks={a="smell"}'])


@pytest.mark.parametrize(
    ("answers", "form", "golds"),
    [
        (("A", "(b)", "c."), None, ("dog", "cat", "bell")),
        ((0, 1, 2), None, ("dog", "cat", "bell")),
        ((1, 2, 3), None, ("dog", "cat", "bell")),
        ((1, 2, 1), "index0", ("cat", "bell", "cat")),
        ((1, 2, 1), "index1", ("dog", "cat", "dog")),
        (("dog", "DOG", "cat"), "text", ("dog", "DOG", "cat")),
    ],
)
def test_the_form_of_the_golds(tmp_path: Path, answers: tuple[Any, ...], form: Any, golds: tuple[str, ...]) -> None:
    rows = [{**row, "answer": answer} for row, answer in zip(USUAL, answers, strict=False)]
    benchmark = _load(write_json(tmp_path / "t.json", rows), answer_form=form)
    assert tuple(gold.answer for gold in benchmark.golds) == golds
    assert any("not among their choices" in note for note in benchmark.notes) is ("DOG" in golds)


def test_letters_numbers_and_separators_among_the_options(tmp_path: Path) -> None:
    numbers = [{**USUAL[0], "choices": ["1", "2"], "answer": "2"}]
    assert _load(write_json(tmp_path / "n.json", numbers)).golds[0].answer == "2"  # an option's text comes first
    lettered = [{**USUAL[0], "choices": "A. dog|B. cat", "answer": "B. cat"}]
    path = write_json(tmp_path / "l.json", lettered)
    stripped = _load(path, separator="|", strip_letters=True).golds[0]
    assert (stripped.choices, stripped.answer) == (("dog", "cat"), "cat")
    columns = [{"question": "What?", "choice_a": "x", "choice_b": "y", "answer_gt": "y", "audio": "a.wav"}]
    assert _load(write_json(tmp_path / "c.json", columns), task_is="speech").golds[0].choices == ("x", "y")


def test_ids_that_are_not_unique_are_not_ids(tmp_path: Path) -> None:
    rows = [{key: value for key, value in row.items() if key != "id"} | {"audio_id": "same"} for row in USUAL]
    assert [gold.id for gold in _load(write_json(tmp_path / "t.json", rows)).golds] == ["0", "1", "2", "3"]
    with pytest.raises(BenchmarkError, match="id 'same' twice"):
        _load(tmp_path / "t.json", id="audio_id")
    with pytest.raises(BenchmarkError, match="id 't0' twice"):
        _load(write_json(tmp_path / "t.json", [USUAL[0], USUAL[0]]))
    with pytest.raises(BenchmarkError, match="column 'id': expected the row's id, found an empty cell"):
        _load(write_json(tmp_path / "t.json", [USUAL[0], {**USUAL[1], "id": ""}]))


def test_a_table_without_answers_can_be_asked(tmp_path: Path) -> None:
    rows = [{key: value for key, value in row.items() if key != "answer"} for row in USUAL]
    benchmark = _load(write_json(tmp_path / "t.json", rows))
    assert {gold.answer for gold in benchmark.golds} == {None}
    assert "the answers of 4 of 4 questions are withheld" in benchmark.notes[0]


def test_embedded_audio_with_a_name_is_taken_out(tmp_path: Path) -> None:
    rows = [{**row, "audio_path": {"bytes": clip(n), "path": f"t{n}.wav"}} for n, row in enumerate(USUAL)]
    (tmp_path / "t.parquet").write_bytes(parquet(rows))
    benchmark = _load(tmp_path / "t.parquet")
    assert [Path(str(q.audio.path)).read_bytes() for q in benchmark.questions] == [clip(n) for n in range(4)]
    assert [gold.audio for gold in benchmark.golds] == [f"t{n}.wav" for n in range(4)]
    assert load_benchmark(f"table:{tmp_path / 't.parquet'}", audio=False).golds == benchmark.golds


@pytest.mark.parametrize(
    ("changes", "columns", "message"),
    [
        ({"choices": "dog"}, {}, r"t\.json: row 1 \(line 2\), column 'choices': options cannot be read"),
        ({"choices": ["dog"]}, {"answer_form": "text"}, "column 'choices': expected two options or more, found"),
        ({"answer": None}, {}, r"row 1 \(line 2\), column 'answer': expected the right answer, found an empty cell"),
        ({"answer": "horse"}, {}, "fit no one form .*: say which with bench.table.answer_form"),
        ({"answer": "Z"}, {"answer_form": "letter"}, "column 'answer': gold is n"),
        ({"question": " "}, {}, r"row 1 \(line 2\), column 'question': expected the question"),
        ({"task": "smell"}, {}, r"column 'task': expected sound, music, speech or a mix, found 'smell'"),
        ({"difficulty": "brutal"}, {}, "column 'difficulty': expected one of easy, medium, hard"),
        ({"category": {"a": 1}}, {}, "column 'category': cell is no text"),
        ({}, {"question": "Frage"}, "expected the column 'Frage' of bench.table.question, found"),
        ({}, {"choices": ("a", "b")}, r"expected the columns \['a', 'b'\] of bench.table.choices"),
        ({}, {"strip_letters": True}, "column 'choices': options have no letters to strip"),
    ],
)
def test_what_does_not_fit_names_row_and_column(
    tmp_path: Path, changes: dict[str, Any], columns: dict[str, Any], message: str
) -> None:
    rows = [USUAL[0], {**USUAL[1], **changes}, *USUAL[2:]]
    path = tmp_path / "t.json"
    path.write_text("[" + ",\n".join(map(json.dumps, rows)) + "]", encoding="utf-8")
    with pytest.raises(BenchmarkError, match=message):
        _load(path, **columns)


def test_golds_that_could_be_two_things_are_asked_about(tmp_path: Path) -> None:
    rows = [{**row, "answer": 1 + n % 2} for n, row in enumerate(USUAL)]
    with pytest.raises(BenchmarkError, match=r"found such as fit index0 and index1: say which"):
        _load(write_json(tmp_path / "t.json", rows))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"frage": "x", "choices": ["a", "b"]}], "expected a column with the question .*bench.table.question"),
        ([{"question": "x"}], "expected a column with the options .*bench.table.choices"),
        ([{"question": "x", "choices": ["a", "b"], "task": "sound"}], "expected a column with the audio"),
        ([{"question": "x", "choices": ["a", "b"], "audio": "a.wav"}], "say it of all rows with bench.table.task_is"),
    ],
)
def test_columns_that_are_not_there_are_asked_for(tmp_path: Path, rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(BenchmarkError, match=message):
        _load(write_json(tmp_path / "t.json", rows))


def test_tables_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="found nothing there"):
        load_benchmark(f"table:{tmp_path / 'no.csv'}")
    (tmp_path / "t.xlsx").write_bytes(b"x")
    (tmp_path / "t.json").write_text('[{"question": ', encoding="utf-8")
    (tmp_path / "t.csv").write_text("question,A\nx,y,z\n", encoding="utf-8")
    for name, message in (("t.xlsx", "expected files of"), ("t.json", "JSON array"), ("t.csv", "expected 2 fields")):
        with pytest.raises(BenchmarkError, match=message):
            load_benchmark(f"table:{tmp_path / name}")
    with pytest.raises(InputError, match="needs a table"):
        load_benchmark("table")
    with pytest.raises(InputError, match="name the table once"):
        load_benchmark("table:a.csv", tmp_path / "t.csv")
    with pytest.raises(InputError, match="takes the option 'table'"):
        load_benchmark("table", tmp_path / "t.csv", colour="red")
