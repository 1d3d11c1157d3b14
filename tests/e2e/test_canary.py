"""Canaries: words that stand for keys, prompts and answers, looked for in all that a run leaves behind.

Keys may be nowhere. What was asked and answered may be in the ledger, which is there to keep it, and in no
log, message, announcement or line of Flower.
"""

import json
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import redis

from palaver.producer import Client
from palaver.shared.errors import PalaverError
from palaver.shared.settings import Settings
from tests.processes import Processes
from tests.servers import RedisServer

KEYS = {
    "PALAVER_SECRET": "canary-of-the-secret-that-seals-profiles",
    "PALAVER_WEBHOOK_SECRET": "whsec_Y2FuYXJ5IG9mIHRoZSB3ZWJob29rcyBzZWNyZXQ=",
    "CANARY_API_KEY": "sk-canary-of-the-profile",
}
SEALED_KEY = "sk-canary-of-a-program"
REDIS_PASSWORD = "canary-of-redis"
PROMPT, ANSWER = "canary in the prompt", "canary in the answer"
LEDGER = re.compile(r"palaver:\{[^}]+\}:(job:.*|events|messages|stored)$")
"""Where content may be."""


class Provider(BaseHTTPRequestHandler):
    """Answers one model, and refuses another as providers do: with the key that it was shown in its words."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if asked["model"] == "refused":
            key = self.headers["authorization"].removeprefix("Bearer ")
            return self._answer(401, {"error": {"message": f"Incorrect API key provided: {key}."}})
        choice = {"message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
        return self._answer(200, {"choices": [choice]})

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def provider() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def content_of(connection: redis.Redis) -> dict[str, bytes]:
    """Every key with all that is in it."""
    readers: dict[bytes, Callable[[Any], Any]] = {
        b"string": connection.get,
        b"hash": connection.hgetall,
        b"list": lambda key: connection.lrange(key, 0, -1),
        b"set": connection.smembers,
        b"zset": lambda key: connection.zrange(key, 0, -1),
        b"stream": connection.xrange,
    }
    keys: Any = connection.scan_iter()
    kinds: Any = {key: connection.type(key) for key in keys}
    return {key.decode(): repr(readers[kind](key)).encode() for key, kind in kinds.items()}


@pytest.fixture
def server(own_redis: Callable[..., RedisServer]) -> RedisServer:
    started = own_redis()
    started.client().config_set("requirepass", REDIS_PASSWORD)
    return started


def test_nothing_that_a_run_leaves_behind_tells_a_key_or_what_was_said(
    server: RedisServer, processes: Processes, tmp_path: Path
) -> None:
    config = tmp_path / "palaver.toml"
    url = f"redis://:{REDIS_PASSWORD}@127.0.0.1:{server.port}/0"
    connection = redis.Redis(port=server.port, password=REDIS_PASSWORD)
    with provider() as base_url:
        profile = {"kind": "openai", "base_url": base_url, "api_key_env": "CANARY_API_KEY"}
        lines = [f"{name} = {json.dumps(value)}" for name, value in profile.items()]
        config.write_text("\n".join(["[providers.p]", *lines, ""]))
        environment = {**KEYS, "PALAVER_REDIS_URL": url, "PALAVER_CONFIG": str(config)}
        settings = Settings(redis_url=url, secret=KEYS["PALAVER_SECRET"], config=str(config))
        with Client(settings) as client:
            sealed = client.seal({"kind": "openai", "base_url": base_url, "api_key": SEALED_KEY})
            models = [f"{name}/{model}" for name in ("p", sealed) for model in ("m", "refused")]
            handles = [client.submit(PROMPT, model=model, max_retries=0) for model in models]
            waiting = content_of(connection)
            words = ("palaver", "worker", "--loglevel", "DEBUG")
            worker = processes.start(words, name="worker", env=environment)
            errors = []
            for handle in handles:
                try:
                    assert handle.result(timeout=30).content == ANSWER
                except PalaverError as error:
                    errors.append(repr(error) + str(error) + repr(error.__dict__))
            assert len(errors) == 2
            assert all("Incorrect API key" in error for error in errors)
            told = repr([settings, client, handles, *(handle.view() for handle in handles)])
    ended = content_of(connection)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    worker.drained()
    assert "job.ended" in worker.output
    keys = [*KEYS.values(), SEALED_KEY, REDIS_PASSWORD]
    for key in keys:
        for place, content in {**waiting, **ended}.items():
            assert key.encode() not in content, f"{key} in {place}"
        assert key not in worker.output + told + repr(errors), key
    for word in (PROMPT, ANSWER):
        assert word not in worker.output + told + repr(errors)
        found = {place for place, content in {**waiting, **ended}.items() if word.encode() in content}
        assert found
        assert not [place for place in found if not LEDGER.match(place)]
