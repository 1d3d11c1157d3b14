"""Bytes of HTTP as they may come: requests that want another protocol, and junk behind a good one; and names
that no answer can tell as they came.
"""

import json
import logging
import re
import socket
import time
from typing import Any

import pytest

from palaver.producer.gateway import stream
from palaver.producer.gateway.protocol import MOST_BODY_WAITING
from palaver.shared.reader_tokens import make_reader_token
from tests.integration.gateway.conftest import new_session
from tests.integration.gateway.here import Here, begin
from tests.integration.ledger.world import World
from tests.servers import eventually

pytestmark = pytest.mark.redis

OF_JSON = {"content-type": "application/json"}
WHOLE = b"HTTP/1.1 201 "
H2C = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
WEBSOCKET = b"connection: Upgrade\r\nupgrade: websocket\r\n"
CONTENT = json.dumps({"context": {"a": "b" * 50}}).encode()
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(CONTENT), CONTENT)
BODIES = {
    "length": (b"content-length: %d\r\n" % len(CONTENT), CONTENT),
    "chunked": (b"transfer-encoding: chunked\r\n", CHUNKED),
}
JUNK = {
    "no HTTP": b"\x16\x03\x01 junk\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 300,
}


def of(here: Here) -> bytes:
    return f"host: x\r\nauthorization: Bearer {here.key}\r\ncontent-type: application/json\r\n".encode()


def answers(client: socket.socket, count: int) -> bytes:
    """What came until there were so many of them, whole."""
    got = b""
    while len(re.findall(rb'"jobs":\[\]}', got)) < count and (piece := client.recv(100_000)):
        got += piece
    return got


@pytest.mark.parametrize("upgrade", [H2C, WEBSOCKET], ids=["h2c", "websocket"])
def test_who_wants_another_protocol_is_answered_in_this_one(here: Here, upgrade: bytes) -> None:
    """Whatever pieces its request comes in, and whatever comes behind it."""
    for framing, body in BODIES.values():
        head = b"POST /sessions HTTP/1.1\r\n" + of(here) + upgrade + framing + b"\r\n"
        whole = head + body
        for cut in (0, len(head) - 1, len(head), len(head) + 9):
            with here.connect() as client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for piece in (whole[:cut], whole[cut:], whole):
                    client.sendall(piece)
                told = answers(client, 2)
                assert told.count(WHOLE) == told.count(b"b" * 50) == 2
    with here.connect() as client:
        get = b"GET /sessions/nobodys HTTP/1.1\r\n" + of(here) + upgrade + b"\r\n"
        plain = b"POST /sessions HTTP/1.1\r\n" + of(here) + BODIES["length"][0] + b"\r\n" + CONTENT
        client.sendall(get + plain + get + plain)
        told = answers(client, 2)
        assert re.findall(rb"HTTP/1.1 (\d+)", told) == [b"404", b"201"] * 2


@pytest.mark.parametrize("junk", JUNK.values(), ids=JUNK)
def test_junk_behind_a_stream_is_not_answered_in_it(here: Here, world: World, junk: bytes) -> None:
    job = world.submit(new_session(), tenant="acme")
    with here.connect() as client:
        client.sendall(f"GET /sessions/{job.session_id}/events HTTP/1.1\r\n".encode() + of(here) + b"\r\n")
        assert eventually(lambda: len(here.gateway.streams) == 1)
        begin(world, job, "a")
        client.sendall(junk)
        told = [b""]
        with pytest.raises(ConnectionResetError):
            told.extend(iter(lambda: client.recv(100_000), b""))
    assert b"".join(told).count(b"HTTP/1.1 ") <= 1
    assert eventually(lambda: not len(here.gateway.streams))


def test_a_large_body_does_not_wait_behind_an_answer(
    here: Here, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is read while a request waits, so who has left is known by what is sent: keep-alives."""
    monkeypatch.setattr(stream, "KEEP_ALIVE_SECONDS", 0.05)
    job = world.submit(new_session(), tenant="acme")
    head = f"GET /sessions/{job.session_id}/events HTTP/1.1\r\n".encode() + of(here) + b"\r\n"
    post = b"POST /sessions HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"
    for size, stays in ((MOST_BODY_WAITING, True), (MOST_BODY_WAITING + 1, False)):
        with here.connect() as client:
            client.sendall(head)
            assert eventually(lambda: len(here.gateway.streams) == 1)
            client.sendall(post % size + b" " * size)
            if not stays:
                with pytest.raises(ConnectionResetError):
                    b"".join(iter(lambda: client.recv(100_000), b""))
            else:
                begin(world, job, "a")
                told = b""
                while b"stream_start" not in told:
                    told += client.recv(100_000)
        assert eventually(lambda: not len(here.gateway.streams))


def test_a_bad_body_is_told_as_such(here: Here) -> None:
    with here.connect() as client:
        client.sendall(
            b"POST /sessions HTTP/1.1\r\n" + of(here) + b"transfer-encoding: chunked\r\n\r\nnonsense\r\n"
        )
        assert client.recv(12) == b"HTTP/1.1 400"


@pytest.mark.parametrize("last", [b"", b"connection: close\r\n"], ids=["", "last"])
def test_who_still_sends_what_was_refused_is_told_so(here: Here, last: bytes) -> None:
    """Also on a connection that ends then: closed at once, it would be reset, and the answer lost."""
    size = here.settings.gateway_body_bytes + 1
    with here.connect() as client:
        client.sendall(b"POST /sessions HTTP/1.1\r\n" + last + of(here))
        client.sendall(b"content-length: %d\r\n\r\n" % size + b" " * size)
        assert client.recv(12) == b"HTTP/1.1 413"
        if last:
            assert b"".join(iter(lambda: client.recv(100_000), b"")).endswith(b"}")
    assert eventually(lambda: not here.server.server_state.connections)


@pytest.mark.parametrize("job", ["%E2%82%AC", "a%0d%0ab", "%00"])
def test_a_reader_who_names_no_job_is_told_so(
    here: Here, world: World, caplog: pytest.LogCaptureFixture, job: str
) -> None:
    session_id = world.submit(new_session(), tenant="acme").session_id
    now = time.time()
    token = make_reader_token(world.settings, session_id, tenant="acme", seconds=60, now=now)
    with here.http(token) as http:
        answer = http.get(f"/sessions/{session_id}/events?job={job}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "job")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"metadata": {"palaver:\ud800\n": 1}}, "metadata.palaver:??"),
        ({"params": {"extra": {"\ud800\n": 1}}}, "params.extra.??"),
    ],
)
def test_a_name_that_no_encoding_can_carry_is_told_without_it(
    here: Here, world: World, caplog: pytest.LogCaptureFixture, fields: dict[str, Any], param: str
) -> None:
    session_id = world.submit(new_session(), tenant="acme").session_id
    body = json.dumps({"content": "x", **fields})
    with here.http(here.make_key(tenant="acme", tools=[])) as http:
        answer = http.post(f"/sessions/{session_id}/messages", content=body, headers=OF_JSON)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, param)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
