"""A loop on which no time passes but a ledger's, whose clock it moves: hours of waiting take seconds."""

import asyncio
import selectors
from typing import Any

from tests.faults.ledger_servers import EPOCH, Server


class VirtualLoop(asyncio.SelectorEventLoop):
    """Whoever sleeps on it goes on as soon as nobody else has anything to do before."""

    def __init__(self, server: Server) -> None:
        super().__init__(_Selector(server))
        self._server, self._ahead = server, 0

    def time(self) -> float:
        """Seconds since the run began: of all that the ledger's clock has, a float would lose some."""
        return (self._server.now + self._ahead - EPOCH) / 1000

    monotonic = time
    """So that it stands in for the module `time`."""

    def set_back(self, milliseconds: int) -> None:
        """The ledger's clock; the loop goes on as if nothing were."""
        self._ahead += milliseconds
        self._server.advance(-milliseconds)


class _Selector(selectors.SelectSelector):
    """Where a loop would wait for the world, time passes."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server

    def select(self, timeout: float | None = None) -> list[Any]:
        """Nothing ever comes from outside."""
        if timeout is None:
            raise AssertionError("everybody waits, and nothing is to come")
        if timeout > 0:
            self._server.advance(max(1, round(timeout * 1000)))
        return []
