"""Swapped captions: a model that uses its thought is told from one that does not."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from heard_toys import OPTIONS, heard_benchmark, heard_questions, listen, run_model
from hypothesis import given
from hypothesis import strategies as st

from sari_bench.benchmarks.base import Gold, from_questions
from sari_bench.running import measure
from sari_bench.running.runs import Run, read_run
from sari_bench.statistics.metrics import wilson
from sari_bench.thoughts import swap_asking
from sari_bench.thoughts.diagnostic_tables import diagnosis_sentences, diagnosis_tables
from sari_bench.thoughts.diagnostics import diagnose
from sari_bench.thoughts.swap_asking import swap_captions
from sari_bench.thoughts.swapping import Captioned, Swapped, choose_captions, find_captions, read_swapped
from sari_data.errors import BenchmarkError, InputError, ResponderError
from sari_data.responder import Request, Responder, Response, Sampling
from sari_data.responders.scripted import ScriptedResponder

Say = Callable[[Request, str], str]
BENCHMARK = heard_benchmark(24)


def thinker(say: Say, name: str = "thinker@1", caption: str = "I hear a {word} in {id}.") -> ScriptedResponder:
    """A model whose caption is what it hears and whose answer is ``say(request, its caption)``."""

    def respond(request: Request, sample: int) -> str:
        own = caption.format(word=listen(request), id=request.id)
        text = request.prefix or f"<think><planning>p</planning><caption>{own}</caption>"
        said = re.findall(r"<caption>(.*?)</caption>", text)[0]
        if "<reasoning>" not in text:
            text += "<reasoning>r</reasoning><summary>s</summary></think><answer>"
        return f"{text}{say(request, said)}</answer>".removeprefix(request.prefix)

    return ScriptedResponder(respond, name=name)


def by_caption(request: Request, caption: str) -> str:
    """The word in the caption, whoever wrote it."""
    return next(word for word in OPTIONS if word in caption)


def by_ear(request: Request, caption: str) -> str:
    """What the audio says, whatever the caption does."""
    return listen(request)


class Deaf:
    """A model that was written before there were prefixes."""

    name = "deaf"

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        for request in requests:
            text = f"<think><caption>{request.id}</caption></think><answer>dog</answer>"
            yield Response(request.id, 0, text, "stop")


def _swap(folder: Path, model: Responder, limit: int | None = None) -> Swapped:
    run = run_model(BENCHMARK, model, folder, "structured")
    return swap_captions(run, responder=model, benchmark=BENCHMARK, limit=limit)


def test_a_model_that_answers_from_its_caption_is_found_out(tmp_path: Path) -> None:
    found = _swap(tmp_path / "run", thinker(by_caption))
    rows = {row.name: (row.n, row.correct, row.changed) for row in found.rows}
    assert rows["original"] == rows["own-caption"] == (24, 24, 0)
    assert rows["other-caption"] == rows["answer-only"]
    n, correct, changed = rows["other-caption"]
    assert correct == n - changed
    assert changed > 12, "some other clips say the same word"
    assert found.used
    assert found.sentence.startswith(
        f"the thought is used: with another clip's caption {changed / 24:.1%}".replace("%", " %")
    )
    assert (found.forcing.difference, found.swap.difference) == (0, -changed / 24)
    prefixes = [
        json.loads(line)["prefix"]
        for line in (tmp_path / "run/swapped/other-caption/responses.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert all(
        re.fullmatch(r"<think><planning>p</planning><caption>I hear a \w+ in q\d+\.</caption>", p) for p in prefixes
    )
    result = diagnose(read_run(tmp_path / "run"))
    assert result.swapped is not None
    assert result.swapped.to_json() == found.to_json()
    assert found.sentence in list(diagnosis_sentences(result))
    assert any(title.startswith("captions swapped in 24 of 24") for title, _, _ in diagnosis_tables(result))


def test_a_model_that_answers_by_ear_shows_no_sign(tmp_path: Path) -> None:
    found = _swap(tmp_path / "run", thinker(by_ear))
    assert [row.changed for row in found.rows] == [0, 0, 0, 0]
    assert not found.used
    assert found.sentence.startswith("no sign that the thought is used")


def test_a_model_that_continuing_alone_upsets_shows_no_sign_either(tmp_path: Path) -> None:
    """Its answers change as often with its own caption: that is the forcing, not the swap."""
    found = _swap(tmp_path / "run", thinker(lambda request, caption: "dog" if request.prefix else listen(request)))
    rows = {row.name: row for row in found.rows}
    assert rows["own-caption"].changed == rows["other-caption"].changed == 18
    assert found.forcing.difference == -0.75
    assert not found.used


def test_a_limited_swap_stands_apart_and_both_go_on(tmp_path: Path) -> None:
    asked: list[str] = []

    def counted(request: Request, caption: str) -> str:
        asked.append(request.id)
        return by_caption(request, caption)

    few = _swap(tmp_path / "run", thinker(counted), limit=6)
    assert (few.rows[0].n, few.left_out) == (6, {"limit": 18})
    assert len(asked) == 24 + 3 * 6
    again = _swap(tmp_path / "run", thinker(counted), limit=6)
    assert again == few
    assert len(asked) == 24 + 3 * 6, "nothing is asked twice"
    assert _swap(tmp_path / "run", thinker(counted)).rows[0].n == 24
    assert read_swapped(tmp_path / "run") is not None


def several(asked: list[tuple[str, int]], follows: Callable[[str], bool]) -> ScriptedResponder:
    """A model of three answers, each with a caption of its own; which of them follow their caption is given.

    Its thought begins with the number of the sample, so that what goes on from a prefix is told apart.
    """

    def respond(request: Request, sample: int) -> str:
        own = f"I hear a {listen(request)} in {request.id}."
        text = request.prefix or f"<think><planning>{sample}</planning><caption>{own}</caption>"
        said, number = re.findall(r"<caption>(.*?)</caption>", text)[0], re.findall(r"<planning>(\d)", text)[0]
        asked.append((request.id, int(number)))
        if "<reasoning>" not in text:
            text += "<reasoning>r</reasoning><summary>s</summary></think><answer>"
        answer = by_caption(request, said) if follows(number) else listen(request)
        return f"{text}{answer}</answer>".removeprefix(request.prefix)

    return ScriptedResponder(respond, name="several")


def test_all_samples_are_swapped_and_figures_go_by_clip(tmp_path: Path) -> None:
    asked: list[tuple[str, int]] = []
    model = several(asked, lambda number: True)
    run = run_model(BENCHMARK, model, tmp_path / "run", "structured", samples=3)
    first = swap_captions(run, responder=model, benchmark=BENCHMARK)
    assert (first.samples, first.rows[0].n, first.responses) == (1, 24, 24)
    assert first.notes == ("captions were swapped in 1 of 3 answers to each question (--samples)",)
    assert Counter(number for _, number in asked) == {0: 24 + 3 * 24, 1: 24, 2: 24}
    found = swap_captions(run, responder=model, benchmark=BENCHMARK, samples=3)
    assert Counter(number for _, number in asked) == {0: 96, 1: 96, 2: 96}, "what is there is not asked again"
    assert (found.samples, found.rows[0].n, found.responses, found.notes) == (3, 72, 72, ())
    kept = read_swapped(tmp_path / "run")
    assert kept is not None
    assert kept.to_json() == found.to_json()
    one, three = ({row.name: row for row in swapped.rows}["other-caption"] for swapped in (first, found))
    assert (three.correct, three.changed) == (3 * one.correct, 3 * one.changed), "all answers of a question are alike"
    alone = wilson(three.changed, 72)
    assert three.changed_interval[0] < alone[0] - 0.05, "so 72 answers say no more than 24"
    assert one.changed_interval == wilson(one.changed, 24), "and one of each is as it was"
    assert (found.changes.n, found.changes.clusters, found.changes.difference) == (24, 24, first.changes.difference)
    folders = sorted(path.name for path in (tmp_path / "run" / "swapped").iterdir() if path.is_dir())
    assert folders[:4] == ["answer-only", "answer-only.sample-1", "answer-only.sample-2", "other-caption"]
    seeds = {read_run(tmp_path / "run/swapped" / name).meta["sampling"]["seed"] for name in folders[:3]}
    assert seeds == {0, 1, 2}


def test_samples_that_differ_count_as_their_mean(tmp_path: Path) -> None:
    """Only one answer of three follows its caption: in the first alone that is every answer, in all it is a third."""
    model = several([], lambda number: number == "0")
    run = run_model(BENCHMARK, model, tmp_path / "run", "structured", samples=3)
    first = swap_captions(run, responder=model, benchmark=BENCHMARK)
    found = swap_captions(run, responder=model, benchmark=BENCHMARK, samples=3)
    assert found.changes.difference == pytest.approx(first.changes.difference / 3)
    assert first.changes.p_value is not None
    assert found.changes.p_value is None
    assert found.changes.by_clip
    assert found.changes.flip_p == pytest.approx(first.changes.p_value), "the same clips changed"
    assert found.used
    with pytest.raises(InputError, match=r"has 3 answers to each question.*ask for 1 to 3 --samples"):
        swap_captions(run, responder=model, benchmark=BENCHMARK, samples=4)
    few = swap_captions(run, responder=model, benchmark=BENCHMARK, samples=2, limit=5)
    assert (few.rows[0].n, few.left_out) == (10, {"limit": 38})


def test_results_of_the_first_samples_alone_are_still_read(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    found = _swap(folder, thinker(by_caption))
    path = folder / "swapped" / "swapped.json"
    body = json.loads(path.read_text(encoding="utf-8"))
    del body["samples"]
    path.write_text(json.dumps(body), encoding="utf-8")
    again = read_swapped(folder)
    assert again is not None
    assert again.samples == 1
    assert again.to_json() == found.to_json()


def test_what_cannot_be_swapped_is_said(tmp_path: Path) -> None:
    plain = ScriptedResponder(lambda request, sample: "<answer>dog</answer>", name="plain")
    with pytest.raises(BenchmarkError, match=r"of 24 responses none has a caption section \(the run's mode"):
        _swap(tmp_path / "plain", plain)
    with pytest.raises(BenchmarkError, match="the 24 captions all have the same words"):
        _swap(tmp_path / "same", thinker(by_ear, caption="A clip."))

    with pytest.raises(ResponderError, match="take a responder that can go on from a prefix"):
        _swap(tmp_path / "deaf", Deaf(), limit=4)

    def refusing(request: Request, caption: str) -> str:
        if request.prefix:
            raise InputError("this model cannot go on from a prefix")
        return "dog"

    with pytest.raises(InputError, match="this model cannot go on from a prefix"):
        _swap(tmp_path / "refusing", thinker(refusing))
    run = run_model(BENCHMARK, thinker(by_ear), tmp_path / "run", "structured")
    with pytest.raises(BenchmarkError, match="a model must go on from its own thoughts"):
        swap_captions(run, responder=thinker(by_ear, name="thinker@2"), benchmark=BENCHMARK)


def test_the_command_swaps_and_shows_what_it_found(
    run_command: Callable[..., tuple[int, str, str]], empty_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "load_responder", lambda name, **options: thinker(by_caption))
    monkeypatch.setattr(swap_asking, "reopen", lambda run: BENCHMARK)
    run_model(BENCHMARK, thinker(by_caption), Path("run"), "structured")
    code, printed, said = run_command("sari-bench", "diagnose", "run", "--swap-captions", "--limit", "12")
    assert code == 0, said
    assert "answer-only: 12 answers are due, 0 of them are there" in said
    assert "captions swapped in 12 of 24 responses" in " ".join(printed.split())
    assert "responses in which no caption was swapped: 12 are beyond the limit" in printed
    assert "the thought is used: with another clip's caption" in printed
    code, printed, _ = run_command("sari-bench", "diagnose", "run", "--json")
    assert json.loads(printed)["swapped"]["used"] is True
    rows = json.loads(printed)["swapped"]["rows"]
    assert rows["original"]["n"] == 12
    code, _, said = run_command("sari-bench", "diagnose", "run", "--samples", "2")
    assert (code, "--samples bounds how many captions are swapped" in said) == (2, True)
    code, _, said = run_command("sari-bench", "diagnose", "run", "--swap-captions", "--samples", "2")
    assert (code, "has 1 answer to each question" in said) == (2, True)
    run_model(BENCHMARK, thinker(by_caption), Path("three"), "structured", samples=3)
    code, _, said = run_command("sari-bench", "diagnose", "three", "--swap-captions", "--samples", "3")
    assert code == 0, said
    assert said.index("own-caption: 72 answers are due, 0 of them are there") < said.index("answers added")
    assert Path("run/swapped/own-caption@12/responses.jsonl").is_file()


def test_stale_and_broken_results_are_said(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    _swap(folder, thinker(by_ear))
    with (folder / "responses.jsonl").open("a", encoding="utf-8") as sink:
        sink.write('{"id": "another", "sample": 0, "text": "", "finish_reason": "stop", "tokens": 0}\n')
    stale = read_swapped(folder)
    assert stale is not None
    assert stale.notes == (
        "the run has other answers since 'sari-bench diagnose --swap-captions' was run on it: run that again",
    )
    (folder / "swapped" / "swapped.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BenchmarkError, match="delete it and run that command again"):
        diagnose(read_run(folder))


@pytest.mark.parametrize(
    ("text", "caption", "answer"),
    [
        ("<think><caption> a dog </caption></think><answer>x</answer>", " a dog ", True),
        ("a</think> <CAPTION>b\nc</caption >", "b\nc", False),
        ("<caption></caption><caption>late</caption>", "late", False),
        ("<caption>open <answer>x</answer>", None, False),
        ("<answer>x</answer><caption>after</caption>", "after", False),
        ("no tags", None, False),
    ],
)
def test_where_a_caption_is_found(text: str, caption: str | None, answer: bool, tmp_path: Path) -> None:
    benchmark = from_questions("one", heard_questions(1))
    model = ScriptedResponder(lambda request, sample: text, name="one")
    run: Run = run_model(benchmark, model, tmp_path / "run", "structured")
    found = find_captions(run)
    assert [response.caption for response in found] == ([] if caption is None else [caption])
    for response in found:
        assert (response.answer is not None) is answer
        assert response.prefix("own-caption", "x") == text[: response.stop]
        assert response.prefix("other-caption", "NEW") == text[: response.stop].replace(str(caption), "NEW")


CLIPS = st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ab"), st.sampled_from("xyz")), max_size=12)


@given(CLIPS, st.integers(0, 3))
def test_a_swapped_caption_is_another_clips_and_reads_otherwise(rows: list[tuple[int, str, str]], seed: int) -> None:
    responses = []
    for at, (clip, task, words) in enumerate(rows):
        gold = Gold(f"q{at}", "Which?", ("a", "b"), "a", task, audio=f"{clip}.wav")
        responses.append(Captioned(gold, words, 0, len(words), len(words), None))
    chosen = choose_captions(responses, seed)
    first = {r.gold.cluster: r.caption for r in reversed(responses)}
    for response in responses:
        others = {words for clip, words in first.items() if clip != response.gold.cluster and words != response.caption}
        mine = {
            first[r.gold.cluster]
            for r in responses
            if r.gold.task == response.gold.task and r.gold.cluster != response.gold.cluster
        } - {response.caption}
        assert (response.gold.id in chosen) == bool(others)
        if others:
            assert chosen[response.gold.id] in (mine or others)
