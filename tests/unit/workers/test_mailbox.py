"""What is posted to Celery's thread is done, also where its turn ends by an error."""

import pytest
from kombu.asynchronous import Hub

from palaver.workers.pool.mailbox import Mailbox

BEFORE = 50
"""So many callbacks raise: which of a turn is called first is the hub's own affair."""


def test_what_was_posted_as_a_connection_was_lost_is_done_on_the_next() -> None:
    hub, mailbox = Hub(), Mailbox()
    done: list[str] = []
    mailbox.attach(hub)
    next(hub.create_loop())
    mailbox.post(lambda: done.append("posted"))
    for _ in range(BEFORE):
        hub.call_soon(_lose)
    with pytest.raises(ConnectionResetError):
        next(hub.create_loop())
    mailbox.attach(hub)
    next(hub.create_loop())
    assert done == ["posted"]


def _lose() -> None:
    raise ConnectionResetError


def test_what_is_left_to_be_read_of_the_connection_before_is_not() -> None:
    hub, mailbox = Hub(), Mailbox()
    done: list[str] = []

    def _read(_: Hub) -> None:
        """As kombu names what it has called next."""
        raise ConnectionResetError

    mailbox.attach(hub)
    hub.call_soon(_read, hub)
    hub.call_soon(done.append, "acknowledged")
    mailbox.attach(hub)
    hub.close()
    assert done == ["acknowledged"]
