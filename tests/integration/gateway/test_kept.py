"""What a process keeps of what strangers and single keys send: little, and it is told where that ends.

The gateway is in this process, and the test is the worker.
"""

import gc
import select
import socket
import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from palaver.producer.gateway import bounds, stream
from palaver.producer.gateway.access import owning
from palaver.producer.gateway.protocol import MOST_HEADERS
from palaver.producer.gateway.sessions import sessions
from palaver.producer.gateway.state import Gateway
from palaver.producer.gateway.stream import KEEP_ALIVE
from palaver.shared.jobs import Status
from tests.integration.gateway.conftest import new_session
from tests.integration.gateway.here import STALL_SECONDS, Here, begin, gateway_here
from tests.integration.ledger.world import World
from tests.servers import IN_TIME, eventually

pytestmark = pytest.mark.redis

CLIENTS = 40
IN_ONE_READ = 60_000
"""Bytes of a body that comes together with its head."""
_RESET = struct.pack("ii", 1, 0)
REFUSED = {
    "no key": b"POST /sessions HTTP/1.1\r\n",
    "no route": b"POST /nowhere HTTP/1.1\r\n",
    "no body taken": b"GET /healthz HTTP/1.1\r\n",
}


def test_a_session_that_is_removed_takes_no_job_any_more(here: Here, world: World) -> None:
    """It would be told of as taken, and be gone, or be there when all is said to be gone."""
    job = world.submit(new_session(), tenant="acme")
    world.claim(job)
    path = f"/sessions/{job.session_id}"
    with here.http() as http, ThreadPoolExecutor(1) as pool:
        removing = pool.submit(http.delete, path)
        assert eventually(lambda: world.field(job, "cancel"))
        late = http.post(f"{path}/messages", json={"content": "Hi"})
        assert (late.status_code, late.json()["error"]["code"]) == (409, "session_closed")
        world.finish(job, status=Status.CANCELLED)
        assert removing.result(IN_TIME).status_code == 204
        assert http.get(path).status_code == 404


def test_a_session_that_is_erased_while_a_message_comes_does_not_begin_anew(
    here: Here, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once its caller was found to have it: what is not there any more is no session of jobs either."""
    check = owning.check_session

    async def then_erased(gateway: Gateway, *args: Any) -> None:
        await check(gateway, *args)
        await gateway.conversations.erase(user="ann", tenant="acme")

    key = here.make_key(tenant="acme", user="ann")
    with here.http(key) as http:
        session_id = http.post("/sessions", json={}).json()["session_id"]
        monkeypatch.setattr(sessions, "check_session", then_erased)
        late = http.post(f"/sessions/{session_id}/messages", json={"content": "words"})
        assert (late.status_code, late.json()["error"]["code"]) == (404, "session_not_found")
    assert not [key for key in world.dump() if session_id.encode() in key]


def kept() -> int:
    """Bytes of bodies that requests hold, also those whose connection nobody knows any more."""
    return sum(len(one.body) for one in gc.get_objects() if type(one) is RequestResponseCycle)


# Bodies that nobody takes


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_body_is_not_kept(here: Here, name: str) -> None:
    """Neither while its connection stays, nor when it is reset with the answer unread."""
    request = REFUSED[name] + b"host: x\r\ncontent-length: %d\r\n\r\n" % IN_ONE_READ + b" " * IN_ONE_READ
    before = kept()
    with ExitStack() as stack:
        clients = [stack.enter_context(here.connect()) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(request)
        for client in clients:
            assert select.select([client], [], [], IN_TIME)[0]
        for client in clients[: CLIENTS // 2]:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            client.close()
        connections = here.server.server_state.connections
        assert eventually(lambda: len(connections) == CLIENTS // 2 and kept() - before < IN_ONE_READ)


def test_a_reset_connection_is_forgotten_at_once(here: Here) -> None:
    def cycles() -> int:
        return sum(type(one) is RequestResponseCycle for one in gc.get_objects())

    before = cycles()
    for _ in range(CLIENTS):
        with here.connect() as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert select.select([client], [], [], IN_TIME)[0]
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    assert eventually(lambda: cycles() - before < CLIENTS // 4)


def test_a_stream_keeps_nothing_of_its_requests_body(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it wait for it, or end by it."""
    monkeypatch.setattr(bounds, "LARGEST_AT_ONCE", 2)
    monkeypatch.setattr(stream, "KEEP_ALIVE_SECONDS", STALL_SECONDS / 2)
    settings = world.settings.model_copy(
        update={"gateway_body_bytes": 300_000, "gateway_stall_seconds": STALL_SECONDS}
    )
    job = world.submit(new_session(), tenant="acme")
    head = f"GET /sessions/{job.session_id}/events HTTP/1.1\r\nhost: x\r\n"
    with gateway_here(settings) as here, here.http() as http, here.connect() as long, here.connect() as late:
        head += f"authorization: Bearer {here.key}\r\n"
        long.sendall(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
        late.sendall(f"{head}content-length: 10\r\n\r\n".encode())
        for _ in range(10):
            long.sendall(b"%x\r\n%b\r\n" % (100_000, b" " * 100_000))
        for client in (long, late):
            assert b"200 OK" in client.recv(100)
        large: dict[str, Any] = {
            "content": b"{" + b" " * 250_000 + b"}",
            "headers": {"content-type": "application/json"},
        }
        assert http.post("/sessions", **large).status_code == 201
        assert read_until(late, KEEP_ALIVE, times=3).count(KEEP_ALIVE) >= 3  # longer than one may stall
        begin(world, job, "a")
        world.finish(job)
        for client in (long, late):
            assert b"stream_end" in read_until(client, b"stream_end")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_takes_no_body_takes_no_large_one(here: Here, method: str) -> None:
    with here.http() as http:
        refused = http.request(method, "/sessions/nobodys/events", content=b" " * 70_000)
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")
        assert http.request(method, "/sessions/nobodys", content=b" " * 60_000).status_code == 404


# Heads


@pytest.mark.parametrize(
    ("begun", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\nhost: x\r\n", 431),
        (b"POST /sessions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", 401),
    ],
    ids=["head", "trailers"],
)
def test_headers_are_so_many_at_most(here: Here, begun: bytes, status: int) -> None:
    with here.connect() as client:
        client.sendall(begun + b"a:\r\n" * (MOST_HEADERS + 1))
        assert client.recv(12) in (b"HTTP/1.1 431", b"HTTP/1.1 %d" % status)
        assert closed(client)


def test_as_many_headers_as_there_may_be_are_taken(here: Here) -> None:
    with here.connect() as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n" + b"a:\r\n" * (MOST_HEADERS - 1) + b"\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"


def read_until(client: socket.socket, wanted: bytes, *, times: int = 1) -> bytes:
    """What came until it came so often, or until the end."""
    got = b""
    while got.count(wanted) < times and (piece := client.recv(100_000)):
        got += piece
    return got


def closed(client: socket.socket) -> bool:
    """Whether the gateway ends the connection, without waiting for more."""
    try:
        while client.recv(100_000):
            pass
    except ConnectionError:
        pass
    return True
