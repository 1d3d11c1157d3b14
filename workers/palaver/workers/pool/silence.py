"""A broker that says nothing, on a connection that stands: its node hangs, or its host is away.

Celery finds that out on the connection of its consumer, by RabbitMQ's heartbeat, and makes another one. A
worker has more of them: for events, and a pool for what it sends and asks. On these nobody looks for a
heartbeat, so whoever waits for an answer waits for so long at most; then that connection is not used again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

__all__ = ["SILENT_SECONDS", "bound", "leaving_the_silent"]

SILENT_SECONDS: Final = 10.0
"""A broker that says nothing for so long is gone, although its connection is open."""


def bound(connection: Any) -> None:
    """For `on_open` of py-amqp. Its own timeouts, of the kernel, do not hold with TLS nor within a frame."""
    connection.transport.sock.settimeout(SILENT_SECONDS)


@contextmanager
def leaving_the_silent(connection: Any) -> Iterator[None]:
    """Use a connection of a pool. If that fails, who takes it next connects anew; no farewell is said."""
    try:
        yield
    except Exception:
        connection.collect()
        raise
