"""A small Hub on this machine with one model repository: it gives its card and takes commits on top of the last one."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any

from replying import Replying

REPO = "zoe/model"
TOKEN = "hf_for_this_test_only"


class ModelHub(ThreadingHTTPServer):
    """The server; ``card`` is the repository's card (``None``: it has none), ``commits`` what was committed."""

    daemon_threads = True

    def __init__(self, card: bytes | None) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.card = card
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.commits: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.log: list[str] = []
        self.refuse_yaml = False
        self.changed_meanwhile = False

    @property
    def sha(self) -> str:
        return f"{len(self.commits) + 1:040d}"


class _Request(Replying):
    server: ModelHub

    def do_GET(self) -> None:
        self.get()

    def do_HEAD(self) -> None:
        self.get()

    def get(self) -> None:
        hub = self.server
        hub.log.append(f"{self.command} {self.path}")
        path = self.path.partition("?")[0]
        if path == "/api/whoami-v2":
            known = self.headers.get("authorization") == f"Bearer {TOKEN}"
            self.reply(200 if known else 401, {"name": "zoe", "type": "user", "auth": {}})
        elif path.startswith(f"/api/models/{REPO}"):
            self.reply(200, {"id": REPO, "sha": hub.sha, "siblings": [], "tags": [], "private": False})
        elif path == f"/{REPO}/resolve/{hub.sha}/README.md" and hub.card is not None:
            etag = hashlib.sha1(hub.card).hexdigest()
            self.reply_bytes(200, hub.card, {"X-Repo-Commit": hub.sha, "ETag": f'"{etag}"'})
        else:
            kind = "EntryNotFound" if f"/{REPO}/" in path else "RepoNotFound"
            self.reply(404, {"error": "not found"}, {"X-Error-Code": kind})

    def do_POST(self) -> None:
        hub = self.server
        hub.log.append(f"POST {self.path}")
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path == "/api/validate-yaml":
            errors = [{"message": "metadata is not accepted"}] if hub.refuse_yaml else []
            self.reply(400 if errors else 200, {"errors": errors, "warnings": []})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            files = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None} for f in asked]
            self.reply(200, {"files": files})
        elif "/commit/" in self.path:
            lines = [json.loads(line) for line in body.decode().splitlines()]
            head = next(line["value"] for line in lines if line["key"] == "header")
            if hub.changed_meanwhile or head.get("parentCommit") != hub.sha:
                self.reply(412, {"error": "A commit has happened since. Please refresh and try again."})
                return
            for line in lines:
                if line["key"] == "file":
                    hub.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            hub.card = hub.files.get("README.md", hub.card)
            hub.commits.append(head)
            url = f"{hub.endpoint}/{REPO}/commit/{hub.sha}"
            self.reply(200, {"success": True, "commitUrl": url, "commitOid": hub.sha, "pullRequestUrl": None})
        else:
            self.reply(404, {"error": f"not found: {self.path}"})


@contextmanager
def serving(card: bytes | None) -> Iterator[ModelHub]:
    """Start the server; it is gone afterwards."""
    server = ModelHub(card)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
