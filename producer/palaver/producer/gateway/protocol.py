"""One connection: uvicorn's, with bounds of size, time and number."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from weakref import ref

import httptools
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from palaver.producer.gateway.bounds import LEAST_RATE
from palaver.producer.gateway.counting import Counts
from palaver.producer.gateway.stream import CUT

_log = logging.getLogger("uvicorn.error.connection")
_log.setLevel(logging.ERROR)  # of what strangers send, no requests or for WebSockets, it has a warning each

MOST_HEADER_BYTES: Final = 64 * 1024
MOST_HEADERS: Final = 200
"""Of a request, with those behind its body: each costs more memory than its bytes."""
MOST_BEYOND: Final = 64
"""Connections beyond the bound, each for one request: enough for all who watch a process."""
MOST_WAITING: Final = 8
"""Requests that wait for the answer to another of their connection; hardly any client sends one before it
has that.
"""
MOST_BODY_WAITING: Final = 16 * 1024
"""Bytes of the bodies of those that wait, together: nobody else counts them."""
_BETWEEN: Final = len(": \r\n")
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)
_HASTE_SECONDS: Final = 5.0
"""For the head of a request, while there are more connections than there may be."""
_FORGET_AT_ONCE: Final = struct.pack("ii", 1, 0)


class Room:
    """The connections of a process that others may have to give way to: each was the longest without a
    request, or beyond the bound, when it stood first.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.idle: dict[Protocol, None] = {}
        self.beyond: dict[Protocol, None] = {}

    def enter(self, connection: Protocol, count: int) -> bool:
        """A connection more, which makes them so many: is there room, or is it one beyond the bound?"""
        is_beyond = count > self.most and not _cut_first(self.idle)
        if is_beyond:
            if len(self.beyond) >= MOST_BEYOND:
                _cut_first(self.beyond)
            self.beyond[connection] = None
        else:
            self.idle[connection] = None
        return not is_beyond

    def begin(self, connection: Protocol) -> None:
        """It is answered now."""
        self.idle.pop(connection, None)

    def rest(self, connection: Protocol) -> None:
        """It was answered."""
        if connection not in self.beyond:
            self.idle[connection] = None

    def leave(self, connection: Protocol) -> None:
        """It is closed."""
        self.idle.pop(connection, None)
        self.beyond.pop(connection, None)


def _cut_first(connections: dict[Protocol, None]) -> bool:
    first = next(iter(connections), None)
    if first is None:
        return False
    del connections[first]
    first.cut()
    return True


class Protocol(HttpToolsProtocol):
    """A connection. Its request's head is bounded in size and time, and what it does not take is not kept.

    Beyond the bound of `room` it is served by `when_full`, and has to be quick. A request's scope has what
    cuts it, as the extension CUT.
    """

    stall_seconds = 60.0
    room: Room
    when_full: ASGIApp
    counts: Counts

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.logger = _log
        self._head_bytes = 0
        self._header_count = 0
        self._untold = 0
        self._is_half_closed = False
        self._answered: RequestResponseCycle | None = None
        self._coming = _Deadline(self.loop)
        self._taking = _Deadline(self.loop)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        super().connection_made(transport)
        if not self.room.enter(self, len(self.connections)):
            self.app = self.when_full
            self.stall_seconds = min(self.stall_seconds, _HASTE_SECONDS)
        self._coming.begin(self.stall_seconds, self.cut)

    def connection_lost(self, exc: Exception | None) -> None:
        self._coming.lift()
        self._taking.lift()
        self.room.leave(self)
        self._tell_gone()
        self._unset_keepalive_if_required()  # uvicorn does so only where the client has not broken off
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_half_closed:
            return
        self._untold += len(data)
        self._unset_keepalive_if_required()
        try:
            self._parse(data)
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")
        if self._untold > MOST_HEADER_BYTES:  # the parser keeps them until it knows a header's end
            self.send_400_response("")
        resting = self.cycle is not None and self.cycle.response_complete
        if resting and self.timeout_keep_alive_task is None and not self.transport.is_closing():
            self._coming.begin_once(self.stall_seconds, self.cut)  # what came was no request

    def _parse(self, data: bytes) -> None:
        """Unlike uvicorn's, it reads on behind a head that asks for another protocol, which a server may
        ignore (RFC 9110, 7.8): the parser takes no body of such a request, so a new one is given the head
        without that.
        """
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if not self._is_upgrading():  # CONNECT, which was answered
                    return
                data = self._plain_head() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
            else:
                return

    def _is_upgrading(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _plain_head(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def on_message_begin(self) -> None:
        self._check_waiting(is_little=len(self.pipeline) < MOST_WAITING)
        self._head_bytes = self._header_count = self._untold = 0
        self._coming.begin(self.stall_seconds, self.cut)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        self._count(len(name) + len(value) + _BETWEEN)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_upgrading():  # it comes again
            return
        self._coming.lift()  # for the body there is a deadline of its own, see bounds.py
        self.room.begin(self)
        super().on_headers_complete()
        self.cycle.transport = _Gentle(self.transport, ref(self))  # type: ignore[assignment] # all it uses
        self.scope["extensions"] = {CUT: {"now": partial(_cut_response, ref(self.cycle))}}

    def on_body(self, body: bytes) -> None:
        self._untold = 0
        super().on_body(body)
        waiting = sum(len(cycle.body) for cycle, _ in self.pipeline)
        self._check_waiting(is_little=waiting <= MOST_BODY_WAITING)

    def on_message_complete(self) -> None:
        if self._is_upgrading():
            return
        self._coming.lift()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        is_last = not self.pipeline
        if self._answered is not None:
            self._answered.body = bytearray()  # nobody took it, and uvicorn keeps the last request
        if self._is_half_closed:
            self.flow.resume_reading()
            self.room.rest(self)
            return
        super().on_response_complete()
        if is_last and not self.transport.is_closing():
            self.room.rest(self)
            if self.cycle.more_body:  # it was answered unread, and is thrown away now
                self._coming.begin(self.stall_seconds, self.cut)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_taking()

    def resume_writing(self) -> None:
        self._taking.lift()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        if self.transport.is_closing():
            return
        is_large = self._is_head_too_large() or self._untold > MOST_HEADER_BYTES
        self.counts.add("", 431 if is_large else 400, 0.0)
        if self._is_answering():
            self.cut()
        elif is_large:
            self.transport.write(_TOO_LARGE)
            self.transport.close()
        else:
            super().send_400_response(msg)

    def close(self) -> None:
        """Be closed behind an answer. While its request still comes, that would reset the connection, and
        most clients would not see the answer: they are left to end it (RFC 9112, 9.6).
        """
        cycle = self._answered
        if cycle is None or not cycle.more_body or self.transport.is_closing():
            self.transport.close()
            return
        self._is_half_closed = True
        self._coming.begin(self.stall_seconds, self.cut)
        self.transport.write_eof()

    def cut(self) -> None:
        """Be closed at once. What the client did not take is not offered any longer: the system would keep it
        for minutes.
        """
        connection = self.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _FORGET_AT_ONCE)
        self.transport.abort()
        self._tell_gone()

    def _await_taking(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._taking.begin(self.stall_seconds, partial(self._check_taken, left))

    def _check_taken(self, before: int) -> None:
        """A large answer that is written as a whole takes its time, as a large body may."""
        taken = before - self.transport.get_write_buffer_size()
        if taken < self.stall_seconds * LEAST_RATE:
            self.cut()
        else:
            self._await_taking()

    def _is_answering(self) -> bool:
        """Whether what is said now would be taken for a part of an answer, or for one to another request."""
        cycle = self._answered
        if cycle is None or cycle.response_complete:
            return False
        return cycle.response_started or not cycle.more_body

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _tell_gone(self) -> None:
        """uvicorn tells the last request that came; that before it, which is still answered, would wait."""
        if self._answered is not None and not self._answered.response_complete:
            self._answered.disconnected = True
            self._answered.message_event.set()

    def _check_waiting(self, is_little: bool) -> None:
        if not is_little:
            self.cut()  # no answer is said in the middle of another
            raise ValueError("too much waits")  # so that no more of it is parsed

    def _count(self, size: int) -> None:
        self._untold = 0
        self._head_bytes += size
        if self._is_head_too_large():  # uvicorn answers through send_400_response
            raise ValueError("the head of the request is too large")

    def _is_head_too_large(self) -> bool:
        return self._head_bytes > MOST_HEADER_BYTES or self._header_count > MOST_HEADERS


class _Gentle:
    """A connection's transport, as its answers have it."""

    __slots__ = ("_connection", "is_closing", "write")

    def __init__(self, transport: asyncio.Transport, connection: ref[Protocol]) -> None:
        self.write, self.is_closing = transport.write, transport.is_closing
        self._connection = connection

    def close(self) -> None:
        """See `Protocol.close`; a connection that is gone is closed."""
        if (connection := self._connection()) is not None:
            connection.close()


class _Deadline:
    """Calls `late` unless it is lifted in time. It does not know whom otherwise: connections are many, and no
    cycle is to keep them when they are closed.
    """

    __slots__ = ("_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, seconds: float, late: Callable[[], None]) -> None:
        """Anew, if it has begun."""
        self.lift()
        self._timer = self._loop.call_later(seconds, late)

    def begin_once(self, seconds: float, late: Callable[[], None]) -> None:
        """If it has not begun."""
        if self._timer is None:
            self.begin(seconds, late)

    def lift(self) -> None:
        """There is none any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _cut_response(weak: ref[RequestResponseCycle]) -> None:
    """Close the connection of an answer that will have no end."""
    if (cycle := weak()) is None:  # its scope knows this: it is gone with the request
        return
    cycle.disconnected = True  # else uvicorn takes it for a fault of ours, and logs it
    cycle.transport.close()
