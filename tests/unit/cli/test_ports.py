"""Which port a part of `palaver dev` takes."""

import socket
from collections.abc import Iterator

import pytest

from palaver.producer.cli import ports
from tests.servers import free_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((ports.HOST, 0)) as server:
        yield server.getsockname()[1]


def test_the_usual_one_if_it_is_free_else_another(taken: int) -> None:
    usual = free_port()
    assert ports.choose(None, usual) == usual
    assert ports.choose(None, taken) not in (taken, 0)


def test_the_connections_of_the_last_server_do_not_count() -> None:
    with socket.create_server((ports.HOST, 0)) as server:
        usual = server.getsockname()[1]
        with socket.create_connection((ports.HOST, usual)) as client:
            accepted, _ = server.accept()
            accepted.close()  # first: its side of the connection lingers
            assert client.recv(1) == b""
    assert ports.choose(None, usual) == usual


def test_what_was_asked_for_taken_or_not_and_any_for_0(taken: int) -> None:
    assert ports.choose(taken, 6379) == taken
    assert ports.choose(0, 6379) not in (0, 6379)
