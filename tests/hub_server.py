"""A small server on this machine that speaks the part of the Hub's protocol with which data sets are read."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

from replying import Replying

COMMIT = "c" * 40


class Hub(Replying):
    """Serves the files of ``server.files`` as the data set ``server.repo``; keeps what is asked in ``server.asked``."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.answer()

    def answer(self) -> None:
        server: Any = self.server
        path = unquote(self.path.partition("?")[0])
        server.asked.append((self.command, path, self.headers.get("range")))
        api = f"/api/datasets/{server.repo}"
        resolve = re.match(rf"/datasets/{server.repo}/resolve/(?:main|{COMMIT})/", path)
        if path == api or path.startswith(f"{api}/revision/"):
            if path.rpartition("/")[2] == "nowhere":
                self.reply(404, {"error": "Revision not found"}, {"x-error-code": "RevisionNotFound"})
                return
            files = [{"rfilename": name} for name in server.files]
            self.reply(200, {"id": server.repo, "sha": COMMIT, "siblings": files, "tags": [], "private": False})
        elif path.startswith(f"{api}/tree/"):
            below = path.removeprefix(f"{api}/tree/{COMMIT}").strip("/")
            self.reply(200, self.tree(below, "true" in str(parse_qs(self.path.partition("?")[2]).get("recursive"))))
        elif path.startswith(f"{api}/paths-info/"):
            asked = parse_qs(self.body.decode()).get("paths", []) or json.loads(self.body or b"{}").get("paths", [])
            self.reply(200, [self.entry(name) for name in asked if name in server.files])
        elif resolve:
            self.send_file(server.files.get(path[resolve.end() :]))
        else:
            self.reply(404, {"error": "Repository not found"}, {"x-error-code": "RepoNotFound"})

    def tree(self, below: str, recursive: bool) -> list[dict[str, Any]]:
        server: Any = self.server
        prefix = f"{below}/" if below else ""
        files = [name for name in sorted(server.files) if name.startswith(prefix)]
        folders = {name[: len(prefix) + name[len(prefix) :].index("/")] for name in files if "/" in name[len(prefix) :]}
        found = [self.entry(name) for name in files if recursive or "/" not in name[len(prefix) :]]
        return found + [{"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in sorted(folders)]

    def entry(self, name: str) -> dict[str, Any]:
        server: Any = self.server
        return {"type": "file", "path": name, "size": len(server.files[name]), "oid": _oid(server.files[name])}

    def send_file(self, data: bytes | None) -> None:
        if data is None:
            self.reply(404, {"error": "Entry not found"}, {"x-error-code": "EntryNotFound"})
            return
        code, first, last = 200, 0, len(data) - 1
        if asked := self.headers.get("range"):
            begin, _, end = asked.removeprefix("bytes=").partition("-")
            code, first, last = 206, int(begin), min(int(end or last), last)
        part = data[first : last + 1]
        self.send_response(code)
        self.send_header("etag", f'"{_oid(data)}"')
        self.send_header("x-repo-commit", COMMIT)
        self.send_header("accept-ranges", "bytes")
        if code == 206:
            self.send_header("content-range", f"bytes {first}-{last}/{len(data)}")
        self.send_header("content-length", str(len(part)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(part)


@contextmanager
def serving(repo: str, files: dict[str, bytes]) -> Iterator[tuple[str, list[tuple[str, str, str | None]]]]:
    """Serve ``files`` as the data set ``repo``; yields the server's address and the list of what is asked."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.repo, server.files, server.asked = repo, files, []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.asked  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()
