"""The commands shortcuts and diagnose: what they print, bad input, and the embedded model end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from heard_toys import heard_benchmark, heard_questions, run_model

from sari_bench.benchmarks.base import from_questions
from sari_bench.running import measure
from sari_bench.thoughts.swap_asking import swap_captions
from sari_bench.thoughts.swapping import find_captions
from sari_data.responder import Request
from sari_data.responders.scripted import ScriptedResponder

Call = Callable[..., tuple[int, str, str]]
FEW = ("--set", "bench.scenes.questions={sound = 2, music = 1, speech = 1}")


def test_rules_alone_need_no_model(run_command: Call, shared_data: Path, empty_folder: Path) -> None:
    questions = shared_data / "mmau" / "mmau-test-mini.v05.15.25.json"
    mmau = ("--benchmark", "mmau-test-mini", "--questions", str(questions))
    code, printed, said = run_command("sari-bench", "shortcuts", *mmau)
    assert code == 0, said
    rows = {line.strip()[:20].strip(): line.split() for line in printed.splitlines()}
    assert rows["always the first"][3:] == ["39.50", "36.5–42.6", "1000"]
    assert rows["longest option"][2:] == ["39.40", "36.4–42.5", "1000"]
    assert rows["chance"][1:] == ["25.87", "23.2–28.6", "1000"]
    assert "longest option: most characters\n" in said
    body = json.loads(run_command("sari-bench", "shortcuts", *mmau, "--json")[1])
    assert body["benchmark"]["version"] == "v05.15.25"
    assert {row["name"]: row["correct"] for row in body["rows"]}["longest option"] == 394
    assert body["rows"][0]["gain"] is None
    code, _, said = run_command("sari-bench", "shortcuts", *mmau, "--only", "silence")
    assert code == 2
    assert "--only silence asks a model, and none is named" in said


def test_the_embedded_model_without_its_audio(run_command: Call, empty_folder: Path) -> None:
    tiny = ("--model", "tiny", "--mode", "direct", "--max-new-tokens", "12", *FEW)
    code, printed, said = run_command("sari-bench", "shortcuts", *tiny, "--json")
    assert code == 0, said
    for variant in ("no-audio", "other-audio", "silence"):
        assert f"{variant}: 4 answers are due, 0 of them are there" in said
    body = json.loads(printed)
    assert [row["name"] for row in body["rows"][-5:]] == ["own audio", "no-audio", "other-audio", "silence", "circular"]
    assert [row["n"] for row in body["rows"][-5:]] == [4] * 5
    folder = Path("runs/scenes/tiny@direct")
    assert (
        json.loads((folder / "shortcuts/silence/run.json").read_text(encoding="utf-8"))["variant"]["name"] == "silence"
    )
    kept = json.loads((folder / "shortcuts/shortcuts.json").read_text(encoding="utf-8"))
    assert kept == body
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure, "load_responder", lambda *arguments, **options: pytest.fail("nothing is left to ask"))
        code, printed, said = run_command("sari-bench", "shortcuts", str(folder), "--only", "silence")
        assert code == 0, said
        code, _, refused = run_command("sari-bench", "shortcuts", str(folder), "--only", "other-audio", "--seed", "1")
        assert code == 2
        assert "holds a run with another variant's requests" in refused
    assert "audio gain over no-audio:" in printed, "what was asked earlier stays"
    assert "rotated options:" in printed
    assert "silence: 4 answers are due, 4 of them are there" in said
    code, printed, said = run_command("sari-bench", "diagnose", str(folder))
    assert code == 0, said
    assert "tiny@direct has no thoughts" in printed
    code, _, said = run_command("sari-bench", "diagnose", str(folder), "--swap-captions")
    assert code == 2
    assert "none has a caption section (the run's mode is 'direct')" in said


def test_the_embedded_model_goes_on_from_a_swapped_caption(tmp_path: Path) -> None:
    from sari_train.responder import LocalResponder

    tiny = LocalResponder("tiny")

    def think(request: Request, sample: int) -> str:
        return f"<think><caption>A sound as in {request.id}.</caption></think><answer>dog</answer>"

    benchmark = from_questions("heard", heard_questions(8)[4:])
    run = run_model(
        benchmark, ScriptedResponder(think, name=tiny.name), tmp_path / "run", "structured", max_new_tokens=4
    )
    found = swap_captions(run, responder=tiny, benchmark=benchmark)
    assert [(row.name, row.n) for row in found.rows] == [
        ("original", 4), ("own-caption", 4), ("other-caption", 4), ("answer-only", 4),
    ]  # fmt: skip
    own = {response.gold.id: response.caption for response in find_captions(run)}
    for line in (run.folder / "swapped/answer-only/responses.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert row["text"].startswith(row["prefix"])
        assert row["prefix"].endswith("</caption></think><answer>")
        assert own[row["id"]] not in row["prefix"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("shortcuts", "nowhere"), "'nowhere' is not a run folder"),
        (("shortcuts", "run", "--model", "tiny"), "a run folder says what is asked of which model: leave --model out"),
        (("shortcuts", "run", "--max-new-tokens", "4"), "leave --max-new-tokens out"),
        (
            ("shortcuts", "run", "--only", "quiet"),
            "other-audio, silence, circular; found 'quiet'",
        ),
        (("shortcuts", "--benchmark", "mmau-test-mini", "--questions", "none.json"), "'none.json' does not exist"),
        (("diagnose", "nowhere"), "'nowhere' is not a run folder"),
        (("diagnose", "run", "--limit", "3"), "give --swap-captions too"),
        (("diagnose", "run", "--scorer", "ear"), "scorer 'ear' is unknown"),
    ],
)
def test_wrong_use_is_one_sentence(
    arguments: tuple[str, ...], said: str, run_command: Call, empty_folder: Path
) -> None:
    run_model(heard_benchmark(4), ScriptedResponder(lambda r, s: "<answer>dog</answer>", name="toy"), Path("run"))
    code, _, told = run_command("sari-bench", *arguments)
    assert code == 2
    assert said in told
    assert told.strip().splitlines()[-1].startswith("error:")


def test_a_run_without_its_recipe_is_said(run_command: Call, empty_folder: Path) -> None:
    run_model(heard_benchmark(4), ScriptedResponder(lambda r, s: "<answer>dog</answer>", name="toy"), Path("run"))
    Path("run/recipe.json").unlink()
    code, _, said = run_command("sari-bench", "shortcuts", "run")
    assert code == 2
    assert "has no recipe.json" in said
