"""Large answers to clients that take them slowly: whole for who takes them, and little of them at once."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.integration.gateway.conftest import new_session
from tests.integration.gateway.here import STALL_SECONDS, Here, gateway_here
from tests.integration.ledger.world import World
from tests.servers import eventually

pytestmark = pytest.mark.redis

MB = 1024 * 1024
OF_A_DOWNLOAD = 512 * 1024
"""Bytes of one that may wait for its client in the process."""
MESSAGE = b'{"role":"assistant","content":"%b"}' % (b"~" * MB)
MESSAGES = 10


@pytest.fixture
def patient(world: World, tmp_path: Path) -> Iterator[Here]:
    """A gateway with files, on which nobody may take nothing for long."""
    values = {"gateway_stall_seconds": STALL_SECONDS, "files_url": f"file://{tmp_path}"}
    with gateway_here(world.settings.model_copy(update=values)) as here:
        yield here


@contextmanager
def asking(here: Here, path: str) -> Iterator[socket.socket]:
    """It has asked for it; its system keeps little for it."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
        client.settimeout(10)
        client.connect((urlsplit(here.url).hostname, urlsplit(here.url).port))
        head = f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {here.key}"
        client.sendall(f"{head}\r\n\r\n".encode())
        yield client


def waiting(here: Here) -> int:
    """Bytes that the process keeps for its clients."""
    connections: Any = here.server.server_state.connections
    return sum(connection.transport.get_write_buffer_size() for connection in list(connections))


def taken_slowly(here: Here, client: socket.socket) -> tuple[int, int]:
    """2.5 MB a second, to its end: how many `~` came, and the most bytes that have waited meanwhile."""
    count = since_last = most = 0
    while piece := client.recv(64 * 1024):
        count += piece.count(b"~")
        since_last += len(piece)
        most = max(most, waiting(here))
        if since_last >= MB:
            time.sleep(0.4)
            since_last = 0
    return count, most


def answered_messages(world: World) -> str:
    """The path of an answer that is written as a whole, and large."""
    job = world.submit(new_session(), tenant="acme")
    world.claim(job)
    world.finish(job, history=[MESSAGE] * MESSAGES)
    return f"/sessions/{job.session_id}/messages"


def test_a_download_goes_at_its_clients_pace(patient: Here) -> None:
    with patient.http() as http:
        file = {"file": ("a.txt", b"~" * 20 * MB)}
        uploaded = http.post("/v1/files", files=file, data={"purpose": "user_data"}).json()
    with asking(patient, f"/v1/files/{uploaded['id']}/content") as client:
        count, most = taken_slowly(patient, client)
    assert count == 20 * MB
    assert most < OF_A_DOWNLOAD


def test_a_large_answer_may_be_taken_slowly(patient: Here, world: World) -> None:
    with asking(patient, answered_messages(world)) as client:
        assert taken_slowly(patient, client)[0] >= MESSAGES * MB


def test_a_large_answer_is_kept_for_nobody_who_takes_none_of_it(patient: Here, world: World) -> None:
    with asking(patient, answered_messages(world)) as client:
        assert eventually(lambda: waiting(patient) > MB)
        assert eventually(lambda: not patient.server.server_state.connections, seconds=2 * STALL_SECONDS)
        with pytest.raises(ConnectionResetError):
            b"".join(iter(lambda: client.recv(MB), b""))
