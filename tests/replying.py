"""What the small Hubs of the tests share: how they reply."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from typing import Any


class Replying(BaseHTTPRequestHandler):
    """A request handler that replies with JSON or bytes and logs nothing."""

    def reply(self, code: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self.reply_bytes(code, json.dumps(value).encode(), {"content-type": "application/json", **(headers or {})})

    def reply_bytes(self, code: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        pass
