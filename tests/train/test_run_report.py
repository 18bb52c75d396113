"""The figures of a run, its page as a file, and what is said where there is no run."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from run_toys import EVIL, kept, write_run

from sari_train.completions import save_completions
from sari_train.progress import Progress
from sari_train.report import panels, phase_shares, points_per_mean, read_run, summary
from sari_train.report_page import render_page, write_page

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("report") / "toy")


def _bare(folder: Path, rows: list[dict[str, float]], steps: int = 4) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "recipe.json").write_text(json.dumps({"sft": {"steps": steps, "model": "tiny"}}))
    with Progress("SFT", folder, steps=steps) as progress:
        for step, row in enumerate(rows, start=1):
            progress.update(step, row)
    return folder


class _Page(HTMLParser):
    """All tags with their attributes, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag == "script"
        if self.inside:
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.scripts[-1] += data

    def data(self, identifier: str) -> Any:
        names = [attributes.get("id") for tag, attributes in self.tags if tag == "script"]
        return json.loads(self.scripts[names.index(identifier)])


def test_figures_by_hand(tmp_path: Path) -> None:
    rows = [{"loss": float(n)} for n in range(1, 13)]
    rows[3]["loss"] = float("nan")
    body = summary(read_run(_bare(tmp_path / "run", rows, steps=20)))
    assert body["metrics"]["loss"] == {
        "latest": 12.0, "not_finite": 1, "first": (1 + 2 + 3 + 5 + 6 + 7 + 8 + 9 + 10 + 11) / 10,
        "last": (2 + 3 + 5 + 6 + 7 + 8 + 9 + 10 + 11 + 12) / 10, "min": 1.0, "max": 12.0,
    }  # fmt: skip
    assert (body["status"], body["step"], body["steps"], body["kind"]) == ("unfinished", 12, 20, "sft")
    assert body["seconds"] is None
    assert body["phases"] == {}
    json.dumps(body, allow_nan=False)


def test_phases_are_shares_of_all_steps() -> None:
    rows = [
        {"step": 1, "step_seconds": 10.0, "seconds/policy": 6.0},
        {"step": 2, "step_seconds": 10.0, "seconds/policy": 1.0, "seconds/rollout": 9.0},
    ]
    assert phase_shares(rows) == {"rollout": 0.45, "policy": 0.35}


def test_the_stack_of_phases_is_the_step(toy: Path) -> None:
    run = read_run(toy)
    (stack,) = [panel for panel in panels(run) if panel["stacked"]]
    for at, row in enumerate(run.timings):
        assert sum(series["y"][at] for series in stack["series"]) == pytest.approx(row["step_seconds"], rel=1e-4)
    assert {"rollout", "save", "the rest"} <= {series["label"] for series in stack["series"]}


def test_every_recorded_number_is_on_the_page_with_its_values(toy: Path) -> None:
    run = read_run(toy)
    shown = {series["name"]: series for panel in panels(run) for series in panel["series"]}
    recorded = {name for row in (*run.metrics, *run.timings) for name in row} - {"step"}
    assert recorded <= set(shown)
    for row in run.metrics:
        for name, value in row.items():
            if name != "step":
                at = shown[name]["x"].index(row["step"])
                assert shown[name]["y"][at] == pytest.approx(value, rel=1e-5)


def test_a_long_run_is_thinned_to_means(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "recipe.json").write_text(json.dumps({"sft": {"steps": 2500}}))
    lines = [json.dumps({"step": n, "loss": None if n == 2 else float(n)}) for n in range(1, 2501)]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    run = read_run(folder)
    ((series,),) = [panel["series"] for panel in panels(run)]
    assert points_per_mean(run) == 3
    assert len(series["x"]) == 834
    assert series["x"][:2] == [3, 6]
    assert series["y"][:2] == [(1 + 3) / 2, 5.0], "what is not finite is no part of a mean"
    assert "Each point is the mean of 3 steps" in render_page(run, folder / "report.html")


def test_the_page_is_one_file_and_runs_only_its_own_script(toy: Path) -> None:
    text = render_page(read_run(toy), toy / "report.html")
    page = _Page(text)
    policy = next(str(a["content"]) for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    digest = base64.b64encode(hashlib.sha256(page.scripts[-1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not [a for _, a in page.tags if {"src", "href"} & set(a)]
    # The name of SVG and the recipe's rollout.url, which is only shown, are no addresses that a page asks.
    assert set(re.findall(r"https?://[\w.:]+", text)) == {"http://www.w3.org", "http://127.0.0.1:8000"}
    for expected in (
        "finished: 60 steps",
        "checkpoints/sft",
        "easy_to_hard",
        "Time by phase: rollout",
        "gradient spike",
    ):
        assert expected in text
    assert "innerHTML" not in text


def test_what_a_model_wrote_is_text(toy: Path) -> None:
    page = _Page(render_page(read_run(toy), toy / "report.html"))
    data = page.data("completion-data")
    assert any(EVIL in sample["text"] for group in data["groups"] for sample in group["samples"]), "kept whole"
    assert all(EVIL in group["choices"] for group in data["groups"])
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert not [
        tag for tag, attributes in page.tags if tag in ("img", "b") or any(n.startswith("on") for n in attributes)
    ]


def test_clips_are_embedded_up_to_the_bound_then_linked(toy: Path, tmp_path: Path) -> None:
    run = read_run(toy)
    everything = _Page(render_page(run, toy / "report.html")).data("completion-data")
    assert len(everything["clips"]) == 12, "clips of the same content are one file"
    for name, clip in everything["clips"].items():
        kind, _, body = clip["data"].partition(";base64,")
        assert kind == "data:audio/wav"
        assert base64.b64decode(body) == (toy / "completions" / name).read_bytes()
    size = (toy / "completions" / next(iter(everything["clips"]))).stat().st_size
    target = tmp_path / "elsewhere" / "page.html"
    text = render_page(run, target, audio_mib=3.5 * size / 2**20)
    some = _Page(text).data("completion-data")
    embedded = [name for name, clip in some["clips"].items() if "data" in clip]
    assert len(embedded) == 3
    assert {group["audio"] for group in some["groups"][:3]} == set(embedded), "those of the latest step"
    assert "3 clips are inside this page" in text
    assert "9 more are linked" in text
    for name, clip in some["clips"].items():
        if "link" in clip:
            assert (target.parent / clip["link"]).resolve() == (toy / "completions" / name).resolve()


def test_text_beyond_the_bound_is_left_out_and_said(toy: Path) -> None:
    text = render_page(read_run(toy), toy / "report.html", text_mib=0.01)
    data = _Page(text).data("completion-data")
    assert 0 < len(data["groups"]) < 18
    assert data["groups"][0]["step"] == 60
    assert f"{len(data['groups'])} of 18 kept questions, those of the latest steps" in " ".join(text.split())


@pytest.mark.parametrize("audio", ["../../recipe.json", "audio/../../recipe.json", "javascript:alert(1)", "", None, 7])
def test_only_the_runs_own_clips_are_read(tmp_path: Path, audio: object) -> None:
    folder = _bare(tmp_path / "run", [{"loss": 1.0}])
    save_completions(folder, 1, [kept(0, 1, random.Random(0))])
    path = folder / "completions" / "step-000001.jsonl"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"audio": audio}) + "\n")
    assert _Page(render_page(read_run(folder), folder / "report.html")).data("completion-data")["clips"] == {}


def test_the_command(toy: Path, tmp_path: Path, run_command: Run) -> None:
    code, out, err = run_command("sari-train", "report", toy)
    assert code == 0, err
    assert f"page: {toy / 'report.html'}" in out
    assert "trouble at step 30: the gradient" in out
    assert (toy / "report.html").is_file()
    page = tmp_path / "new" / "page.html"
    code, out, _ = run_command("sari-train", "report", toy, "--html", page, "--json", "--audio-mib", "0")
    body = json.loads(out)
    assert (code, body["page"], body["status"]) == (0, str(page), "finished")
    assert "12 more are linked" in page.read_text()
    assert body["completions"] == {"questions": 18, "samples": 72, "steps": [20, 40, 60]}
    assert body["troubles"][0]["kind"] == "gradient_spike"
    (toy / "report.html").unlink()
    code, out, _ = run_command("sari-train", "report", toy, "--json")
    assert "page" not in json.loads(out)
    assert not (toy / "report.html").exists()


def _metrics(text: str) -> Callable[[Path], object]:
    return lambda folder: (_bare(folder, []) / "metrics.jsonl").write_text(text)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda folder: None, "expected the folder of a run"),
        (lambda folder: folder.mkdir(), "found no recipe.json in it"),
        (lambda folder: folder.write_text("x"), "expected the folder of a run"),
        (lambda folder: _bare(folder, []), "found none yet"),
        (lambda folder: (_bare(folder, []) / "recipe.json").write_text("[]"), "table of an SFT or GRPO run"),
        (lambda folder: (_bare(folder, []) / "recipe.json").write_text('{"build": {}}'), "table of an SFT or GRPO run"),
        (lambda folder: (_bare(folder, []) / "recipe.json").write_bytes(b"\xff\xfe"), "table of an SFT or GRPO run"),
        (_metrics("what?\n"), "line 1: expected a JSON object"),
        (_metrics('{"loss": 1}\n'), "a step and numbers in each line"),
        (_metrics('{"step": 1, "loss": "high"}\n'), "a step and numbers in each line"),
        (_metrics('{"step": 1, "loss": 0.5'), "found none yet"),
    ],
)
def test_what_is_no_run_is_told_in_one_sentence(
    tmp_path: Path, run_command: Run, make: Callable[[Path], object], sentence: str
) -> None:
    make(tmp_path / "run")
    code, out, err = run_command("sari-train", "report", tmp_path / "run")
    assert (code, out) == (2, "")
    assert sentence in " ".join(err.split())
    assert "Traceback" not in err


def test_a_page_over_an_older_one_and_never_half_a_page(toy: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.write_text("old")
    assert write_page(read_run(toy), target) == target
    assert target.read_text().rstrip().endswith("</html>")
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_a_run_is_read_without_torch(toy: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from sari_train.report import read_run; from sari_train.report_page import render_page\n"
        f"assert len(render_page(read_run({str(toy)!r}), 'page.html')) > 10_000\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
