"""Messages to a worker in the same process, without a broker: for tests of programs that hand in jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

__all__ = ["SCHEME", "Receiver", "receiver_at", "receiving"]

SCHEME: Final = "inprocess"
"""Of a broker URL that means a worker in this process: `inprocess://NAME`."""

Receiver = Callable[[str, Sequence[Any]], None]
"""Takes a task's name and arguments, in the thread of whoever sends them, and returns at once."""

_receivers: dict[str, Receiver] = {}


@contextmanager
def receiving(url: str, receiver: Receiver) -> Iterator[None]:
    """Have messages to this URL taken by the receiver meanwhile."""
    _receivers[url] = receiver
    try:
        yield
    finally:
        del _receivers[url]


def receiver_at(url: str) -> Receiver | None:
    """Who takes messages to this URL in this process; None: nobody does."""
    return _receivers.get(url)
