"""A small Hub on this machine: it speaks the protocol of repositories, LFS objects and commits, and fails on order.

Uploaded objects lie on disk, so that a test can measure the memory of a process with a large corpus.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from replying import Replying

TOKEN = "hf_for_this_test_only"
PIECE = 65536


@dataclass
class Fault:
    """What goes wrong, and when.

    Args:
        on: Pattern of ``METHOD path``.
        skip: So many matching requests go well first.
        times: So many of them fail.
        status: Reply with it; 0: none.
        headers: Further headers of that reply.
        cut: Close the connection after so many bytes of the body.
        lose_reply: Do what was asked, and close the connection without a reply.
        expire: The address is void from now on.
    """

    on: str
    skip: int = 0
    times: int = 1
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    lose_reply: bool = False
    expire: bool = False

    def takes(self, request: str) -> bool:
        if not re.search(self.on, request) or self.times <= 0:
            return False
        self.skip -= 1
        if self.skip >= 0:
            return False
        self.times -= 1
        return True


class HubServer(ThreadingHTTPServer):
    """The server; what it holds and what happened are its attributes."""

    daemon_threads = True

    def __init__(self, folder: Path, *, part: int | None = None, lfs: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), Hub)
        # Little is on its way between the two: what a client has sent has nearly arrived.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
        self.folder, self.part, self.lfs = folder, part, lfs
        folder.mkdir(parents=True, exist_ok=True)
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.repo: str | None = None
        self.private = False
        self.created: dict[str, Any] = {}
        self.files: dict[str, dict[str, Any]] = {}
        self.commits: list[list[str]] = []
        self.faults: list[Fault] = []
        self.log: list[str] = []
        self.received: Counter[str] = Counter()
        self.largest_body = 0
        self.expired: set[str] = set()
        self.signatures = 0
        self.lock = threading.Lock()
        self.xet = False
        self.busy = 0  # objects that are on their way
        self.slow = 0.0  # seconds between the pieces of an object

    def put(self, name: str, content: bytes) -> None:
        """Put a regular file into the repository, as if it had been committed before."""
        self.files[name] = {"size": len(content), "content": content}

    def object(self, oid: str) -> Path:
        return self.folder / oid

    def content(self, name: str) -> bytes:
        entry = self.files[name]
        return entry["content"] if "content" in entry else self.object(entry["oid"]).read_bytes()

    def checkout(self, folder: Path) -> Path:
        """Write the repository's files into a folder, as a download gives them."""
        for name in self.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(self.content(name))
        return folder

    def count(self, pattern: str) -> int:
        return sum(re.search(pattern, line) is not None for line in self.log)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed is no news."""


class Hub(Replying):
    """One request."""

    server: HubServer

    def do_GET(self) -> None:
        self.answer("GET")

    def do_HEAD(self) -> None:
        self.answer("HEAD")

    def do_POST(self) -> None:
        self.answer("POST")

    def do_PUT(self) -> None:
        self.answer("PUT")

    def answer(self, method: str) -> None:
        hub = self.server
        parts = urlsplit(self.path)
        self.route, self.query = parts.path, parse_qs(parts.query)
        with hub.lock:
            hub.log.append(f"{method} {self.route}")
            self.fault = next((fault for fault in hub.faults if fault.takes(f"{method} {self.route}")), None)
        signed = self.route.startswith("/objects/")
        if self.fault and self.fault.expire:
            hub.expired.add(self.query["signature"][0])
        if signed and self.query.get("signature", [""])[0] in hub.expired:
            self.drain()
            self.reply(403, {"error": "Request has expired"})
        elif self.fault and self.fault.status:
            self.drain()
            self.reply(self.fault.status, {"error": "fault on order"}, self.fault.headers)
        elif self.fault and self.fault.cut is not None and not signed:
            self.hang_up()
        elif signed and method == "PUT":
            with hub.lock:
                hub.busy += 1
            try:
                self.receive()
            finally:
                with hub.lock:
                    hub.busy -= 1
        elif not signed and self.headers.get("authorization") != f"Bearer {TOKEN}":
            self.drain()
            self.reply(401, {"error": "Invalid credentials"})
        elif method == "POST":
            self.post(self.drain())
        else:
            self.get(method)

    def get(self, method: str) -> None:
        hub, route = self.server, self.route
        if route == "/api/whoami-v2":
            self.reply(200, {"name": "zoe", "type": "user", "auth": {}})
        elif hub.repo is None or f"/datasets/{hub.repo}" not in route:
            self.reply(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        elif "/tree/" in route:
            self.reply(200, [self.tree_entry(name) for name in sorted(hub.files)])
        elif "/xet-write-token/" in route and hub.xet:
            self.reply(200, {"casUrl": hub.endpoint, "accessToken": "t", "exp": 2**33})
        elif "/resolve/" in route and route.partition("/resolve/main/")[2] in hub.files:
            data = hub.content(route.partition("/resolve/main/")[2])
            self.reply_bytes(200, data, {"X-Repo-Commit": "1" * 40, "ETag": f'"{hashlib.sha1(data).hexdigest()}"'})
        elif route == f"/api/datasets/{hub.repo}" or "/revision/" in route:
            files = [{"rfilename": name} for name in hub.files]
            info = {"id": hub.repo, "sha": "1" * 40, "private": hub.private, "siblings": files, "tags": []}
            self.reply(200, info)
        else:
            self.reply(404, {"error": f"not found: {route}"})

    def tree_entry(self, name: str) -> dict[str, Any]:
        entry = self.server.files[name]
        found = {"type": "file", "path": name, "size": entry["size"], "oid": "0" * 40}
        if "content" in entry:
            content = entry["content"]
            return found | {"oid": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()}
        return found | {"lfs": {"oid": entry["oid"], "size": entry["size"], "pointerSize": 134}}

    def post(self, body: bytes) -> None:
        hub, route = self.server, self.route
        hub.largest_body = max(hub.largest_body, len(body))
        if route.startswith("/objects/"):
            self.complete(json.loads(body))
        elif route == "/api/repos/create":
            self.create(json.loads(body))
        elif route == "/api/validate-yaml":
            self.reply(200, {"errors": [], "warnings": []})
        elif "/preupload/" in route:
            mode = {True: "lfs", False: "regular"}
            files = [
                {
                    "path": asked["path"],
                    "uploadMode": mode[hub.lfs and asked["path"].endswith(".parquet")],
                    "shouldIgnore": False,
                    "oid": hub.files.get(asked["path"], {}).get("oid"),
                }
                for asked in json.loads(body)["files"]
            ]
            self.reply(200, {"files": files})
        elif route.endswith("/info/lfs/objects/batch"):
            asked = json.loads(body)
            assert asked["hash_algo"] == "sha256"
            self.reply(200, {"transfer": "basic", "objects": [self.place(o) for o in asked["objects"]]})
        elif "/verify/" in route:
            asked = json.loads(body)
            path = hub.object(asked["oid"])
            good = path.is_file() and path.stat().st_size == asked["size"]
            self.reply(200 if good else 404, {} if good else {"error": "no such object"})
        elif "/commit/" in route:
            self.commit([json.loads(line) for line in body.decode().splitlines()])
        else:
            self.reply(404, {"error": f"not found: {route}"})

    def create(self, asked: dict[str, Any]) -> None:
        hub = self.server
        owner = asked.get("organization") or "zoe"
        if owner == "forbidden":
            self.reply(403, {"error": "You don't have the rights to create a dataset here"})
            return
        repo = f"{owner}/{asked['name']}"
        code = 409 if repo == hub.repo else 200
        if code == 200:
            hub.repo, hub.created = repo, asked
            hub.private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.reply(code, {"url": f"{hub.endpoint}/datasets/{repo}", "id": repo})

    def place(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Say where an object is to be sent, or that it is there."""
        hub, oid, size = self.server, asked["oid"], asked["size"]
        if hub.object(oid).is_file():
            return {"oid": oid, "size": size}
        with hub.lock:
            hub.signatures += 1
            signed = f"signature={hub.signatures}"
        base = f"{hub.endpoint}/objects/{oid}"
        verify = {"href": f"{hub.endpoint}/api/verify/{oid}"}
        if hub.part is None or size <= hub.part:
            return {"oid": oid, "size": size, "actions": {"upload": {"href": f"{base}?{signed}"}, "verify": verify}}
        header = {"chunk_size": str(hub.part)}
        header |= {f"{n:05d}": f"{base}?part={n}&{signed}" for n in range(1, -(-size // hub.part) + 1)}
        upload = {"href": f"{base}?{signed}", "header": header}
        return {"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}}

    def receive(self) -> None:
        """Take an object or a part of one, piece by piece."""
        hub, oid = self.server, self.route.rpartition("/")[2]
        length, digest = int(self.headers["content-length"]), hashlib.sha256()
        number = self.query.get("part", [""])[0]
        path = hub.folder / f"{oid}.{number or 'whole'}.{threading.get_ident()}"
        with path.open("wb") as file:
            while length:
                data = self.rfile.read(min(PIECE, length))
                if not data:
                    return  # the client is gone
                file.write(data)
                digest.update(data)
                length -= len(data)
                hub.received[oid] += len(data)
                if hub.slow:
                    threading.Event().wait(hub.slow)
                if self.fault and self.fault.cut is not None and file.tell() >= self.fault.cut:
                    self.hang_up()
                    return
        if number:
            path.rename(hub.folder / f"{oid}.{number}")
        elif digest.hexdigest() == oid:
            path.rename(hub.object(oid))
        else:
            self.reply(400, {"error": "the SHA-256 of what came is another"})
            return
        self.reply_bytes(200, b"", {"ETag": f'"{digest.hexdigest()[:8]}"'})

    def complete(self, asked: dict[str, Any]) -> None:
        """Put the parts of an object together."""
        hub, oid = self.server, asked["oid"]
        digest, whole = hashlib.sha256(), hub.folder / f"{oid}.joined"
        with whole.open("wb") as file:
            for part in asked["parts"]:
                data = (hub.folder / f"{oid}.{part['partNumber']}").read_bytes()
                assert part["etag"] == f'"{hashlib.sha256(data).hexdigest()[:8]}"'
                digest.update(data)
                file.write(data)
        if digest.hexdigest() != oid:
            self.reply(400, {"error": "the parts do not make the object"})
            return
        whole.rename(hub.object(oid))
        self.reply(200, {"success": True})

    def commit(self, lines: list[dict[str, Any]]) -> None:
        hub, names = self.server, []
        for line in lines:
            value = line["value"]
            if line["key"] == "lfsFile" and not hub.object(value["oid"]).is_file():
                self.reply(400, {"error": f"object {value['oid']} is not there"})
                return
            if line["key"] == "deletedFile" and value["path"] not in hub.files:
                why = {"X-Error-Code": "EntryNotFound"}
                self.reply(404, {"error": "A file with this name doesn't exist"}, why)
                return
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                hub.put(value["path"], base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                hub.files[value["path"]] = {"size": value["size"], "oid": value["oid"]}
            elif line["key"] == "deletedFile":
                del hub.files[value["path"]]
            names += [value["path"]] if "path" in value else []
        hub.commits.append(names)
        url = f"{hub.endpoint}/datasets/{hub.repo}/commit/1"
        self.reply(200, {"success": True, "commitUrl": url, "commitOid": "1" * 40, "pullRequestUrl": None})

    def drain(self) -> bytes:
        """Read the body; what was not read would cut the connection before the reply arrives."""
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def reply_bytes(self, code: int, data: bytes, headers: dict[str, str]) -> None:
        if self.fault and self.fault.lose_reply:
            self.hang_up()
            return
        super().reply_bytes(code, data, headers)
