"""A PostgreSQL that says nothing, on a connection that stands: its machine hangs, or is away.

The timeout of a statement is kept by the server, and psycopg waits for ever. Who cancels that waits on, for
the server to confirm it; so the connection is shut, of which psycopg makes its error.
"""

import asyncio
import os
import socket
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.rows import TupleRow

__all__ = ["connector"]

R = TypeVar("R")


def connector(seconds: float) -> Any:
    """What makes connections, for SQLAlchemy: each ends when it has no answer after so long."""

    class Bounded(_Connection):
        silent_seconds = seconds

    return Bounded.connect


class _Connection(psycopg.AsyncConnection[TupleRow]):
    silent_seconds: float

    async def wait(self, gen: PQGen[R], *args: Any, **options: Any) -> R:
        """All that this connection waits for, it waits for here."""
        silent = asyncio.get_running_loop().call_later(self.silent_seconds, self._shut)
        try:
            return await super().wait(gen, *args, **options)
        finally:
            silent.cancel()

    def _shut(self) -> None:
        with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(self.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)
