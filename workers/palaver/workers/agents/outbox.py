"""The way of an agent's words to the loop of the streams, from whatever thread the agent runs in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from palaver.shared.errors import AgentError, WrongStateError

__all__ = ["Outbox", "Piece", "Start", "Told"]


@dataclass(frozen=True, slots=True)
class Start:
    """The agent begins to write, and what it says of that."""

    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Told:
    """An event: a widget, an object."""

    kind: str
    data: Mapping[str, Any] = field(repr=False)


Piece: TypeAlias = str | Start | Told
"""What an agent may say at once; a string is text of its answer."""


class Outbox:
    """One answer's pieces, handed to `take` on the loop in the order in which they were put.

    `put` never waits: one agent that writes fast must not hold up the others on its loop. What bounds it is
    the size of the whole answer, `most` bytes.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[Piece], None], *, most: int) -> None:
        self.loop = loop
        self._take = take
        self._most = most
        self._lock = threading.Lock()
        self._pieces: list[Piece] = []
        self._size = 0
        self._called = False  # the loop will deliver
        self._closed = False

    def put(self, piece: Piece, size: int = 0) -> None:
        """Say a piece of so many bytes. From any thread.

        Raises WrongStateError when the answer has ended, AgentError for one that becomes too large.
        """
        with self._lock:
            if self._closed:
                raise WrongStateError("The answer has ended: nobody reads what the agent says now.")
            self._size += size
            if self._size > self._most:
                raise AgentError(f"The agent's answer is larger than {self._most} bytes.")
            self._pieces.append(piece)
            called, self._called = self._called, True
        if not called:
            self.loop.call_soon_threadsafe(self.deliver)

    def deliver(self) -> None:
        """Hand over what was put so far. On the loop."""
        with self._lock:
            pieces, self._pieces = self._pieces, []
            self._called = False
        for piece in pieces:
            self._take(piece)

    def close(self) -> None:
        """Take nothing more."""
        with self._lock:
            self._closed = True
