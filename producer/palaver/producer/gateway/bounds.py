"""How large a request may be, and how slowly it may come. Pure ASGI: nothing stands between a stream and the
server.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import ExitStack
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palaver.producer.gateway.answers import request_id_headers
from palaver.producer.gateway.counting import UNROUTED, Counts
from palaver.producer.gateway.faults import RefusedBody, error_response
from palaver.shared.beside import whose
from palaver.shared.errors import (
    GatewayFullError,
    PalaverError,
    RequestTimeoutError,
    RequestTooLargeError,
    TooManyRequestsError,
)
from palaver.shared.settings import Settings

LEAVING: Final = "palaver.leaving"
"""In a request's scope: what is left once it is answered, streams to their end."""
BODY: Final = "palaver.body"
"""In a request's scope: what is to be called when its body is not needed any more."""
WATCHED: Final = ("/healthz", "/readyz", "/metrics")
"""Who asks for these decides whether the process lives: they are answered however full it is."""
_UPLOADS = "/v1/files"
_TAKE_NO_BODY: Final = ("GET", "HEAD", "DELETE")
_FORM_BYTES = 64 * 1024
"""What a form has beside the file in it."""
LEAST_RATE: Final = 8 * 1024
"""Bytes a second, on the whole: who sends or takes less for as long as a client may stall is given up."""
LARGEST_AT_ONCE: Final = 16
"""As many bodies of the largest size a process keeps at once in memory, and as many files on its disk until
they are stored, with all parts of others together.
"""
_SMALL_BYTES: Final = 64 * 1024
"""So much of each body is taken in whatever is kept of others."""
_NO_ROOM: Final = (
    "Many large bodies come in now, and no tenant has room for more of them than it leaves to others."
)
_FULL_SECONDS: Final = 5.0
"""After that a client may try again."""


class Bounds:
    """Refuses bodies that are too long, declared or not, or too many at once, and gives up those that do not
    come.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, counts: Counts) -> None:
        self._app = app
        self._counts = counts
        self._body_bytes = settings.gateway_body_bytes
        self._file_bytes = settings.files_max_bytes + _FORM_BYTES
        self._patience = settings.gateway_stall_seconds
        self._bodies = _Kept(LARGEST_AT_ONCE * self._body_bytes)
        self._files = _Kept(LARGEST_AT_ONCE * self._file_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_upload = scope["path"] == _UPLOADS
        limit = self._limit(scope["method"], is_upload=is_upload)
        if _declared(scope) > limit:
            refusal = _refusal(scope, _too_large(limit))
            self._counts.add(UNROUTED, refusal.status_code, 0.0)
            await refusal(scope, receive, send)
            return
        with ExitStack() as leaving:
            body = _Counted(receive, limit, self._patience, self._files if is_upload else self._bodies)
            leaving.callback(body.release)
            scope[LEAVING], scope[BODY] = leaving, body.release
            leaving.callback(scope.pop, BODY)  # it knows the server's request, which knows the scope
            await self._app(scope, body, send)

    def _limit(self, method: str, *, is_upload: bool) -> int:
        if method in _TAKE_NO_BODY:
            return min(_SMALL_BYTES, self._body_bytes)
        return self._file_bytes if is_upload else self._body_bytes


class WhenFull:
    """What serves connections beyond the bound: it answers whatever watches the process, and refuses all
    else.
    """

    def __init__(self, app: ASGIApp, counts: Counts) -> None:
        self._app = app
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["path"] in WATCHED:
            await self._app(scope, receive, partial(_send_last, send))
            return
        refusal = _refusal(scope, GatewayFullError(retry_after=_FULL_SECONDS))
        refusal.headers["connection"] = "close"
        self._counts.add("", refusal.status_code, 0.0)
        await refusal(scope, receive, send)


def _refusal(scope: Scope, error: PalaverError) -> Response:
    refusal = error_response(scope["path"], error)
    refusal.headers.update(request_id_headers(Request(scope)))
    return refusal


async def _send_last(send: Send, message: Message) -> None:
    """On connections beyond the bound nobody stays."""
    if message["type"] == "http.response.start":
        message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
    await send(message)


class _Kept:
    """Bytes of bodies that a process keeps, and the most it may. Nobody has more of them than he leaves to
    others: who comes next finds room, however much one sends, or leaves unfinished.
    """

    def __init__(self, most: int) -> None:
        self._most = self._left = most
        self._of: Counter[str] = Counter()

    def take(self, size: int, name: str) -> None:
        """For the tenant or key of this name. Raises RefusedBody if there is no room for it: with 429 for who
        has more than an equal share, else with 503.
        """
        has = self._of[name] + size
        if has > self._left - size:
            is_much = has > self._most / (len(self._of) + 1)
            error: type[PalaverError] = TooManyRequestsError if is_much else GatewayFullError
            raise RefusedBody(error(_NO_ROOM, retry_after=_FULL_SECONDS))
        self._left -= size
        self._of[name] += size

    def give_back(self, size: int, name: str) -> None:
        """They are kept no longer."""
        self._left += size
        self._of[name] -= size
        if not self._of[name]:
            del self._of[name]


class _Counted:
    """`receive`, which counts and does not wait for ever. What it gives is `kept` until it is released; from
    then on it is only asked for the client's leaving.
    """

    def __init__(self, receive: Receive, limit: int, patience: float, kept: _Kept) -> None:
        self._receive = receive
        self._limit = limit
        self._kept = kept
        self._taken = 0
        self._whose = ""
        self._loop = asyncio.get_running_loop()
        self._patience = patience
        self._deadline: float | None = self._loop.time() + patience
        self._size = 0
        self._is_released = False

    async def __call__(self) -> Message:
        if self._is_released:  # whatever comes of the body now is kept by nobody
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._until()):
                message = await self._receive()
        except TimeoutError:
            raise RefusedBody(
                RequestTimeoutError("The body of the request did not arrive in time.")
            ) from None
        came = len(message.get("body", b""))
        self._size += came
        if self._deadline is not None:
            self._deadline += came / LEAST_RATE
        if self._size > self._limit:
            raise RefusedBody(_too_large(self._limit))
        if (more := self._size - _SMALL_BYTES - self._taken) > 0:
            self._whose = self._whose or whose.get()  # known by now: bodies are read when it is
            self._kept.take(more, self._whose)
            self._taken += more
        if not message.get("more_body", False):  # from now on it is asked for the client's leaving
            self._deadline = None
        return message

    def release(self) -> None:
        """What has come is not needed any more."""
        self._kept.give_back(self._taken, self._whose)
        self._taken, self._is_released = 0, True

    def _until(self) -> float | None:
        """When the next piece is late: who sends fast at first may not be silent for longer than others."""
        return None if self._deadline is None else min(self._deadline, self._loop.time() + self._patience)


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:18])
    return 0


def _too_large(limit: int) -> PalaverError:
    return RequestTooLargeError(f"The body of the request is larger than {limit} bytes.")
