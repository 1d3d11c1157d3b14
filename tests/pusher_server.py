"""A server that speaks Pusher's protocol for publishers, and believes only what is signed with its secret.

Prints its port. GET /told: all it was told, in order, and why it refused requests. Its events have at most
10 KB, its requests ten of them. `--failures N`: the first N requests are answered with 503.
"""

import argparse
import hashlib
import hmac
import json
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

APP, KEY, SECRET = "4711", "pusher-key", "pusher-hush-hush"

told: list[dict[str, Any]] = []
refused: list[str] = []
failures = 0


def told_at(url: str) -> dict[str, Any]:
    """What the server there was told, and why it refused requests."""
    with urllib.request.urlopen(f"{url}/told", timeout=10) as answer:  # noqa: S310 - of the loopback
        document: dict[str, Any] = json.load(answer)
    return document


class Handler(BaseHTTPRequestHandler):
    """POST /apps/APP/batch_events."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        global failures
        body = self.rfile.read(int(self.headers["content-length"]))
        if failures:
            failures -= 1
            return self._answer(503, {})
        if reason := self._wrong(body):
            refused.append(reason)
            return self._answer(401, {"error": reason})
        told.extend(json.loads(body)["batch"])
        return self._answer(200, {})

    def do_GET(self) -> None:
        self._answer(200, {"told": told, "refused": refused})

    def _wrong(self, body: bytes) -> str | None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query))
        signature = query.pop("auth_signature", "")
        signed = "&".join(f"{name}={query[name]}" for name in sorted(query))
        right = hmac.new(
            SECRET.encode(), f"POST\n{parts.path}\n{signed}".encode(), hashlib.sha256
        ).hexdigest()
        batch = json.loads(body)["batch"]
        checks = {
            "path": parts.path == f"/apps/{APP}/batch_events",
            "key": query["auth_key"] == KEY,
            "body": query["body_md5"] == hashlib.md5(body).hexdigest(),  # noqa: S324 - what the protocol wants
            "signature": hmac.compare_digest(signature, right),
            "batch": 0 < len(batch) <= 10,
            "size": all(len(event["data"].encode()) <= 10 * 1024 for event in batch),
        }
        return ", ".join(name for name, right in checks.items() if not right) or None

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--failures", type=int, default=0)
    failures = parser.parse_args().failures
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
