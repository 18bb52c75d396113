"""Wrong inputs, as people type them: one sentence says what was expected, what was found and what to do."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from bench_toys import make_questions, right
from published_files import mmau_row

from sari_bench.benchmarks.base import from_questions
from sari_bench.config import Bench
from sari_bench.pages.summary import _thinks
from sari_bench.reporting.leaderboard import make_boards
from sari_bench.running.measure import measure
from sari_bench.running.progress import State
from sari_bench.running.runs import Run
from sari_bench.statistics.adjust import chance_note
from sari_bench.thoughts.diagnostics import diagnose
from sari_data.responder import Response
from sari_data.responders.scripted import ScriptedResponder

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sari_bench(sari_bench: Command) -> Command:
    """Run the command in a folder with a run, questions, predictions, and much that is wrong."""
    benchmark = from_questions("toy", make_questions(4))
    said = {question.id: right(question) for question in benchmark.questions}
    model = ScriptedResponder(lambda request, sample: said[request.id], name="m")
    measure(Bench(mode="direct"), benchmark, Path("runs/toy/m"), responder=model)
    questions = [mmau_row(number) for number in range(4)]
    files = {
        "q.json": json.dumps(questions),
        "p.json": json.dumps([{"id": row["id"], "model_prediction": row["answer"]} for row in questions]),
        "other.json": json.dumps([{"id": "a1", "model_prediction": "dog"}, {"id": "a2", "model_prediction": "cat"}]),
        "none.json": "[]",
        "empty.json": "",
        "torn.json": '[{"id": ',
        "object.json": '{"id": 1}',
        "numbers.json": "[1, 2]",
        "twice.json": '[{"id": "m0000", "model_prediction": "x"}, {"id": "m0000", "model_prediction": "y"}]',
        "nameless.json": '[{"id": "m0000", "said": "x"}]',
        "header.csv": "question,choices,answer\n",
        "wrong.toml": '[bench]\nmodle = "tiny"\n',
    }
    for name, text in files.items():
        Path(name).write_text(text, encoding="utf-8")
    Path("folder").mkdir()
    Path("half").mkdir()
    Path("half/run.json").write_text("{}", encoding="utf-8")
    return sari_bench


WRONG = [
    ("run --benchmrk scenes", "No such option: --benchmrk"),
    ("run --benchmark mmau-mini --model tiny", "did you mean 'mmau-test-mini'"),
    ("run mmar --model tiny", "give --benchmark mmar"),
    ("run --benchmark mmar --model ./nosuch", "'./nosuch'"),
    ("run --benchmark mmar --model tiny --mode strucured", "expected one of ['direct', 'structured', 'unstructured']"),
    ("run --model tiny --limit 0", "bench.limit: input should be greater than or equal to 1, found 0"),
    ("run --benchmark mmar --model tiny --responder lokal", "'lokal' is not registered"),
    ("run --model tiny --responder-option size", "expected key=value"),
    ("run --model tiny --name a/b", "choose another --name"),
    ("run --model tiny --questions q.json", "leave --questions and --audio out"),
    ("run wrong.toml --model tiny", "did you mean mode?"),
    ("run nosuch.toml", "is neither a file nor one of those that ship with sari"),
    ("run --benchmark mmau-test-mini --model tiny --questions q.json --audio nosuch.zip", "does not exist"),
    ("run --benchmark mmau-test-mini --model tiny --questions q.json --audio q.json", "expected a folder or an arch"),
    ("run --benchmark mmau-test-mini --model tiny --questions folder", "found none: give --questions FILE"),
    ("run --benchmark mmar --model tiny --questions q.json", "expected MMAR's keys"),
    ("run --benchmark table:nosuch.csv --model tiny", "found nothing there"),
    ("run --benchmark table:header.csv --model tiny", "found an empty table"),
    ("run --benchmark corpus:folder#dev --model tiny", "found no manifest.json"),
    ("score", "needs one thing to score"),
    ("score nosuch.json", "'nosuch.json' does not exist"),
    ("score p.json --questions p.json", "expected MMAU's keys"),
    ("score p.json --questions q.json --scorer oficial", "expected one of ['answer', 'official', 'letter', 'judge']"),
    ("score none.json --questions q.json", "none.json: expected predictions, found an empty list"),
    ("score empty.json --questions q.json", "found an empty file"),
    ("score torn.json --questions q.json", "found text that is neither"),
    ("score object.json --questions q.json", "give each row the id of its question"),
    ("score numbers.json --questions q.json", "found a number at position 0"),
    ("score twice.json --questions q.json", "id 'm0000' stands twice"),
    ("score nameless.json --questions q.json", "rename the key"),
    ("score other.json --questions q.json", "found none in 2 predictions (the first is for 'a1')"),
    ("score folder --questions q.json", "'folder' is not a run folder: it has no run.json"),
    ("score runs/toy/m --questions q.json", "run folder 'runs/toy/m' holds its questions: leave --questions out"),
    ("score half", "'half' is not a run folder: it has no questions.jsonl; give a folder that"),
    ("score p.json --questions q.json --questions q.json", "hold the same revision: give each once"),
    ("score p.json --questions q.json --all-scorers --disagreements x.txt", "a name that ends in .csv or .jsonl"),
    ("compare runs/toy/m", "needs two run folders or prediction files"),
    ("compare runs/toy/m nosuch", "there is nothing of that name"),
    ("compare p.json other.json --questions q.json", "other.json: expected predictions for mmau-test-mini ("),
    ("compare runs/toy/m p.json", "p.json: expected predictions for toy ("),
    ("shortcuts p.json", "'p.json' is not a run folder: it is a file; give half"),
    ("shortcuts runs/toy/m --only noaudio", "choose among these"),
    ("diagnose p.json", "'p.json' is not a run folder: it is a file"),
    ("diagnose runs/toy/m --swap-captions", "there is nothing to swap"),
    ("submit", "needs one thing to submit"),
    ("submit runs/toy/m --sample 1", "--sample 1: expected one below 1"),
    ("submit runs/toy/m --out folder", "'folder' could not be written"),
    ("report p.json", "'p.json' is not a run folder: it is a file"),
    ("report folder", "'folder' holds no run"),
    ("report runs --by tsk", "--by tsk: expected task"),
    ("report runs --html folder", "'folder' could not be written"),
    ("report runs --published nosuch.toml", "do not exist"),
    ("report runs --published folder", "published rows file 'folder' is a folder"),
    ("report runs --dry-run", "belong to --push-to-hub"),
    ("report runs --push-to-hub a/b/c --dry-run", "expected a repository as owner/name, found 'a/b/c'"),
    ("report runs --push-to-hub a:b --dry-run", "expected a repository as owner/name, found 'a:b'"),
    ("lst", "Did you mean 'list'?"),
]


@pytest.mark.parametrize(("typed", "told"), WRONG, ids=[typed for typed, _ in WRONG])
def test_wrong_input_is_told_in_one_sentence(sari_bench: Command, typed: str, told: str) -> None:
    code, out, said = sari_bench(*shlex.split(typed))
    assert code == 2, said
    assert out == ""
    assert "Traceback" not in said
    assert told in said
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 or "Usage: " in said


def test_one_answer_in_common_is_enough_to_score(sari_bench: Command) -> None:
    rows = [{"id": "m0000", "model_prediction": "dog"}, {"id": "a1", "model_prediction": "cat"}]
    Path("some.json").write_text(json.dumps(rows), encoding="utf-8")
    code, _, said = sari_bench("score", "some.json", "--questions", "q.json")
    assert code == 0
    assert "1 prediction with an id that is not in the benchmark: not counted (a1)" in said
    code, out, said = sari_bench("compare", "p.json", "some.json", "--questions", "q.json")
    assert code == 0
    assert "some: 1 prediction with an id that is not in the benchmark" in said
    assert "answers that are missing (0 and 3) count as not right\n" in out


def test_an_older_submission_is_not_taken_for_the_one_that_was_refused(sari_bench: Command) -> None:
    arguments = ("submit", "--benchmark", "mmau-test-mini", "--questions", "q.json", "--predictions")
    code, _, said = sari_bench(*arguments, "p.json")
    assert code == 1  # of 1,000 questions there are four
    assert "submission.json was not written: answer" in said
    sari_bench(*arguments, "p.json", "--allow-missing")
    before = Path("submission.json").read_bytes()
    code, _, said = sari_bench(*arguments, "other.json")
    assert code == 1
    assert "submission.json was not written, and the file that was there stays as it was: answer" in said
    assert Path("submission.json").read_bytes() == before


def test_nothing_is_left_once_all_answers_are_there() -> None:
    """The last lines of a run's progress named 0 s."""
    question = make_questions(1)[0]
    state = State(ScriptedResponder({}), 2)
    state.see(Response(question.id, 0, "cat", "stop"), question)
    assert state.time_left() == "", "less than a second"
    state.see(Response(question.id, 0, "cat", "stop"), question)
    assert state.time_left() == ""


@pytest.mark.parametrize(("groups", "words"), [(10, "1 misses the"), (27, "1 misses"), (40, "2 miss the")])
def test_the_note_on_many_groups_is_a_sentence(groups: int, words: str) -> None:
    assert words in (chance_note(groups) or "")


def test_the_page_asks_for_no_swap_where_there_is_no_caption(
    benchmark_of: Callable[..., object], run_of: Callable[..., Run]
) -> None:
    """A command that would be refused is no advice: thoughts without a caption section cannot have it swapped."""
    said = {}
    for section in ("reasoning", "caption"):
        run = run_of(
            benchmark_of(4),
            lambda question, name=section: f"<think><{name}>A dog.</{name}></think><answer>{right(question)}</answer>",
            name=f"{section}@structured",
            mode="structured",
        )
        said[section] = _thinks(make_boards([run], ["answer"])[0], [diagnose(run)])
    assert said["reasoning"] == ["Not measured: no thought has a caption section that could be swapped."]
    assert said["caption"][0].startswith("Not measured: sari-bench diagnose ")
