"""Pushing a corpus: the real Hub client talks to a small server on this machine that speaks the Hub's protocol."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sari_data.build import Build, Plan, build
from sari_data.calibrate import Calibrate
from sari_data.errors import CorpusError
from sari_data.hub import licence_id, push_corpus

TOKEN = "hf_for_this_test_only"


class Hub(BaseHTTPRequestHandler):
    """The part of the Hub's protocol that a push of small files uses; keeps what it is sent in ``server.state``."""

    def do_GET(self) -> None:
        state: dict[str, Any] = self.server.state  # type: ignore[attr-defined]
        path = self.path.partition("?")[0]
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            self.reply(401, {"error": "Invalid credentials"})
        elif path == "/api/whoami-v2":
            self.reply(200, {"name": "zoe", "type": "user", "auth": {}})
        elif path.startswith("/api/datasets/") and "/revision/" in path:
            files = [{"rfilename": name} for name in state["files"]]
            self.reply(200, {"id": state["repo"], "sha": "0" * 40, "siblings": files, "tags": []})
        elif path.startswith("/api/datasets/") and "/tree/" in path:
            files = [{"type": "file", "path": n, "size": len(b), "oid": "0"} for n, b in state["files"].items()]
            self.reply(200, files)
        else:
            self.reply(404, {"error": f"not found: {path}"})

    def do_POST(self) -> None:
        state: dict[str, Any] = self.server.state  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.partition("?")[0]
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            self.reply(401, {"error": "Invalid credentials"})
        elif path == "/api/repos/create":
            asked = json.loads(body)
            owner = asked.get("organization") or "zoe"
            if owner == "forbidden":
                self.reply(403, {"error": "You don't have the rights to create a dataset here"})
                return
            state["repo"] = f"{owner}/{asked['name']}"
            state["created"] = asked
            self.reply(200, {"url": f"{state['endpoint']}/datasets/{state['repo']}", "id": state["repo"]})
        elif path == "/api/validate-yaml":
            state["card"] = json.loads(body)["content"]
            self.reply(200, {"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            self.reply(200, {"files": files})
        elif "/commit/" in path:
            for line in body.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    state["files"][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                elif entry["key"] == "deletedFile":
                    del state["files"][entry["value"]["path"]]
            state["commits"] += 1
            url = f"{state['endpoint']}/datasets/{state['repo']}/commit/1"
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
def hub() -> Iterator[tuple[str, dict[str, Any]]]:
    """Start the server; yields its address and what it holds."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    state: dict[str, Any] = {"files": {}, "commits": 0, "repo": None}
    state["endpoint"] = f"http://127.0.0.1:{server.server_port}"
    server.state = state  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield state["endpoint"], state
    server.shutdown()
    server.server_close()


SMALL = ["--set", "build.sft=2", "--set", "build.dev=2", "--set", "calibrate.responder=none"]
SMALL += [part for d in ("sound", "music", "speech") for part in ("--set", f"build.scenes.questions.{d}=2")]


def command(
    folder: Path, endpoint: str, *arguments: str, token: str | None = TOKEN
) -> subprocess.CompletedProcess[str]:
    """Run ``sari-data`` in a process of its own, since the Hub's client reads its settings once."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / ".hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1"} | ({"HF_TOKEN": token} if token else {})
    code = "from sari_data.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def uploaded(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_build_is_pushed_as_it_is_on_disk_to_the_users_own_repository(
    hub: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    endpoint, state = hub
    done = command(tmp_path, endpoint, "build", *SMALL, "--push-to-hub", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["url"] == f"{endpoint}/datasets/zoe/corpus"
    assert state["repo"] == "zoe/corpus"
    assert state["created"]["type"] == "dataset"
    assert state["commits"] == 1
    assert uploaded(tmp_path / "corpus").items() <= state["files"].items()
    assert state["files"].keys() - uploaded(tmp_path / "corpus").keys() <= {".gitattributes"}


def test_the_repository_may_follow_the_flag_and_shards_of_an_earlier_push_go(
    hub: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    endpoint, state = hub
    state["files"]["data/sft-00007.parquet"] = b"from an earlier push"
    state["files"]["notes.txt"] = b"somebody's own"
    done = command(tmp_path, endpoint, "build", *SMALL, "--push-to-hub", "lab/scenes", "--private")
    assert done.returncode == 0, done.stderr
    assert f"dataset: {endpoint}/datasets/lab/scenes" in done.stdout
    assert state["repo"] == "lab/scenes"
    asked = state["created"]
    assert asked.get("private") is True or asked.get("visibility") == "private"  # the client's versions differ
    assert "data/sft-00007.parquet" not in state["files"]
    assert state["files"]["notes.txt"] == b"somebody's own"


@pytest.mark.parametrize(
    ("token", "arguments", "sentence"),
    [
        (None, ["--push-to-hub"], "pushing to the Hub needs a token, found none"),
        ("hf_wrong", ["--push-to-hub"], "the Hub does not accept the token"),
        (TOKEN, ["--push-to-hub", "a/b/c"], "expected a repository as owner/name, found 'a/b/c'"),
    ],
)
def test_what_keeps_a_push_from_working_is_said_before_anything_is_built(
    hub: tuple[str, dict[str, Any]], tmp_path: Path, token: str | None, arguments: list[str], sentence: str
) -> None:
    done = command(tmp_path, hub[0], "build", *SMALL, *arguments, token=token)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "corpus").exists()


def test_a_hub_that_cannot_be_reached_is_one_sentence(tmp_path: Path) -> None:
    done = command(tmp_path, "http://127.0.0.1:9", "build", *SMALL, "--push-to-hub")
    assert done.returncode == 2
    assert "the Hub at http://127.0.0.1:9 cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_push_that_is_refused_leaves_the_corpus_whole(hub: tuple[str, dict[str, Any]], tmp_path: Path) -> None:
    done = command(tmp_path, hub[0], "build", *SMALL, "--push-to-hub", "forbidden/scenes")
    assert done.returncode == 2
    assert "corpus could not be pushed to forbidden/scenes" in done.stderr
    assert "Traceback" not in done.stderr
    assert command(tmp_path, hub[0], "check", "corpus").returncode == 0


def test_only_a_complete_corpus_is_pushed(tmp_path: Path) -> None:
    table = Build.model_validate(
        {"out": str(tmp_path / "c"), "sft": 1, "dev": 1, "scenes": {"questions": {"sound": 3}}}
    )
    build(Plan(table, Calibrate(responder="none")))
    (tmp_path / "c" / "manifest.json").unlink()
    with pytest.raises(CorpusError, match="incomplete or no corpus"):
        push_corpus(tmp_path / "c", "zoe/c")


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (["CC0-1.0"], "cc0-1.0"),
        (["CC BY-SA 4.0"], "cc-by-sa-4.0"),
        (["MIT", "mit"], "mit"),
        (["CC0-1.0", "MIT"], "other"),
        (["research use"], "other"),
        ([], "other"),
    ],
)
def test_the_licence_is_one_that_the_hub_knows(licences: list[str], expected: str) -> None:
    assert licence_id(licences) == expected
