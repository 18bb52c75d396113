"""The command ``sari-bench``: run, score, report, compare, list.

Heavy imports are made inside the commands, so that ``--help`` is quick and works without torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sari_data.console import note, out, run_app
from sari_data.errors import InputError, MissingFileError, StorageError

if TYPE_CHECKING:
    from sari_bench.config import Bench
    from sari_bench.leaderboard import Board
    from sari_bench.runs import Run
    from sari_bench.scoring import Score

app = typer.Typer(
    name="sari-bench",
    help="Measure audio-language models: run benchmarks, score answers, report and compare.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Recipe = Annotated[str | None, typer.Argument(help="Recipe: a TOML file, or the name of one that ships with sari.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Override a recipe key: bench.limit=50. Repeatable.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Scorer = Annotated[str, typer.Option("--scorer", help="answer (sari's grader) or official (MMAU's token matching).")]


@app.command()
def run(
    recipe: Recipe = None,
    model: Annotated[str | None, typer.Option(help="Checkpoint folder, or tiny: the embedded base model.")] = None,
    benchmark: Annotated[
        str | None, typer.Option(help="A benchmark from 'sari-bench list', or corpus:PATH#SPLIT.")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="Response mode: direct, unstructured, structured or your own.")
    ] = None,
    responder: Annotated[str | None, typer.Option(help="Who answers: local, scripted or a plugin's name.")] = None,
    responder_option: Annotated[
        list[str] | None, typer.Option(help="Option of the responder: path=answers.jsonl. Repeatable.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The run's name; default: the model's name @ the mode.")] = None,
    out_folder: Annotated[Path, typer.Option("--out", help="Where run folders go.")] = Path("runs"),
    questions: Annotated[Path | None, typer.Option(help="The benchmark's published question file.")] = None,
    audio: Annotated[Path | None, typer.Option(help="Folder with the benchmark's audio.")] = None,
    limit: Annotated[int | None, typer.Option(help="Ask only so many questions, the same for every model.")] = None,
    samples: Annotated[int | None, typer.Option(help="Answers to each question.")] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Longest response, in tokens.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature; 0 is greedy.")] = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Put a benchmark to a model and keep its raw answers; a run that was stopped goes on."""
    from sari_bench.measure import load_for, measure, run_folder

    given = {
        "model": model,
        "benchmark": benchmark,
        "mode": mode,
        "responder": responder,
        "questions": questions,
        "audio": audio,
        "limit": limit,
        "samples": samples,
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
    }
    bench = _bench(recipe, overrides, given)
    asked = load_for(bench)
    label = bench.model if bench.responder in ("local", "server") or model is not None else bench.responder
    folder = run_folder(out_folder, asked.name, label, bench.mode, name)
    done = measure(bench, asked, folder, dict(_pair(option) for option in responder_option or []))
    result = done.score()
    if as_json:
        _print_json({"folder": str(folder), **result.to_json()})
    else:
        _print_score(result, f"{done.name} on {asked.name} ({asked.version})")
        note(f"raw answers: {folder}/responses.jsonl")


@app.command()
def score(
    benchmark: Annotated[str, typer.Option(help="Which benchmark the predictions answer.")] = "mmau-test-mini",
    questions: Annotated[Path | None, typer.Option(help="The benchmark's published question file.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="JSON list or JSONL of id with model_prediction or model_output.")
    ] = None,
    run_path: Annotated[Path | None, typer.Option("--run", help="Score a run folder instead of a file.")] = None,
    scorer: Annotated[list[str] | None, typer.Option(help="answer (default) or official. Repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """Score predictions made elsewhere, or a run folder, per task, category, sub-category and difficulty."""
    from sari_bench.runs import read_run

    if (predictions is None) == (run_path is None):
        raise InputError("score needs one thing to score: give either --predictions FILE or --run FOLDER")
    names = list(dict.fromkeys(scorer or ["answer"]))
    if run_path is not None:
        if questions is not None:
            raise InputError("a run folder holds its questions: leave --questions out with --run")
        found = read_run(run_path)
        scores = {one: found.score(one) for one in names}
    else:
        assert predictions is not None
        scores = _score_predictions(benchmark, questions, predictions, names)
    if as_json:
        bodies = {one: result.to_json() for one, result in scores.items()}
        _print_json(bodies[names[0]] if len(names) == 1 else bodies)
        return
    for one, result in scores.items():
        _print_score(result, f"{result.benchmark} ({result.version}), scorer {one}")


@app.command()
def report(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Run folders, or folders that hold them; default: runs/.")
    ] = None,
    leaderboard: Annotated[bool, typer.Option("--leaderboard", help="Rank the runs in one table a benchmark.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write everything as one HTML page.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write the tables as Markdown.")] = None,
    transcripts: Annotated[int, typer.Option(min=0, help="Questions with transcripts on the HTML page.")] = 300,
    scorer: Scorer = "answer",
    recipe: Annotated[str | None, typer.Option(help="Recipe for what is measured where there are no runs.")] = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Report runs: a leaderboard, or every figure of each run; as tables, JSON, HTML or Markdown.

    With --leaderboard in a folder without runs/, the embedded base model and the checkpoints in
    ./checkpoints are measured on the held-out scenes first.
    """
    from sari_bench.leaderboard import make_boards
    from sari_bench.measure import stale_notes
    from sari_bench.report import boards_json, boards_markdown

    found = _find_or_measure(runs or [], leaderboard, recipe, overrides)
    for sentence in stale_notes(found):
        note(f"note: {sentence}")
    boards = make_boards(found, scorer)
    if html is not None:
        from sari_bench.pages import render_page

        _write(html, render_page(boards, questions_shown=transcripts))
    if markdown is not None:
        _write(markdown, boards_markdown(boards, leaderboard))
    if as_json:
        _print_json(boards_json(boards, leaderboard))
    else:
        _print_boards(boards, leaderboard)


@app.command()
def compare(
    run_a: Annotated[Path, typer.Argument(help="Run folder of the model before.")],
    run_b: Annotated[Path, typer.Argument(help="Run folder of the model after.")],
    transcript: Annotated[
        bool, typer.Option("--transcript", help="Show a question wrong before and right after.")
    ] = False,
    scorer: Scorer = "answer",
    as_json: Json = False,
) -> None:
    """Say whether run B beats run A, by how many points, with a paired 95 % interval."""
    from sari_bench.compare import compare as compare_runs
    from sari_bench.report import comparison_rows, to_table, transcript_view
    from sari_bench.runs import read_run

    result = compare_runs(read_run(run_a), read_run(run_b), scorer)
    if as_json:
        _print_json(result.to_json())
        return
    out.print(result.sentence, markup=False, highlight=False, soft_wrap=True)
    header, rows = comparison_rows(result)
    _print_table(to_table(f"{result.b} minus {result.a}, in points", header, rows))
    if transcript:
        if result.transcript is None:
            note(f"no question is wrong in {result.a} and right in {result.b}: there is no transcript to show")
        else:
            out.print(transcript_view(result.transcript, result.a, result.b))


@app.command("list")
def list_benchmarks(as_json: Json = False) -> None:
    """List the benchmarks: versions, licence and how to get them."""
    from sari_bench.benchmarks import benchmark_module, benchmark_names, corpus

    entries: list[dict[str, Any]] = []
    for name in benchmark_names():
        module = benchmark_module(name)
        revisions = sorted(getattr(module, "REVISIONS", {}).values())
        entries.append(
            {
                "name": name,
                "summary": module.SUMMARY,
                "versions": revisions or ["by content hash"],
                "licence": module.LICENCE,
                "how_to_get": module.HOW_TO_GET,
            }
        )
    entries.append(
        {
            "name": f"{corpus.PREFIX}PATH#SPLIT",
            "summary": corpus.SUMMARY,
            "versions": ["by content hash"],
            "licence": corpus.LICENCE,
            "how_to_get": corpus.HOW_TO_GET,
        }
    )
    if as_json:
        _print_json({"benchmarks": entries})
        return
    for entry in entries:
        lines = [
            entry["name"],
            f"  {entry['summary']}",
            f"  versions:   {', '.join(entry['versions'])}",
            f"  licence:    {entry['licence']}",
            f"  how to get: {entry['how_to_get']}",
        ]
        out.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _bench(recipe: str | None, overrides: list[str] | None, given: dict[str, Any]) -> Bench:
    """The [bench] table with the command's own options on top; an option is an override like any other."""
    from sari_bench.config import Bench
    from sari_data.config import load_tables

    options = [
        f"bench.{key}={json.dumps(str(v) if isinstance(v, Path) else v, ensure_ascii=False)}"
        for key, v in given.items()
        if v is not None
    ]
    table: Bench = load_tables(recipe, {"bench": Bench}, [*(overrides or []), *options])["bench"]
    return table


def _pair(option: str) -> tuple[str, str]:
    key, separator, value = option.partition("=")
    if not separator or not key:
        raise InputError(f"--responder-option {option}: expected key=value, for instance path=answers.jsonl")
    return key, value


def _score_predictions(benchmark: str, questions: Path | None, predictions: Path, names: list[str]) -> dict[str, Score]:
    from sari_bench.benchmarks import load_benchmark
    from sari_bench.predictions import read_predictions
    from sari_bench.scoring import Answer
    from sari_bench.scoring import score as score_answers

    answers = {
        identifier: [Answer(identifier, text, raw=False)] for identifier, text in read_predictions(predictions).items()
    }
    golds = load_benchmark(benchmark, questions)
    return {one: score_answers(golds, answers, one) for one in names}


def _find_or_measure(
    paths: list[Path], leaderboard: bool, recipe: str | None, overrides: list[str] | None
) -> list[Run]:
    from sari_bench.measure import MEASURING, RUNS, measure_defaults
    from sari_bench.runs import META, find_runs

    if paths:
        return find_runs(paths)
    interrupted = leaderboard and (RUNS / MEASURING).is_file()
    if not interrupted and RUNS.is_dir() and next(RUNS.rglob(META), None) is not None:
        note("reporting what is in ./runs")
        return find_runs([RUNS])
    if not leaderboard:
        raise MissingFileError(
            "there is no run in ./runs to report: make one with 'sari-bench run', or let "
            "'sari-bench report --leaderboard' measure what is there"
        )
    if interrupted:
        note("the measuring for this leaderboard was stopped before its end; it goes on")
    else:
        note("there is no run in ./runs, so what is here is measured first")
    return measure_defaults(_bench(recipe, overrides, {}), RUNS)


def _print_boards(boards: list[Board], leaderboard: bool) -> None:
    from sari_bench.compare import compare as compare_runs
    from sari_bench.report import board_rows, to_table

    for board in boards:
        if leaderboard:
            header, rows = board_rows(board)
            _print_table(to_table(f"{board.title}, scorer {board.scorer}", header, rows))
            if len(board.entries) > 1:
                gain = compare_runs(board.entries[-1].run, board.entries[0].run, board.scorer)
                out.print(gain.sentence, markup=False, highlight=False, soft_wrap=True)
            for sentence in board.notes:
                note(f"note: {sentence}")
        else:
            for entry in board.entries:
                _print_score(entry.score, f"{entry.run.name} on {board.title}, scorer {board.scorer}")


def _print_score(result: Score, title: str) -> None:
    from sari_bench.report import outcome_line, score_rows, to_table

    header, rows = score_rows(result)
    _print_table(to_table(title, header, rows))
    out.print(outcome_line(result), markup=False, highlight=False, soft_wrap=True)
    for sentence in result.notes:
        note(f"note: {sentence}")


def _print_table(table: Any) -> None:
    """Print a table whole: into a pipe, where the width is unknown, it is as wide as it needs to be."""
    from rich.console import Console

    (out if out.is_terminal else Console(width=160)).print(table)


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{str(path)!r} could not be written ({error.strerror}): choose another path") from error
    note(f"wrote {path}")


def _print_json(body: dict[str, Any]) -> None:
    typer.echo(json.dumps(body, indent=2, ensure_ascii=False))


def main() -> None:
    """Run the command."""
    run_app(app)
