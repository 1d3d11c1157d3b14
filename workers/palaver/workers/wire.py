"""The client's end of a connection over HTTP, for servers that nobody trusts.

Before its answer a server may say `100 Continue` or `103 Early Hints` as often as it likes. aiohttp reads on
for as long as that comes: the loop does nothing else meanwhile, and what was read waits in memory.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from aiohttp import StreamReader
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError

__all__ = ["Wire"]

SWITCHING: Final = 101
MOST_INTERIM: Final = 16
"""Responses before the answer, which are passed over; beyond that the connection is given up."""
AT_ONCE: Final = 8 * 1024
"""Bytes that are read at once until the head of the answer has come: hundreds of such responses."""


class Wire(ResponseHandler):
    """One that bears a few responses before the answer."""

    __slots__ = ("_answered", "_interim")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._answered = False
        self._interim = 0

    def set_response_params(self, **params: Any) -> None:
        """A request is about to be made."""
        self._answered, self._interim = False, 0
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        if self._answered or len(data) <= AT_ONCE:
            super().data_received(data)
            return
        for start in range(0, len(data), AT_ONCE):
            if self.exception() is None:
                super().data_received(data[start : start + AT_ONCE])

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """A head has come."""
        if 100 <= data[0].code < 200 and data[0].code != SWITCHING:
            self._pass_over()
        else:
            self._answered = True
            super().feed_data(data, size)

    def _pass_over(self) -> None:
        self._interim += 1
        if self._interim > MOST_INTERIM and self.exception() is None:
            self.set_exception(HttpProcessingError(message="no answer, but many responses before it"))
            if self.transport is not None:
                self.transport.abort()
