"""What broken requests leave to the collector of garbage, which comes rarely: next to nothing."""

import gc
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest

from palaver.producer.gateway import asking
from tests.garbage import no_collector
from tests.integration.gateway.conftest import new_session
from tests.integration.gateway.here import APIS, BODY, Here, gateway_here
from tests.integration.ledger.world import World
from tests.servers import IN_TIME, RedisServer, eventually

pytestmark = pytest.mark.redis

TIMES = 50
"""Of each way to break one."""
LARGE = 100_000
"""Bytes of a body that is read in the thread."""
JSON = "content-type: application/json"
FORM = "content-type: multipart/form-data; boundary=x"
FILE = b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'


@pytest.fixture
def world(redis_server: RedisServer) -> Iterator[World]:
    world = World(redis_server, drain_seconds=1.0, gateway_stall_seconds=1.5)
    yield world
    world.close()


def post(path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """A request; KEY stands for the API key."""
    size = len(body) if length is None else length
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {size}", "authorization: Bearer KEY"]
    return "\r\n".join([*lines, *(headers or (JSON,)), "", ""]).encode() + body


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer KEY\r\n\r\n".encode()


def asked(**fields: Any) -> bytes:
    return json.dumps({**BODY, "max_tokens": 10, **fields}).encode()


ANSWERED = {
    "not JSON": post(APIS[0], b"{"),
    "not JSON, large": post(APIS[0], b"{" * LARGE),
    "not valid": post(APIS[0], asked(n="many")),
    "not valid, large": post(APIS[0], asked(n="many", user="a" * LARGE)),
    "not valid of Anthropic's": post(APIS[1], asked(max_tokens="many")),
    "not valid of a session": post("/sessions", b'{"agent": 7}'),
    "not allowed": post(APIS[0], asked(metadata={"palaver:background": "1"})),
    "too long": post(APIS[0], b"", length=10**9),
    "late": post(APIS[0], b"{", length=100),
    "late, of a file": post("/v1/files", FILE, FORM, length=10_000),
    "no form": post("/v1/files", b"nonsense", FORM),
    "no file": post("/v1/files", b"--x--\r\n", FORM),
    "no key": post(APIS[0], asked()).replace(b"KEY", b"plv_nobody_nothing"),
    "no route": get("/nowhere"),
    "no method": post("/healthz", b""),
    "no session": get("/sessions/nobodys"),
    "no job": get("/jobs/nobodys"),
    "no number": get("/sessions?limit=many"),
    "no HTTP": b"\x16\x03\x01\r\n\r\n",
}
LEFT = {
    "left before its body": post(APIS[0], b"", length=1000),
    **{f"left in its body, of {path}": post(path, b"{" + b" " * LARGE, length=LARGE * 2) for path in APIS},
    "left in its file": post("/v1/files", FILE + b"a" * LARGE, FORM, length=LARGE * 2),
    **{f"left before its answer, of {path}": post(path, asked()) for path in APIS},
    "left before its answer, cancelled": post(APIS[0], asked(), JSON, "x-palaver-on-disconnect: cancel"),
}
STREAMS = {
    "stream of a session": get("/sessions/SESSION/events"),
    **{f"stream of {path}": post(path, asked(stream=True)) for path in APIS[:2]},
    "stream of /v1/responses": post(
        APIS[2], json.dumps({"model": BODY["model"], "input": "Hi", "stream": True}).encode()
    ),
}
WAYS = STREAMS | ANSWERED | LEFT


def test_broken_requests_leave_next_to_nothing_in_cycles(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cycle of each would be more than two objects a request, and may hold a body, or a connection."""
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.05)
    session_id = world.submit(new_session(), tenant="acme").session_id
    found = {}
    with gateway_here(world.settings) as here:

        def break_off(name: str, times: int) -> None:
            words = WAYS[name].replace(b"KEY", here.key.encode()).replace(b"SESSION", session_id.encode())
            ask_and_leave(here, words, answered=name not in LEFT, times=times)

        for name in WAYS:  # what is loaded or opened once is so then
            break_off(name, TIMES if name in STREAMS else 2)
        with no_collector():
            for name in WAYS:
                break_off(name, TIMES)
                if gc.collect() > 2 * TIMES:  # unless that was of a script that Redis did not know yet
                    break_off(name, TIMES)
                    found[name] = gc.collect()
    assert {name: count for name, count in found.items() if count > 2 * TIMES} == {}


def ask_and_leave(here: Here, words: bytes, *, answered: bool, times: int) -> None:
    """Ask so often, leave without an answer or with its first words, and wait until all is over."""
    address = urlsplit(here.url).hostname, urlsplit(here.url).port
    with ExitStack() as stack:
        clients = list[socket.socket]()
        for _ in range(times):
            clients.append(stack.enter_context(socket.create_connection(address, IN_TIME)))
            clients[-1].sendall(words)  # at once: who says nothing for too long is cut off without a word
        for client in clients if answered else ():
            assert client.recv(12).startswith(b"HTTP/1.1 ")
    state = here.server.server_state
    assert eventually(lambda: not state.connections and not state.tasks)
