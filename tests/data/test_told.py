"""What a build and its commands tell while they run, refuse before they begin, and print at the end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import annotator
import pytest
from chat_server import ChatServer, Reply
from corpus_examples import question, tone
from push_examples import api, write
from push_server import HubServer

from sari_data.build import Build, Plan, build
from sari_data.calibrate import PASSED_UNHEARD, Calibrate
from sari_data.errors import ResponderError
from sari_data.store import iter_split, read_manifest, read_split
from sari_data.types import Provenance

Run = Callable[..., tuple[int, str, str]]

SCENES = {"questions": {"sound": 6, "music": 6, "speech": 6}}


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every step of a progress display be a line, as each half minute is in a log file."""
    monkeypatch.setattr("sari_data.console._EVERY_S", 0.0)


def scenes(folder: Path, calibrate: Calibrate) -> dict[str, object]:
    made = Build.model_validate({"out": str(folder), "seed": 5, "sft": 3, "dev": 3, "scenes": SCENES})
    return build(Plan(made, calibrate))


def captioned_clips(folder: Path, number: int = 4) -> dict[str, object]:
    """A table of clips with captions, as ``[build]`` names it."""
    folder.mkdir()
    rows = ["file,caption"]
    for row in range(number):
        (folder / f"{row}.wav").write_bytes(tone(200 + 40 * row))
        rows.append(f"{row}.wav,A tone sounds {row + 2} times and then a door closes.")
    (folder / "clips.csv").write_text("\n".join(rows), encoding="utf-8")
    columns = {"audio": "file", "caption": "caption"}
    return {"path": str(folder / "clips.csv"), "domain": "sound", "columns": columns}


def served(ask: Any) -> str:
    """Write what is asked for; a question itself is answered by guessing that its first option is right."""
    option = re.search(r"^\W*A\W+(.+)$", ask.prompt, re.MULTILINE)
    return (
        annotator.serve(ask) if ask.prompt.startswith("Task:") else f"<answer>{option[1] if option else '?'}</answer>"
    )


def lines(text: str, stage: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"{stage}: ")]


@pytest.mark.usefixtures("at_once")
def test_requests_tokens_and_cost_are_told_while_a_stage_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ChatServer(reply=served) as server:
        options = {
            "base_url": server.url,
            "price_in": 2.0,
            "price_out": 5.0,
            "concurrency": 1,
            "backoff": 0.01,
            "tries": 2,
        }
        chat = {"responder": "server", "model": "toy", "options": options}
        plan = Plan(
            Build.model_validate(
                {"source": "table", "out": str(tmp_path / "c"), "sft": 0, "dev": 0}
                | {"table": captioned_clips(tmp_path / "clips")}
            ),
            Calibrate.model_validate({**chat, "samples": 2}),
            annotator.table(question=chat),
        )
        manifest = build(plan)
    told = capsys.readouterr().err
    for stage, number in (("question", 4), ("calibrate", 4)):
        while_running = [line for line in lines(told, stage) if re.search(rf": \d of {number}, .* a second; ", line)]
        assert len(while_running) >= 2, f"{stage} says nothing on its way"
        costs = [float(cost) for line in while_running for cost in re.findall(r"cost ([\d.]+)", line)]
        assert len(costs) == len(while_running)
        assert costs == sorted(costs)
        assert 0 < costs[0] < costs[-1], "the cost is that so far"
        totals = re.search(r"([\d,]+) tokens read, ([\d,]+) written, cost ([\d.]+)", lines(told, stage)[-1])
        read, written, cost = (float(number.replace(",", "")) for number in totals.groups())
        assert cost == pytest.approx((2 * read + 5 * written) / 1e6, abs=1e-4)
    assert [entry["stage"] for entry in manifest["funnel"]] == ["collect table", "question", "calibrate"]


def recorded(folder: Path, path: Path, deaf: Iterable[str], samples: int) -> Path:
    """Record answers: all right when heard; unheard right for the ``deaf`` questions alone."""
    rows = []
    for found in iter_split(folder, "rl"):
        wrong = next(choice for choice in found.choices if choice != found.answer)
        for end in ("", "|none", "|other"):
            text = found.answer if not end or found.id in deaf else wrong
            rows += [{"id": found.id + end, "sample": s, "text": f"<answer>{text}</answer>"} for s in range(samples)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_questions_passed_unheard_leave_rl_by_a_recipe_key(tmp_path: Path) -> None:
    scenes(tmp_path / "plain", Calibrate(responder="none"))
    ids = {q.id for q in read_split(tmp_path / "plain", "rl")}
    deaf = set(sorted(ids)[:4])
    answers = recorded(tmp_path / "plain", tmp_path / "answers.jsonl", deaf, samples=8)
    for drop in (True, False):
        how = Calibrate(
            responder="scripted", listening=True, drop_passed_unheard=drop, options={"path": str(answers), "name": "r"}
        )
        folder = tmp_path / str(drop)
        manifest = scenes(folder, how)
        aside = {q.id for q in read_split(folder, PASSED_UNHEARD)} if drop else set()
        rl = read_split(folder, "rl")
        assert aside == (deaf if drop else set())
        assert {q.id for q in rl} == ids - aside
        assert {q.id for q in rl if q.flags} == (set() if drop else deaf)
        assert (PASSED_UNHEARD in manifest["splits"]) == drop
        card = (folder / "README.md").read_text(encoding="utf-8")
        assert "| passes_without_audio | 4 |" in card
        assert "The listening check" in card


def test_calibrate_prints_the_reliability_the_brier_scores_and_the_listening_check(
    empty_folder: Path, run_command: Run
) -> None:
    scenes(Path("corpus"), Calibrate(responder="none"))
    deaf = {q.id for q in read_split("corpus", "rl")[:4]}
    answers = recorded(Path("corpus"), Path("answers.jsonl"), deaf, samples=16)
    how = ["--responder", "scripted", "--set", f"calibrate.options.path={answers}", "--set", "calibrate.options.name=r"]
    how += ["--method", "adaptive", "--budget", "6", "--set", "calibrate.adaptive.most=16", "--listening"]
    code, out, err = run_command("sari-data", "calibrate", "corpus", *how)
    assert code == 0, err
    summary = read_manifest("corpus")["calibrations"][-1]
    for name in ("predictor", "estimates"):
        found = summary[name]
        assert f"Brier score of the {name}: {found['brier']} (of the mean alone: {found['brier_of_mean']})" in out
        for one in found["bins"]:
            row = next(line for line in out.splitlines() if f"from {one['from']:.1f}" in line)
            assert all(f"{one[key]:.3f}" in row for key in ("predicted", "observed"))
    assert f"{summary['asked']} answers in {summary['rounds']} rounds" in out
    marked = summary["listening"]["none"]["marked"]
    assert f"{marked} marked as passes_without_audio" in out
    assert "marked as passes_with_other_audio" in out


@pytest.fixture
def at_the_hub(hub: HubServer, online: list[float], monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """The server, as what the commands of this process reach."""
    monkeypatch.setattr("sari_data.hub.hub_api", lambda: api(hub))
    return hub


@pytest.mark.parametrize(
    ("settings", "options", "said"),
    [
        ([], [], "a corpus from table is published once it was compared with a benchmark"),
        (["annotate.question.responder=rehearsal"], ["--allow-contaminated"], "'rehearsal' makes up is not published"),
        (
            ["annotate.question.responder=server", "annotate.question.model=m", "annotate.rehearse=true"],
            ["--allow-contaminated"],
            "'rehearsal' makes up is not published",
        ),
    ],
    ids=["never compared", "a stage rehearsed", "all rehearsed"],
)
def test_what_would_not_be_published_is_told_before_it_is_built(
    at_the_hub: HubServer,
    empty_folder: Path,
    run_command: Run,
    settings: list[str],
    options: list[str],
    said: str,
) -> None:
    clips = captioned_clips(Path("clips"))
    recipe = ['[build]\nsource = "table"\nsft = 0\ndev = 0\n[build.table]\n']
    recipe += [f"path = {json.dumps(clips['path'])}\ndomain = 'sound'\n"]
    recipe += ["columns = { audio = 'file', caption = 'caption' }\n[calibrate]\nresponder = 'none'\n"]
    Path("mine.toml").write_text("".join(recipe), encoding="utf-8")
    given = [word for setting in settings for word in ("--set", setting)]
    code, out, err = run_command("sari-data", "build", "mine.toml", *given, *options, "--push-to-hub", "zoe/c")
    assert (code, out) == (2, "")
    assert said in err
    assert sorted(path.name for path in empty_folder.iterdir()) == ["clips", "mine.toml"]
    assert not at_the_hub.commits


def test_push_private_makes_a_private_repository(at_the_hub: HubServer, tmp_path: Path, run_command: Run) -> None:
    corpus = write(tmp_path / "c", [question(1, provenance=Provenance("scenes", "s", "CC0-1.0"))])
    code, _, err = run_command("sari-data", "push", str(corpus), "zoe/c", "--private")
    assert code == 0, err
    assert at_the_hub.private
    assert at_the_hub.commits


def test_a_question_that_the_server_refuses_is_named_with_its_reason(tmp_path: Path) -> None:
    asked = []

    def refusing(ask: Any) -> Any:
        asked.append(ask)
        return Reply("the audio is too long", status=400) if len(asked) == 5 else "<answer>?</answer>"

    with ChatServer(reply=refusing) as server:
        options = {"base_url": server.url, "concurrency": 1}
        how = Calibrate(responder="server", model="toy", samples=2, options=options)
        with pytest.raises(ResponderError, match="the audio is too long") as error:
            scenes(tmp_path / "c", how)
    assert "start it again" not in str(error.value), "it would be refused again"
    assert not (tmp_path / "c").exists()
