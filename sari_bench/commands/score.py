"""``sari-bench score``: score predictions made elsewhere, or a run folder, by any number of scorers and revisions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sari_bench.commands.arguments import JsonOption, responder_options
from sari_bench.commands.output import check_files
from sari_bench.counting import counted
from sari_data.console import note, progress
from sari_data.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sari_bench.benchmarks.base import Benchmark
    from sari_bench.scorers.base import Answer, Said, Scorer
    from sari_bench.scoring import BenchmarkGolds, Score


def score(
    given: Annotated[
        Path | None, typer.Argument(metavar="FILE|RUN", help="A file of predictions, or a run folder.")
    ] = None,
    benchmark: Annotated[str, typer.Option(help="Which benchmark the predictions answer.")] = "mmau-test-mini",
    questions: Annotated[
        list[Path] | None,
        typer.Option(
            help="Its question file, a folder, hub:owner/name; default: from the Hub. Repeatable: one a revision."
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="The same as FILE: JSON list or JSONL of id with model_prediction, model_output or answer_prediction."
        ),
    ] = None,
    run_path: Annotated[Path | None, typer.Option("--run", help="The same as RUN.")] = None,
    scorer: Annotated[
        list[str] | None, typer.Option(help="answer (default), official, letter or judge. Repeatable.")
    ] = None,
    all_scorers: Annotated[
        bool, typer.Option("--all-scorers", help="Every built-in scorer; judge where it has verdicts or a --judge.")
    ] = False,
    judge: Annotated[
        str | None,
        typer.Option(help="Responder that judges: local, server or a plugin; it never sees the right answers."),
    ] = None,
    judge_option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Option of the judge: model=NAME, base_url=URL. Repeatable."),
    ] = None,
    judge_only: Annotated[
        str | None, typer.Option(help="all: judge every response (default); unread: only what 'answer' cannot read.")
    ] = None,
    judge_store: Annotated[
        Path | None, typer.Option(help="Folder of stored verdicts; default: in the run folder, or beside the file.")
    ] = None,
    judge_name: Annotated[
        str | None, typer.Option(help="Which judge's stored verdicts, where there are several.")
    ] = None,
    disagreements: Annotated[
        str | None, typer.Option(help="Write every answer on which scorers differ: FILE.csv, FILE.jsonl or -.")
    ] = None,
    changes: Annotated[
        str | None, typer.Option(help="Write every question whose verdict differs between revisions, likewise.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score predictions made elsewhere, or a run folder, per task, category, sub-category and difficulty."""
    from sari_bench.commands import score_output as output

    if sum(path is not None for path in (given, predictions, run_path)) != 1:
        raise InputError("score needs one thing to score: give a file of predictions or a run folder, once")
    if given is not None:
        predictions, run_path = (None, given) if given.is_dir() else (given, None)
    if run_path is not None and questions:
        from sari_bench.running.runs import check_run_folder

        check_run_folder(run_path)
        raise InputError(f"run folder {str(run_path)!r} holds its questions: leave --questions out")
    for option, path in (("--disagreements", disagreements), ("--changes", changes)):
        if path is not None:
            output.check_path(option, path, as_json, (predictions, *(questions or ())))
    written = {"--disagreements": disagreements, "--changes": changes}
    check_files({option: Path(path) for option, path in written.items() if path not in (None, "-")})
    if judge_only not in (None, "all", "unread"):
        raise InputError(f"--judge-only must be all or unread; found {judge_only!r}")
    if changes is not None and len(questions or ()) < 2:
        raise InputError("--changes compares revisions: give --questions twice or more")
    versions, answers, samples = _load(benchmark, questions or [], predictions, run_path)
    beside = predictions.with_suffix(".judge") if predictions is not None else (run_path or Path()) / "judge"
    judging = _Judging(judge, judge_option or [], judge_only, judge_store or beside, judge_name)  # type: ignore[arg-type]
    names = _names(scorer, all_scorers, judging)
    if disagreements is not None and len(names) < 2:
        raise InputError("--disagreements compares scorers: give two or more --scorer, or --all-scorers")
    scores = {one.version: _score(one, answers, samples, names, judging) for one in versions}
    if len(scores) < len(versions):
        raise InputError(f"two of the {len(versions)} --questions files hold the same revision: give each once")
    output.report(scores, disagreements=disagreements, changes=changes, as_json=as_json)


class _Judging:
    """Who judges, what, and where the verdicts are; the responder is made when it is first needed."""

    def __init__(
        self,
        responder: str | None,
        options: list[str],
        only: Literal["all", "unread"] | None,
        store: Path,
        name: str | None,
    ) -> None:
        self.responder, self.options, self.only, self.store, self.name = responder, options, only, store, name
        self._made: Any = None

    @property
    def possible(self) -> bool:
        """Whether there is a judge, or what one said."""
        return self.responder is not None or any(self.store.glob("*.jsonl"))

    def scorer(self, said: Sequence[Said]) -> Scorer:
        """Return the scorer, after what is not stored was asked."""
        from sari_bench.scorers.judge import ask_judge, stored_judge

        if self.responder is None:
            return stored_judge(self.store, self.name, self.only)
        from sari_data.metering import Meter

        responder = self._responder()
        with Meter(responder) as meter, progress("judging") as advance:
            scorer, asked = ask_judge(said, responder, self.store, self.only or "all", advance)
        used = f" ({meter})" if str(meter) else ""
        now = counted(asked.asked, "verdict")
        note(f"{responder.name}: {now} asked for{used}, {asked.stored:,} were there already")
        return scorer

    def _responder(self) -> Any:
        from sari_data.responder import load_responder

        if self._made is None:
            assert self.responder is not None
            given = responder_options(self.options, "--judge-option")
            try:
                self._made = load_responder(self.responder, **given)
            except TypeError as error:
                raise InputError(
                    f"judge {self.responder!r} could not be made with the options {sorted(given)} ({error}): "
                    "correct --judge-option"
                ) from error
        return self._made


def _names(scorer: list[str] | None, everyone: bool, judging: _Judging) -> list[str]:
    from sari_bench.scorers import JUDGE, SCORERS

    names = [*SCORERS] if everyone else []
    names += scorer or ([] if everyone or judging.responder is not None else ["answer"])
    if judging.responder is not None or (everyone and judging.possible):
        names.append(JUDGE)
    return list(dict.fromkeys(names))


def _load(
    benchmark: str, questions: Sequence[Path], predictions: Path | None, run_path: Path | None
) -> tuple[list[Benchmark | BenchmarkGolds], Mapping[str, Sequence[Answer]], int]:
    """Return what to score on (each revision), the answers by id, and how many each question was due."""
    if run_path is not None:
        from sari_bench.running.runs import read_run

        run = read_run(run_path)
        return [run.benchmark], run.answers, run.samples
    from sari_bench.benchmarks import load_benchmark
    from sari_bench.predictions import check_about, read_answers

    assert predictions is not None
    answers = read_answers(predictions)  # first, so that a mistyped path is told without asking the Hub
    revisions: list[Benchmark | BenchmarkGolds] = [
        load_benchmark(benchmark, path, audio=False)
        for path in questions or [None]  # type: ignore[list-item]
    ]
    check_about(predictions, answers, revisions)
    return revisions, answers, 1


def _score(
    benchmark: Benchmark | BenchmarkGolds,
    answers: Mapping[str, Sequence[Answer]],
    samples: int,
    names: Sequence[str],
    judging: _Judging,
) -> dict[str, Score]:
    from sari_bench.scorers import JUDGE, load_scorer
    from sari_bench.scoring import said_of, score_said, strays

    said = said_of(benchmark, answers, samples)
    scorers = [judging.scorer(said) if name == JUDGE else load_scorer(name) for name in names]
    return score_said(benchmark, said, scorers, strays(benchmark, answers))
