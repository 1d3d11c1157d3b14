"""What nobody can take from others: connections, requests, bodies that do not come, answers unread.

The gateway is in this process, and the test is the worker.
"""

import gc
import logging
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.requests import ClientDisconnect

from palaver.producer.gateway import asking, bounds, stream
from palaver.producer.gateway.protocol import MOST_BEYOND, MOST_HEADER_BYTES, MOST_WAITING
from palaver.shared.ledger.replies import Submitted
from palaver.shared.reader_tokens import make_reader_token
from tests.integration.gateway.conftest import SECRET, new_session
from tests.integration.gateway.here import APIS, BODY, STALL_SECONDS, Here, begin, gateway_here
from tests.integration.gateway.sse import following, until_end
from tests.integration.ledger.world import World
from tests.servers import IN_TIME, RedisServer, eventually

pytestmark = pytest.mark.redis

OF_JSON = {"content-type": "application/json"}
MORE = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.fixture
def world(redis_server: RedisServer) -> Iterator[World]:
    world = World(
        redis_server, secret=SECRET, drain_seconds=1.0, gateway_token_requests=2, gateway_connections=6
    )
    yield world
    world.close()


# Too many


def test_a_full_gateway_still_says_that_it_lives(here: Here, world: World) -> None:
    job = world.submit(new_session(), tenant="acme")
    with ExitStack() as stack, here.http() as late:
        http = stack.enter_context(here.http())
        for _ in range(world.settings.gateway_connections):
            stack.enter_context(following(http, job.session_id))
        assert [late.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [200] * 3
        own = late.get("/sessions")
        chat, message = (late.post(path, json={**BODY, "max_tokens": 1}) for path in APIS[:2])
        for refused in (own, chat, message):
            assert refused.status_code == 503
            assert (refused.headers["retry-after"], refused.headers["connection"]) == ("5", "close")
        assert own.json()["error"]["code"] == chat.json()["error"]["code"] == "gateway_full"
        assert message.json()["error"]["type"] == "overloaded_error"
        assert 'palaver_gateway_requests_total{route="",status="503"} 3' in late.get("/metrics").text
    with here.http() as http:
        assert eventually(lambda: http.get("/sessions").status_code == 200)


def test_who_only_stays_gives_way(here: Here, world: World) -> None:
    with ExitStack() as stack:
        for _ in range(2 * world.settings.gateway_connections):
            idle = stack.enter_context(here.http())
            assert [idle.get(path).status_code for path in ("/healthz", "/sessions")] == [200, 200]


def test_connections_beyond_the_bound_are_few(here: Here, world: World) -> None:
    job = world.submit(new_session(), tenant="acme")
    address = (urlsplit(here.url).hostname, urlsplit(here.url).port)
    with ExitStack() as stack:
        http = stack.enter_context(here.http())
        for _ in range(world.settings.gateway_connections):
            stack.enter_context(following(http, job.session_id))
        for _ in range(2 * MOST_BEYOND):
            stack.enter_context(socket.create_connection(address, IN_TIME))
        with here.http() as late:
            for _ in range(2):
                answer = late.get("/healthz")
                assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        count = world.settings.gateway_connections + MOST_BEYOND
        assert len(here.server.server_state.connections) <= count


def test_one_token_cannot_take_a_process(here: Here, world: World) -> None:
    job = world.submit(new_session(), tenant="acme")

    def token(seconds: float) -> str:
        return make_reader_token(
            world.settings, job.session_id, tenant="acme", seconds=seconds, now=time.time()
        )

    path = f"/sessions/{job.session_id}"
    with here.http(token(60)) as http, here.http(token(61)) as other:
        with following(http, job.session_id), following(http, job.session_id):
            refused = http.get(path)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
            assert other.get(path).status_code == 200
        assert eventually(lambda: http.get(path).status_code == 200)


def test_a_key_cannot_make_itself_more_room(world: World) -> None:
    """Not by tokens, each of which has a bound of its own."""
    settings = world.settings.model_copy(update={"gateway_key_requests": 3})
    job = world.submit(new_session(), tenant="acme")
    path = f"/sessions/{job.session_id}"
    with gateway_here(settings) as here, here.http() as http, ExitStack() as stack:
        made = [http.post(f"{path}/tokens", json={"seconds": 60 + at}).json()["token"] for at in range(3)]
        for token in made:
            stack.enter_context(following(stack.enter_context(here.http(token)), job.session_id))
        for credential in (made[0], here.key):
            with here.http(credential) as late:
                assert late.get(path).status_code == 429


def test_a_token_reads_so_often_a_minute(world: World) -> None:
    settings = world.settings.model_copy(update={"gateway_token_per_minute": 1})
    job = world.submit(new_session(), tenant="acme")
    token = make_reader_token(world.settings, job.session_id, tenant="acme", seconds=60, now=time.time())
    with gateway_here(settings) as here, here.http(token) as http:
        answers = [http.get(f"/sessions/{job.session_id}") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert float(answers[1].headers["retry-after"]) > 0


# Slow and broken senders


@contextmanager
def sending(here: Here, path: str, *headers: str) -> Iterator[socket.socket]:
    """It has said how much it will send, and none of it."""
    with here.connect() as sender:
        lines = [f"POST {path} HTTP/1.1", "host: x", "content-length: 1000000", *headers]
        sender.sendall("\r\n".join([*lines, "", ""]).encode())
        yield sender


@pytest.mark.parametrize("path", ["/sessions", "/v1/files", *APIS])
def test_without_a_key_no_body_is_waited_for(here: Here, path: str) -> None:
    for headers in ((), ("authorization: Bearer plv_nobody_nothing",)):
        with sending(here, path, "content-type: multipart/form-data; boundary=x", *headers) as sender:
            assert sender.recv(12) == b"HTTP/1.1 401"


def test_a_body_may_not_trickle(world: World) -> None:
    settings = world.settings.model_copy(update={"gateway_stall_seconds": STALL_SECONDS})
    with gateway_here(settings) as here:
        with sending(here, "/sessions", "content-type: application/json", bearer(here)) as sender:
            assert trickled(sender).startswith(b"HTTP/1.1 408")
        with sending(here, "/sessions") as refused:
            assert trickled(refused).startswith(b"HTTP/1.1 401"), "and then it was cut off"


@pytest.mark.parametrize("path", ["/sessions", *APIS])
def test_who_leaves_in_the_middle_of_a_body_leaves_nothing(here: Here, path: str) -> None:
    gc.collect()  # what others have left
    gc.disable()  # what is only free when somebody comes to collect is not free
    try:
        with sending(here, path, "content-type: application/json", bearer(here)) as sender:
            sender.sendall(b"{" + b" " * 900_000)
        assert eventually(lambda: answered(here, 400))
        assert eventually(lambda: not [one for one in gc.get_objects() if type(one) is ClientDisconnect])
    finally:
        gc.enable()


def answered(here: Here, status: int) -> bool:
    """Whether the gateway has counted an answer of this status."""
    requests = next(iter(here.gateway.counts.families(streams=0, feeds=0)))[1]
    return any(sample.labels[1] == str(status) for sample in requests)


def test_bodies_take_only_so_much_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """And of one tenant only as much as it leaves to others."""
    monkeypatch.setattr(bounds, "LARGEST_AT_ONCE", 2)
    settings = world.settings.model_copy(update={"gateway_body_bytes": 1_000_000})
    with gateway_here(settings) as here, here.http() as http:
        other = here.make_key(tenant="other")
        with large_body(here) as first, large_body(here) as second:
            status, told = first_told(first, second)
            assert status == 429
            assert b"no tenant has room for more" in told
            assert http.post("/sessions", json={}).status_code == 201
            with here.http(other) as others:
                assert others.post("/sessions", content=padded(300_000), headers=OF_JSON).status_code == 201
        for _ in range(3):  # one after the other they have room
            assert http.post("/sessions", content=padded(1_000_000), headers=OF_JSON).status_code == 201


def test_a_body_may_not_be_silent_for_long(world: World) -> None:
    """Neither when most of it came at once."""
    settings = world.settings.model_copy(update={"gateway_stall_seconds": STALL_SECONDS})
    with gateway_here(settings) as here, large_body(here) as sender:
        assert sender.recv(12) == b"HTTP/1.1 408"


def test_a_stream_takes_no_room_for_its_body(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "LARGEST_AT_ONCE", 2)
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.05)
    settings = world.settings.model_copy(update={"gateway_body_bytes": 1_000_000})
    body = {**BODY, "stream": True, "max_tokens": 10}
    body["messages"] = [{"role": "user", "content": "x" * 600_000}]
    with gateway_here(settings) as here, here.http() as http, ExitStack() as stack:
        for path in APIS[:2]:  # the second while the first is told
            assert stack.enter_context(http.stream("POST", path, json=body)).status_code == 200


@contextmanager
def large_body(here: Here, key: str | None = None, size: int = 600_000) -> Iterator[socket.socket]:
    """It sends so much of it."""
    with sending(here, "/sessions", "content-type: application/json", bearer(here, key)) as sender:
        sender.sendall(b"{" + b" " * (size - 1))
        yield sender


def padded(size: int) -> bytes:
    """A body that opens a session."""
    return b"{" + b" " * (size - 2) + b"}"


def first_told(*senders: socket.socket) -> tuple[int, bytes]:
    """What the first of them is told that is told something: its status and body, in however many pieces."""
    told, _, _ = select.select(senders, [], [], IN_TIME)
    with HTTPResponse(told[0]) as answer:
        answer.begin()
        return answer.status, answer.read()


def bearer(here: Here, key: str | None = None) -> str:
    return f"authorization: Bearer {key or here.key}"


def trickled(sender: socket.socket) -> bytes:
    """What is told to one who sends a byte each 50 ms, until he is cut off."""
    got, until = b"", time.monotonic() + IN_TIME
    sender.settimeout(0.05)
    while time.monotonic() < until:
        try:
            with suppress(ConnectionError):  # what was told before it was cut off is read all the same
                sender.sendall(b" ")
            if not (piece := sender.recv(10_000)):
                return got
            got += piece
        except TimeoutError:
            continue
        except ConnectionError:
            return got
    raise AssertionError("he still may")


# Slow readers


def is_waiting_for_somebody(here: Here) -> bool:
    """Whether the gateway has more for a client than its connection takes."""
    connections: Any = here.server.server_state.connections
    return any(connection.flow.write_paused for connection in list(connections))


def is_unsent(here: Here, stuck: socket.socket) -> int:
    """Bytes that the gateway's system keeps for this client, if it still does."""
    ends = [urlsplit(here.url).port, stuck.getsockname()[1]]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if [int(address.rpartition(":")[2], 16) for address in words[1:3]] == ends:
            return int(words[4].partition(":")[0], 16)
    return 0


@contextmanager
def stuck_reader(here: Here, session_id: str, more: bytes = b"") -> Iterator[socket.socket]:
    """It asks for the session's events and `more`, and takes none."""
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.settimeout(IN_TIME)
        stuck.connect((urlsplit(here.url).hostname, urlsplit(here.url).port))
        head = f"GET /sessions/{session_id}/events HTTP/1.1\r\nhost: x\r\n"
        stuck.sendall(f"{head}authorization: Bearer {here.key}\r\n\r\n".encode())
        assert eventually(lambda: len(here.gateway.streams) == 1)
        if more:  # once what it asked first is being answered
            stuck.sendall(more)
        yield stuck


def say_much(world: World, here: Here, job: Submitted) -> list[dict[str, Any]]:
    """More than the kernels of both sides take, so that who takes nothing has the gateway wait; what another
    reader is told meanwhile.
    """
    with here.http() as http, following(http, job.session_id) as events:
        begin(world, job, *["x" * 400_000] * 25)
        world.finish(job)
        told_whole = until_end(events, job.job_id)
    assert [len(event["data"].get("delta", "")) for event in told_whole].count(400_000) == 25
    return told_whole


def test_who_takes_nothing_costs_only_himself(here: Here, world: World) -> None:
    job = world.submit(new_session(), tenant="acme")
    with stuck_reader(here, job.session_id) as stuck:
        told_whole = say_much(world, here, job)
        assert eventually(lambda: is_waiting_for_somebody(here))
        assert 0 < is_unsent(here, stuck) < 512 * 1024
        got = bytearray()
        while b"stream_end" not in got[-1000:]:
            got += stuck.recv(1_000_000)  # he reads at last, and misses nothing
    for event in told_whole:
        assert b'"seq":%d,' % event["seq"] in got


@pytest.mark.parametrize("more", [b"", MORE], ids=["", "pipelining"])
def test_who_takes_nothing_for_long_is_cut_off(
    world: World, more: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    settings = world.settings.model_copy(update={"gateway_stall_seconds": STALL_SECONDS})
    job = world.submit(new_session(), tenant="acme")
    with gateway_here(settings) as here, stuck_reader(here, job.session_id, more) as stuck:
        say_much(world, here, job)
        assert eventually(lambda: not len(here.gateway.streams)), "it waits for nobody for ever"
        assert eventually(lambda: is_unsent(here, stuck) == 0), "the system keeps nothing for it either"
        with pytest.raises(ConnectionResetError):
            b"".join(iter(lambda: stuck.recv(1_000_000), b""))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR], "it was meant"


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux can be told how long")
def test_what_is_left_of_a_closed_connection_is_not_offered_for_long(world: World) -> None:
    settings = world.settings.model_copy(update={"gateway_stall_seconds": STALL_SECONDS})
    with gateway_here(settings) as here, socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect((urlsplit(here.url).hostname, urlsplit(here.url).port))
        stuck.sendall(b"GET /openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert eventually(lambda: is_unsent(here, stuck) > 0 and not here.server.server_state.connections)
        assert eventually(lambda: is_unsent(here, stuck) == 0)


def test_who_pipelines_and_leaves_is_gone(here: Here, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "KEEP_ALIVE_SECONDS", 0.05)
    job = world.submit(new_session(), tenant="acme")
    with stuck_reader(here, job.session_id, MORE):
        pass
    assert eventually(lambda: not len(here.gateway.streams))


def test_who_sends_more_requests_than_may_wait_is_cut_off(here: Here) -> None:
    with here.connect() as client:
        client.sendall(MORE * (1 + MOST_WAITING))
        got = bytearray()
        while got.count(b"200 OK") < 1 + MOST_WAITING:
            got += client.recv(1_000_000)
    with here.connect() as client, pytest.raises((ConnectionResetError, BrokenPipeError)):
        ask_in_heaps(client)


def test_who_wants_a_websocket_is_answered_and_not_logged(
    here: Here, caplog: pytest.LogCaptureFixture
) -> None:
    with here.http() as http:
        wanted = {"connection": "upgrade", "upgrade": "websocket"}
        assert http.get("/healthz", headers=wanted).status_code == 200
    assert not caplog.records


def test_what_is_no_request_is_counted_and_not_logged(here: Here, caplog: pytest.LogCaptureFixture) -> None:
    head = b"GET /healthz HTTP/1.1\r\nhost: x\r\n"
    for sent, status in (
        (b"\x16\x03\x01\x02\x00\x01 of TLS", 400),
        (head + b"content-length: many\r\n\r\n", 400),
        (head + b"x-long: " + b"a" * MOST_HEADER_BYTES + b"\r\n\r\n", 431),
    ):
        with here.connect() as client:
            client.sendall(sent)
            assert client.recv(12) == b"HTTP/1.1 %d" % status
    with here.http() as http:
        page = http.get("/metrics").text
    for status, count in ((400, 2), (431, 1)):
        assert f'palaver_gateway_requests_total{{route="",status="{status}"}} {count}' in page
    assert not caplog.records


def test_what_no_route_has_seen_is_counted_too(here: Here) -> None:
    with here.http() as http:
        large = b" " * (here.settings.gateway_body_bytes + 1)
        refused = [http.get("/nowhere"), http.get("/sessions/"), http.put("/sessions")]
        refused.append(http.post("/sessions", content=large))
        assert http.get("/jobs/nobodys").status_code == 404
        lines = http.get("/metrics").text.splitlines()
    assert all(answer.headers["x-request-id"] for answer in refused)
    assert [answer.status_code for answer in refused] == [404, 404, 405, 413]
    counted = "palaver_gateway_requests_total"
    assert {line for line in lines if line.startswith(counted)} == {
        f'{counted}{{route="unrouted",status="404"}} 2.0',
        f'{counted}{{route="unrouted",status="405"}} 1.0',
        f'{counted}{{route="unrouted",status="413"}} 1.0',
        f'{counted}{{route="/jobs/{{job_id}}",status="404"}} 1.0',
    }


@pytest.mark.parametrize(
    "begun",
    [
        b"GET /healthz HTTP/1.1\r\nx-long: ",
        b"GET /healthz HTTP/1.1\r\nhost: x\r\n",
        b"POST /sessions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-long: ",
    ],
    ids=["value", "name", "trailer"],
)
def test_a_header_without_an_end_is_not_kept(here: Here, begun: bytes) -> None:
    with here.connect() as client, pytest.raises((ConnectionResetError, BrokenPipeError)):
        client.sendall(begun + b"a" * 20_000_000)


def test_what_is_told_is_what_is_counted(world: World, tmp_path: Path) -> None:
    """Another's file is told as one that never was."""
    settings = world.settings.model_copy(update={"files_url": f"file://{tmp_path}"})
    with (
        gateway_here(settings) as here,
        here.http() as http,
        here.http(here.make_key(tenant="other")) as other,
    ):
        file = {"file": ("a.txt", b"a")}
        uploaded = http.post("/v1/files", files=file, data={"purpose": "user_data"}).json()
        assert other.get(f"/v1/files/{uploaded['id']}").status_code == 404
        page = http.get("/metrics").text
    assert 'palaver_gateway_requests_total{route="/v1/files/{file_id}",status="404"} 1' in page


def ask_in_heaps(client: socket.socket) -> None:
    client.sendall(MORE * 20_000)
    b"".join(iter(lambda: client.recv(1_000_000), b""))
