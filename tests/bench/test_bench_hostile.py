"""Texts that would steer a terminal, a spreadsheet or Markdown; damaged run folders; files that would be lost."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from bench_toys import make_questions, right

from sari_bench import cli
from sari_bench.benchmarks.base import Benchmark
from sari_bench.csvfiles import csv_text
from sari_bench.jsonfiles import read_objects
from sari_bench.pages.table import leaderboard
from sari_bench.published import PublishedRow
from sari_bench.reporting.leaderboard import make_boards
from sari_bench.reporting.report import to_markdown
from sari_bench.running.runs import Run
from sari_bench.scorers.verdicts import VerdictStore
from sari_bench.shortcuts.variants import rotate
from sari_data.errors import BenchmarkError
from sari_data.types import AudioQuestion

EVIL = "\x1b]0;pwned\x07\x9b2J\ud83d\x00"
ENDED = (0, 1, 2)

Ended = tuple[int, str, str]


@pytest.fixture
def command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Ended]:
    """Run ``sari-bench`` in an empty folder: exit code, output and notes, in which nothing may steer a terminal."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Ended:
        monkeypatch.setattr("sys.argv", ["sari-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert all(sign in "\n\t" or not _steers(sign) for sign in out + err)
        return int(ended.value.code or 0), out, err

    return call


def _steers(sign: str) -> bool:
    return ord(sign) < 0x20 or 0x7F <= ord(sign) < 0xA0 or 0xD800 <= ord(sign) < 0xE000


@pytest.fixture
def evil_run(run_of: Callable[..., Run], benchmark_of: Callable[[int], Benchmark]) -> Run:
    """A run whose answers and model's name hold what a terminal obeys; the last answer is right."""
    return run_of(
        benchmark_of(4), lambda q: right(q) if q.id == "q003" else f"{EVIL}<answer>{EVIL}</answer>", EVIL[:-2]
    )


def test_no_text_steers_the_terminal(command: Callable[..., Ended], evil_run: Run) -> None:
    folder = evil_run.folder.rename(evil_run.folder.with_name("plain"))
    scorers = ("--scorer", "answer", "--scorer", "letter")
    files = ("--csv", "r.csv", "--html", "r.html", "--markdown", "r.md", "--disagreements", "d.jsonl")
    for arguments in (
        ("score", "--run", folder, "--all-scorers"),
        ("score", "--run", folder, "--all-scorers", "--disagreements", "-"),
        ("report", folder, *scorers, *files),
        ("report", folder, "--leaderboard", *scorers, "--json"),
        ("compare", folder, folder, "--transcript"),
        ("submit", folder, "--raw", "--out", "s.json"),
        ("diagnose", folder, "--json"),
    ):
        code, out, err = command(*arguments)
        assert code in ENDED[:2], err
        assert "--json" not in arguments or isinstance(json.loads(out), dict)
    said = f"{EVIL}<answer>{EVIL}</answer>"
    assert json.loads(Path("s.json").read_text())[0]["model_prediction"] == said
    assert EVIL[:-2] in Path("r.csv").read_text()


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "deep response": ("responses.jsonl", lambda body: body + b"[" * 100_000 + b"\n", "line 5: not valid JSON"),
    "negative sample": (
        "responses.jsonl",
        lambda body: body.replace(b'"sample": 0', b'"sample": -1', 1),
        "line 1: its values have the wrong types",
    ),
    "deep meta": ("run.json", lambda body: b"[" * 100_000, "run.json is not valid JSON"),
    "path is a number": ("run.json", lambda body: body.replace(b'"path": ""', b'"path": 3'), "lacks keys"),
    "note is a number": ("run.json", lambda body: body.replace(b'"notes": []', b'"notes": [3]'), "lacks keys"),
    "recipe of another time": ("recipe.json", lambda body: b'{"bench": {"zzz": 1}}', "do not fit: zzz"),
    "deep shortcuts": ("shortcuts/shortcuts.json", lambda body: b"[" * 100_000, "delete it and run that command"),
    "deep captions": ("swapped/swapped.json", lambda body: b"[" * 100_000, "delete it and run that command"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_run_folder_is_one_sentence(
    name: str, command: Callable[..., Ended], run_of: Callable[..., Run], benchmark_of: Callable[[int], Benchmark]
) -> None:
    file, damage, says = DAMAGE[name]
    folder = run_of(benchmark_of(4), right).folder
    path = folder / file
    path.parent.mkdir(exist_ok=True)
    before = path.read_bytes() if path.is_file() else b""
    after = damage(before)
    assert after != before
    path.write_bytes(after)
    code, out, err = command(*(("shortcuts", folder) if "recipe" in name else ("report", folder, "--html", "r.html")))
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("error:") == 1
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("submit", "--predictions", "p.json", "--questions", "q.json", "--out", "q.json"), "is the file that is read"),
        (("score", "--predictions", "p.jsonl", "--disagreements", "p.jsonl"), "is the file that is read"),
        (("run", "--name", "a\0b"), "signs that can be printed"),
        (("run", "--name", "a\nb"), "signs that can be printed"),
        (("run", "--set", "bench.table.name=../up"), "no slash"),
        (("compare", "p.json", "p.json", "--seed", "-1"), "--seed"),
        (("shortcuts", "RUN", "--scorer", "nope"), "scorer 'nope' is unknown"),
        (("diagnose", "RUN", "--swap-captions", "--scorer", "nope"), "scorer 'nope' is unknown"),
        (("report", "--by", "x" * 9000), "expected task, category"),
    ],
)
def test_wrong_usage_asks_nobody_and_loses_nothing(
    arguments: tuple[str, ...],
    says: str,
    command: Callable[..., Ended],
    run_of: Callable[..., Run],
    benchmark_of: Callable[[int], Benchmark],
) -> None:
    folder = run_of(benchmark_of(2), right).folder if "RUN" in arguments else Path()
    for name in ("p.json", "p.jsonl", "q.json"):
        Path(name).write_text("[]")
    code, out, err = command(*(folder if one == "RUN" else one for one in arguments))
    assert (code, out) == (2, "")
    assert says in " ".join(err.split())
    assert len(err) < 5000
    assert {Path(name).read_text() for name in ("p.json", "p.jsonl", "q.json")} == {"[]"}


def test_csv_cells_are_no_formulas() -> None:
    cells = ["=1+1", "+cmd|x", "-2+3", "@SUM(1)", "\tx", "-5", "+0.5", "plain", 'a"b,c\nd']
    rows = list(csv.reader(io.StringIO(csv_text(["=name", "n"], [{"=name": cell, "n": -1.5} for cell in cells]))))
    assert rows[0] == ["'=name", "n"]
    shown = [f"'{cell}" for cell in cells[:5]] + cells[5:]
    assert rows[1:] == [[cell, "-1.5"] for cell in shown]


def test_markdown_cells_end_where_they_end() -> None:
    line = to_markdown("t", ["model"], [["a\\|b [x](http://evil) ![y](z) \x1b<b>\r\nc"]]).splitlines()[4]
    assert line == "| a\\\\\\|b [x]\\(http://evil) ![y]\\(z) ␛&lt;b&gt;␍ c |"


def test_json_lines_may_hold_other_line_ends(tmp_path: Path) -> None:
    rows = [{"id": f"q{number}", "text": f"a{end}b"} for number, end in enumerate("\u2028\u2029\x85\x0b\x0c\x1c")]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows), newline="")
    assert read_objects(path, "rows") == rows


def test_a_published_row_without_an_average_stands_last(
    run_of: Callable[..., Run], benchmark_of: Callable[[int], Benchmark]
) -> None:
    run = run_of(benchmark_of(4), lambda question: "no idea")
    version = run.benchmark.version
    extra = [
        PublishedRow(name, "", "toy", version, "", {"sound": 1.0}, mean, "s")
        for name, mean in (("no", None), ("low", 0.0))
    ]
    (board,) = make_boards([run], extra=extra)
    found = leaderboard(board)
    assert [row["name"] for row in found["rows"]] == ["model@direct", "low", "no"]
    column = [one["key"] for one in found["columns"]].index("average")
    assert found["rows"][-1]["cells"][column]["text"] == "–"


def test_an_id_that_a_rotation_has_is_refused() -> None:
    from sari_bench.benchmarks.base import from_questions

    first, second = make_questions(2)
    clash: list[AudioQuestion] = [first, second.replace(id=f"{first.id}#r2")]
    with pytest.raises(BenchmarkError, match="could not be told apart"):
        rotate(from_questions("toy", clash))


@pytest.mark.parametrize(
    ("old", "new"),
    [('"choice": 1', '"choice": true'), ('"only": "all"', '"only": 3'), ('"sample": 0', '"sample": null')],
)
def test_a_verdict_of_wrong_types_is_none(old: str, new: str, tmp_path: Path) -> None:
    row = {
        "key": "k",
        "judge": "j",
        "template": "t",
        "id": "q",
        "sample": 0,
        "only": "all",
        "kind": "option",
        "choice": 1,
    }
    line = json.dumps({**row, "texts": ["B"]}) + "\n"
    (tmp_path / "j.jsonl").write_text(line)
    assert VerdictStore(tmp_path, "j").get("k") is not None
    (tmp_path / "j.jsonl").write_text(line.replace(old, new))
    with pytest.raises(BenchmarkError, match="line 1: not a stored verdict"):
        VerdictStore(tmp_path, "j")
