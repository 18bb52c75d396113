"""The card of a trained model, and pushing it: the real Hub client talks to a small server on this machine."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from sari_data.config import write_effective
from sari_data.errors import CheckpointError, InputError, MissingFileError
from sari_train.checkpoint import open_run, save_run
from sari_train.config import Grpo, Lora, Sft, Training
from sari_train.hub import check_base, check_start, find_model
from sari_train.lora import add_lora
from sari_train.model_card import read_results, render_card
from sari_train.models.load import load_model
from sari_train.optim import make_optimizer

TOKEN = "hf_for_this_test_only"
MANIFEST = {
    "format": "sari-corpus",
    "name": "lab/scenes",
    "source": "scenes",
    "seed": 7,
    "counts": {
        "sft": {"questions": 12, "domains": {"sound": 9, "music": 3}, "difficulties": {"easy": 4, "hard": 8}},
        "rl": {"questions": 5, "domains": {"sound": 5}, "difficulties": {}},
    },
    "licences": {"CC0-1.0": 11, "CC BY | 4.0": 6},
}
RESULT = {
    "scorer": "answer", "benchmark": "scenes", "version": "abc123", "n": 300, "correct": 266, "accuracy": 88.67,
    "interval": [84.6, 91.77], "by": {"task": {"sound": {"n": 150, "correct": 140, "accuracy": 93.33}}},
    "outcomes": {"correct": 266}, "honest": {}, "notes": [],
}  # fmt: skip


def make_run(table: Training, kind: str, *, rows: int = 20) -> Path:
    """A run of one checkpoint with made-up metrics, whose corpus says what it holds."""
    corpus = Path(table.corpus)
    corpus.mkdir(parents=True, exist_ok=True)
    (corpus / "manifest.json").write_text(json.dumps(MANIFEST))
    lm = load_model(table.model)
    if table.lora is not None:
        add_lora(lm, table.lora, seed=0)
        with torch.no_grad():
            for name, weight in lm.model.named_parameters():
                if "lora_B" in name:
                    weight.fill_(0.1)
    open_run(lm, table, kind, "f")
    out = Path(table.out)
    lines = [{"step": n, "loss": 1 / n, "grad_norm": 0.5} for n in range(1, rows + 1)]
    for row in lines[9::5]:
        row["eval_accuracy"] = 0.9 if row["step"] == 10 else 0.5
    (out / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    (out / "curves.png").write_bytes(b"\x89PNG")
    save_run(lm, make_optimizer(lm, table), out, step=rows, fingerprint="f", metrics={"eval_accuracy": 0.5})
    return out


@pytest.fixture
def sft_table(small_folder: Path, tmp_path: Path) -> Sft:
    return Sft(model=str(small_folder), corpus=str(tmp_path / "corpus"), out=str(tmp_path / "warm-up"), steps=30)


def read_card(out: Path) -> tuple[dict[str, Any], str]:
    """The card's head as YAML and as the Hub's own reader takes it, and its text."""
    content = (out / "README.md").read_text(encoding="utf-8")
    head = yaml.safe_load(content.split("---\n")[1])
    card = ModelCard(content)
    assert {k: v for k, v in card.data.to_dict().items() if k != "model-index"} == {
        k: v for k, v in head.items() if k != "model-index"
    }
    assert "\n\n\n" not in content
    assert "{{" not in content
    assert "None" not in card.text
    return head, card.text


def test_the_card_of_a_fine_tuned_model(sft_table: Sft) -> None:
    out = make_run(sft_table, "sft")
    head, text = read_card(out)
    assert head["library_name"] == "transformers"
    assert head["pipeline_tag"] == "audio-text-to-text"
    assert head["datasets"] == ["lab/scenes"]
    assert "base_model" not in head, "a folder on this machine is no model of the Hub"
    assert {"sari", "sft", "audio"} <= set(head["tags"])
    for part in (
        "the state after 20 of 30 steps",
        "Qwen2AudioForConditionalGeneration.from_pretrained",
        "cross-entropy of the chain",
        "| sft | 12 | 9 | 3 |",
        "- CC0-1.0: 11 questions",
        "- CC BY \\| 4.0: 6 questions",
        "built from the source `scenes` with seed 7",
        "50.0 % at step 20; the best was 90.0 % at step 10",
        "| step | loss | dev accuracy | gradient norm |",
        "| 10 | 0.1 | 0.9 | 0.5 |",
        "![Curves of the run](curves.png)",
        '"batch_size": 32',
        "What is heard first?",
        "No benchmark result is recorded with this model.",
    ):
        assert part in text, part
    (step,) = (out / "checkpoints").glob("step-*")
    assert (step / "README.md").read_text() == (out / "README.md").read_text()


def test_the_card_of_a_reinforced_model_tells_what_came_before(sft_table: Sft, tmp_path: Path) -> None:
    warm_up = make_run(sft_table, "sft")
    recipe = json.loads((warm_up / "recipe.json").read_text())
    recipe["sft"]["model"] = "Qwen/Qwen2-Audio-7B-Instruct"
    (warm_up / "recipe.json").write_text(json.dumps(recipe))
    table = Grpo(
        model=str(warm_up), corpus=sft_table.corpus, out=str(tmp_path / "grpo"), loss="dapo", beta=0.04,
        rewards={"accuracy": 2.0, "format": 1.0}, curriculum="adaptive",
    )  # fmt: skip
    head, text = read_card(make_run(table, "grpo"))
    assert head["base_model"] == "Qwen/Qwen2-Audio-7B-Instruct"
    assert head["base_model_relation"] == "finetune"
    assert {"grpo", "reinforcement-learning", "curriculum-learning"} <= set(head["tags"])
    for part in (
        "is a run of `sari-train sft` from `Qwen/Qwen2-Audio-7B-Instruct`",
        "loss: loss dapo",
        "KL to the start: beta 0.04, kl k3, kl_in loss",
        "rewards: accuracy x 2, format x 1",
        "curriculum: curriculum adaptive",
        "split `rl`",
    ):
        assert part in text, part


def test_the_card_of_an_adapter(sft_table: Sft) -> None:
    head, text = read_card(make_run(sft_table.model_copy(update={"lora": Lora(rank=3, alpha=5)}), "sft"))
    assert head["library_name"] == "peft"
    assert "lora" in head["tags"]
    assert "PeftModel.from_pretrained" in text
    assert "low-rank adapters of rank 3, alpha 5" in text
    assert "it needs its base model" in text
    assert "of rank 3; it needs" in text
    assert "no other one" not in text


def run_snippet(text: str, folder: Path) -> Any:
    """Run the card's way to load the model, as it stands, and return the model."""
    (code,) = re.findall(r"## Load it\n+```python\n(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    with contextlib.chdir(folder):
        exec(code, names)
    return names["model"]


@pytest.mark.parametrize("base", ["tiny", "folder"])
def test_the_way_to_load_an_adapter_on_an_adapter_works(
    sft_table: Sft, small_folder: Path, tmp_path: Path, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sari_train.models.load.TINY", small_folder)
    model = "tiny" if base == "tiny" else str(small_folder)
    lora = {"lora": Lora(rank=3, alpha=5)}
    first = make_run(sft_table.model_copy(update={"model": model, **lora}), "sft")
    then = Grpo(model=str(first), corpus=sft_table.corpus, out=str(tmp_path / "grpo"), lora=Lora(rank=2))
    head, text = read_card(make_run(then, "grpo"))
    assert "base_model" not in head
    assert "of rank 5" in text
    assert "no other one is to be loaded" in text
    assert "sari-train merge FOLDER merged" in text
    assert f"is a run of `sari-train sft` from `{model}`" in text
    found = run_snippet(text, tmp_path).merge_and_unload().state_dict()
    expected = load_model(str(tmp_path / "grpo"), device="cpu").model.state_dict()
    bare = load_model(model, device="cpu").model.state_dict()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], atol=1e-6, rtol=1e-6)
    once = load_model(str(first), device="cpu").model.state_dict()
    assert all(max((w[n] - found[n]).abs().max() for n in found) > 1e-3 for w in (bare, once))
    (tmp_path / "grpo" / "recipe.json").unlink()
    assert "of rank 5; it needs" in render_card(tmp_path / "grpo", tmp_path / "grpo", step=20)
    assert "of rank 3" in read_card(first)[1]
    assert "no other one is to be loaded" not in read_card(first)[1]


def test_an_adapter_is_not_told_to_be_for_the_model_behind_its_base(sft_table: Sft, tmp_path: Path) -> None:
    warm_up = make_run(sft_table, "sft")
    recipe = json.loads((warm_up / "recipe.json").read_text())
    recipe["sft"]["model"] = "Qwen/Qwen2-Audio-7B-Instruct"
    (warm_up / "recipe.json").write_text(json.dumps(recipe))
    table = Grpo(model=str(warm_up), corpus=sft_table.corpus, out=str(tmp_path / "grpo"), lora=Lora(rank=2))
    head, text = read_card(make_run(table, "grpo"))
    assert "base_model" not in head, "its base is the whole model of the warm-up"
    assert f'from_pretrained("{warm_up}")' in text


def test_benchmark_results_beside_the_run_are_in_the_card(sft_table: Sft) -> None:
    out = make_run(sft_table, "sft")
    (out / "bench").mkdir()
    (out / "bench" / "scenes.json").write_text(json.dumps(RESULT))
    both = {
        "answer": {**RESULT, "benchmark": "mmau"},
        "official": {**RESULT, "benchmark": "mmau", "scorer": "official"},
    }
    (out / "bench" / "both.json").write_text(json.dumps(both))
    for name, content in {
        "list": "[]",
        "text": "not JSON",
        "other": '{"scorer": "answer"}',
        "deep": "[" * 9999,
    }.items():
        (out / "bench" / f"{name}.json").write_text(content)
    several = read_results(out)
    found = [result for results in several.values() for result in results]
    assert [(r["benchmark"], r["scorer"]) for r in found] == [
        ("mmau", "answer"),
        ("mmau", "official"),
        ("scenes", "answer"),
    ]
    assert sorted(file.stem for file, results in several.items() if not results) == ["deep", "list", "other", "text"]
    (out / "README.md").write_text(render_card(out, out, step=20, repo="zoe/thinker", results=found))
    head, text = read_card(out)
    assert head["model-index"][0]["results"][2]["metrics"][0]["value"] == 88.67
    card = ModelCard.load(out / "README.md")
    assert [(e.dataset_name, e.metric_value) for e in card.data.eval_results][2] == ("scenes", 88.67)
    assert "| scenes | abc123 | answer | 300 | 88.67 | 84.60–91.77 |" in text
    assert "| sound | 150 | 93.33 |" in text
    assert "# thinker" in text
    assert 'from_pretrained("zoe/thinker")' in text


@pytest.mark.parametrize(
    "break_it",
    [
        lambda out, corpus: (out / "recipe.json").write_text("{"),
        lambda out, corpus: (out / "recipe.json").unlink(),
        lambda out, _: (out / "metrics.jsonl").write_bytes(b'\xff\xfe\n{"step": "x"}\n[]\n{"step": 3, "loss": NaN}\n'),
        lambda out, corpus: (out / "metrics.jsonl").unlink(),
        lambda out, corpus: (corpus / "manifest.json").write_text('{"format": "sari-corpus", "counts": {"sft": 3}}'),
        lambda out, corpus: (corpus / "manifest.json").unlink(),
        lambda out, corpus: (out / "config.json").write_text("[]"),
    ],
)
def test_what_cannot_be_read_is_left_out_of_the_card(sft_table: Sft, break_it: Callable[[Path, Path], None]) -> None:
    out = make_run(sft_table, "sft")
    break_it(out, Path(sft_table.corpus))
    (out / "README.md").write_text(render_card(out, out, step=20))
    assert read_card(out)[0]["library_name"] == "transformers"


def test_names_with_marks_of_their_own_stay_in_their_place(sft_table: Sft, tmp_path: Path) -> None:
    odd = sft_table.model_copy(update={"out": str(tmp_path / 'a "b": c | {{ d }} # e')})
    out = make_run(odd, "sft")
    content = (out / "README.md").read_text()
    ModelCard(content)
    assert '# a "b": c \\| {{ d }} # e' in content


# -- pushing --------------------------------------------------------------------------------------------------------


class Hub(BaseHTTPRequestHandler):
    """The part of the Hub's protocol that a push of small files uses; keeps what it is sent in ``server.state``."""

    def do_GET(self) -> None:
        state: dict[str, Any] = self.server.state  # type: ignore[attr-defined]
        path = self.path.partition("?")[0]
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            self.reply(401, {"error": "Invalid credentials"})
        elif path == "/api/whoami-v2":
            self.reply(200, {"name": "zoe", "type": "user", "auth": {}})
        elif path.startswith("/api/models/") and "/tree/" in path:
            files = [{"type": "file", "path": n, "size": len(b), "oid": "0"} for n, b in state["files"].items()]
            self.reply(200, files)
        elif path.startswith("/api/models/") and "/revision/" in path:
            files = [{"rfilename": name} for name in state["files"]]
            self.reply(200, {"id": state["repo"], "sha": "0" * 40, "siblings": files, "tags": []})
        else:
            self.reply(404, {"error": f"not found: {path}"})

    def do_POST(self) -> None:
        state: dict[str, Any] = self.server.state  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.partition("?")[0]
        if path == "/api/repos/create":
            asked = json.loads(body)
            owner = asked.get("organization") or "zoe"
            if owner == "forbidden":
                self.reply(403, {"error": "You don't have the rights to create a model here"})
                return
            state |= {"repo": f"{owner}/{asked['name']}", "created": asked}
            self.reply(200, {"url": f"{state['endpoint']}/{state['repo']}", "id": state["repo"]})
        elif path == "/api/validate-yaml":
            self.reply(200, {"errors": [], "warnings": []})
        elif "/preupload/" in path:
            names = [f["path"] for f in json.loads(body)["files"]]
            self.reply(200, {"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})
        elif "/commit/" in path:
            for line in body.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    state["files"][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                elif entry["key"] == "deletedFile":
                    del state["files"][entry["value"]["path"]]
                elif entry["key"] == "header":
                    state["message"] = entry["value"]["summary"]
            url = f"{state['endpoint']}/{state['repo']}/commit/1"
            self.reply(200, {"success": True, "commitUrl": url, "commitOid": "1" * 40, "pullRequestUrl": None})
        else:
            self.reply(404, {"error": f"not found: {path}"})

    def reply(self, code: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[dict[str, Any]]:
    """Start the server; yields what it holds, its address among it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    state: dict[str, Any] = {"files": {}, "repo": None, "endpoint": f"http://127.0.0.1:{server.server_port}"}
    server.state = state  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()


def command(
    folder: Path, endpoint: str, *arguments: str, token: str | None = TOKEN
) -> subprocess.CompletedProcess[str]:
    """Run ``sari-train`` in a process of its own, since the Hub's client reads its settings once."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / ".hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1"} | ({"HF_TOKEN": token} if token else {})
    return subprocess.run(
        [sys.executable, "-c", "from sari_train.cli import main; main()", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def test_a_run_is_pushed(hub: dict[str, Any], sft_table: Sft, tmp_path: Path) -> None:
    out = make_run(sft_table, "sft")
    (out / "bench").mkdir()
    (out / "bench" / "scenes.json").write_text(json.dumps(RESULT))
    (out / "bench" / "notes.json").write_text("[]")
    (out / "bench" / "before.json").write_text(json.dumps({**RESULT, "accuracy": 1.0}))
    os.utime(out / "bench" / "before.json", (1, 1))
    hub["files"] |= {"model-00001-of-00002.safetensors": b"of an earlier push", "notes.txt": b"somebody's own"}
    done = command(tmp_path, hub["endpoint"], "push", "warm-up", "--private", "--json", "--dataset", "lab/other")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["url"] == f"{hub['endpoint']}/zoe/warm-up"
    assert "notes.json is no result of `sari-bench score --json`" in done.stderr.replace("\n", " ")
    assert "before.json is older than the model of step 20" in done.stderr.replace("\n", " ")
    assert hub["repo"] == "zoe/warm-up"
    assert hub["message"] == "Upload warm-up after 20 steps"
    asked = hub["created"]
    assert asked.get("private") is True or asked.get("visibility") == "private"
    names = set(hub["files"])
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md", "recipe.json", "curves.png"} <= names
    assert {"metrics.jsonl", "bench/scenes.json", "notes.txt"} <= names
    assert not [
        n for n in names if "training" in n or "state" in n or n.startswith("model-0") or n == "bench/notes.json"
    ]
    assert hub["files"]["model.safetensors"] == (out / "model.safetensors").read_bytes()
    card = ModelCard(hub["files"]["README.md"].decode())
    assert card.data.datasets == ["lab/other"]
    assert [result.metric_value for result in card.data.eval_results] == [88.67]
    assert 'from_pretrained("zoe/warm-up")' in card.text


def test_an_adapter_for_a_folder_is_pushed_with_its_bases_name_only(
    hub: dict[str, Any], sft_table: Sft, tmp_path: Path
) -> None:
    out = make_run(sft_table.model_copy(update={"lora": Lora(rank=2)}), "sft")
    done = command(tmp_path, hub["endpoint"], "push", "warm-up")
    assert done.returncode == 2
    told = " ".join(done.stderr.split())
    assert f"is an adapter for the model in the folder {sft_table.model}, which nobody else has" in told
    assert "--base owner/name" in told
    assert "sari-train merge" in told
    assert (hub["repo"], hub["files"]) == (None, {}), "it is said before anything is pushed"
    done = command(tmp_path, hub["endpoint"], "push", "warm-up", "--base", "Qwen/Qwen2-Audio-7B-Instruct")
    assert done.returncode == 0, done.stderr
    assert sft_table.model not in hub["files"]["adapter_config.json"].decode()
    card = ModelCard(hub["files"]["README.md"].decode())
    assert (card.data.base_model, card.data.base_model_relation) == ("Qwen/Qwen2-Audio-7B-Instruct", "adapter")
    assert 'from_pretrained("Qwen/Qwen2-Audio-7B-Instruct")' in card.text
    assert 'PeftModel.from_pretrained(base, "zoe/warm-up")' in card.text
    config = json.loads(hub["files"]["adapter_config.json"])
    own = json.loads((out / "adapter_config.json").read_text())
    assert config == own | {"base_model_name_or_path": "Qwen/Qwen2-Audio-7B-Instruct"}


def test_a_base_that_nobody_has_is_told_before_the_training(sft_table: Sft, tmp_path: Path) -> None:
    lora = {"lora": Lora(rank=2)}
    hub_id = sft_table.model_copy(update={"model": "Qwen/Qwen2-Audio-7B-Instruct"})
    for table, sft in (
        (sft_table.model_copy(update=lora), sft_table),
        (Grpo(model=sft_table.out, **lora), hub_id),
        (Grpo(model=sft_table.out, **lora), sft_table.model_copy(update=lora)),
    ):
        with pytest.raises(CheckpointError, match=r"which nobody else has: leave --push-to-hub.*--base owner/name"):
            check_start(table, sft)
    check_start(sft_table, sft_table)
    check_start(Grpo(model=sft_table.out, **lora), hub_id.model_copy(update=lora))
    check_start(Grpo(model=sft_table.out), hub_id)
    check_start(Grpo(model="tiny", **lora), sft_table)
    make_run(sft_table.model_copy(update=lora), "sft")
    with pytest.raises(CheckpointError, match=f"in the folder {sft_table.model}"):
        check_start(Grpo(model=sft_table.out, **lora), sft_table)
    with pytest.raises(InputError, match="holds a whole model: leave it out"):
        check_base(sft_table.model, "a/b")
    with pytest.raises(InputError, match="expected the base as owner/name"):
        check_base(sft_table.out, "a/b/c")


@pytest.mark.parametrize(
    ("arguments", "token", "sentence"),
    [
        (["push", "warm-up"], None, "pushing to the Hub needs a token, found none"),
        (["push", "warm-up"], "hf_wrong", "the Hub does not accept the token"),
        (["push", "warm-up", "a/b/c"], TOKEN, "expected a repository as owner/name, found 'a/b/c'"),
        (["push", "warm-up", "forbidden/x"], TOKEN, "could not be pushed to forbidden/x"),
        (["push", "nowhere"], TOKEN, "run 'nowhere': expected a folder there, found none"),
        (["sft", "--push-to-hub", "a/b"], None, "pushing to the Hub needs a token, found none"),
    ],
)
def test_what_keeps_a_push_from_working_is_one_sentence(
    hub: dict[str, Any], sft_table: Sft, tmp_path: Path, arguments: list[str], token: str | None, sentence: str
) -> None:
    if arguments[:2] == ["push", "warm-up"]:
        make_run(sft_table, "sft")
    done = command(tmp_path, hub["endpoint"], *arguments, token=token)
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert sentence in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "corpus" / "data").exists(), "it is said before anything is built"


def test_a_hub_that_cannot_be_reached_is_one_sentence(sft_table: Sft, tmp_path: Path) -> None:
    make_run(sft_table, "sft")
    done = command(tmp_path, "http://127.0.0.1:9", "push", "warm-up")
    assert done.returncode == 2
    assert "the Hub at http://127.0.0.1:9 cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


def test_which_checkpoint_is_meant(sft_table: Sft, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="train it first"):
        find_model(tmp_path / "nothing")
    out = make_run(sft_table.model_copy(update={"keep": 2}), "sft")
    lm = load_model(sft_table.model)
    for step in (21, 22):
        save_run(lm, make_optimizer(lm, sft_table), out, step=step, fingerprint="f", keep=2)
    assert find_model(out)[1].step == 22
    assert find_model(out, best=True)[1].step == 20
    assert find_model(out / "checkpoints" / "step-00000021")[1].step == 21
    assert find_model(out / "checkpoints" / "step-00000021")[0] == out
    with pytest.raises(CheckpointError, match="expected the folder of a training run"):
        find_model(sft_table.model)
    (out / "checkpoints" / "step-00000022" / "config.json").unlink()
    with pytest.raises(CheckpointError, match="is damaged"):
        find_model(out)
    other = sft_table.model_copy(update={"out": str(tmp_path / "fresh")})
    open_run(lm, other, "sft", "f")
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        find_model(other.out)
    save_run(lm, make_optimizer(lm, sft_table), other.out, step=1, fingerprint="f")
    with pytest.raises(CheckpointError, match="no checkpoint with a dev accuracy"):
        find_model(other.out, best=True)


def test_a_recipe_of_another_table_is_told_as_it_is(sft_table: Sft) -> None:
    out = make_run(sft_table, "sft")
    write_effective(out / "recipe.json", {"grpo": Grpo(model="tiny")})
    text = render_card(out, out, step=20)
    assert "`tiny`, the base model that ships with sari" in text
    assert ModelCard(text).data.to_dict().get("base_model") is None
