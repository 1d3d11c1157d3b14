"""The workers' HTTP client: the only module that knows aiohttp.

One `HttpClient` serves one event loop: pooled connections with an explicit limit, no cookies, no
redirects, no retries (the runner owns those), read timeouts between bytes. Foreign exceptions become ours
by `EXCEPTIONS`.

A body is poured, not pulled: what arrives is handed on in the turn of the loop in which it was read, without
waking a task, which would cost a stream more than all that is done with its bytes. For the same reason
nothing stands in front of aiohttp: httpx with aiohttp below it doubles what a request costs.

A request that met a kept connection which its server had closed is sent once more, over a new one: this is
no retry, as it says nothing about the provider, and must not cost a job one. That a connection was closed is
known at once; one that ends later has brought the request, whose work may have to be paid.
"""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import os
import urllib.request
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Self, cast
from urllib.parse import urlsplit

import aiohttp
import aiohttp.http_exceptions
import orjson
from aiohttp.connector import Connection
from multidict import CIMultiDictProxy

from palaver.shared import outage
from palaver.shared.errors import (
    ConfigurationError,
    ConnectionError,
    InternalError,
    MalformedStreamError,
    PalaverError,
    StreamInterruptedError,
    TimeoutError,
)
from palaver.shared.jobs import Timeouts
from palaver.workers.event_log import event_logger
from palaver.workers.frames import forget_frames
from palaver.workers.pour import Pour, Silences, Take, TellingWire

logger = event_logger("palaver.workers.http")

Kinds = tuple[type[PalaverError], type[PalaverError]]
_BROKEN: Final[Kinds] = (ConnectionError, StreamInterruptedError)
_LATE: Final[Kinds] = (TimeoutError, TimeoutError)
_SETTINGS: Final[Kinds] = (ConfigurationError, ConfigurationError)
_NO_HTTP: Final[Kinds] = (MalformedStreamError, StreamInterruptedError)

EXCEPTIONS: Final[dict[type[BaseException], Kinds]] = {
    aiohttp.ServerTimeoutError: _LATE,
    aiohttp.ClientConnectionError: _BROKEN,
    aiohttp.ClientPayloadError: _BROKEN,
    aiohttp.ClientHttpProxyError: _BROKEN,
    aiohttp.ClientResponseError: _NO_HTTP,
    aiohttp.http_exceptions.HttpProcessingError: _NO_HTTP,
    aiohttp.InvalidURL: _SETTINGS,
    aiohttp.NonHttpUrlClientError: _SETTINGS,
    aiohttp.RedirectClientError: _SETTINGS,
    aiohttp.ClientError: _BROKEN,
    builtins.TimeoutError: _LATE,
    OSError: _BROKEN,
    ValueError: _SETTINGS,
}
"""What a foreign exception means while a response is opened, and while its body is read. The nearest class
counts.
"""

_FOREIGN: Final = tuple(EXCEPTIONS)
_CLOSED: Final = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)
"""What aiohttp says, before any byte of the response, of a connection that the server has closed."""
_AT_ONCE: Final = 1.0
"""Seconds within which the news of a closed connection comes, however far the server is."""
_ON_KEPT: Final = ContextVar[float | None]("on_kept", default=None)
"""When, on the loop's clock, the request that a task has sent last was given a connection that had served
another one; None: it had served none.
"""
_ON_NEW: Final = ContextVar("on_new", default=False)
"""Whether the next request of a task is to go over a connection that has served none."""
_WORDS: Final[dict[type[PalaverError], str]] = {
    ConnectionError: "cannot be reached",
    TimeoutError: "did not answer in time",
    StreamInterruptedError: "broke the connection off in the middle of its answer",
    MalformedStreamError: "sent something that is not HTTP",
    ConfigurationError: "cannot be asked; look at base_url, headers and proxies of the profile",
}
# Compressing proxies gather a stream until a block is full; a chat wants each token at once.
_HEADERS: Final = {"user-agent": "palaver", "accept": "*/*", "accept-encoding": "identity"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request. Headers and body stay out of the repr, since they hold keys and content."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    json: Any = field(default=None, repr=False)
    content: bytes | None = field(default=None, repr=False)  # a body that is no JSON
    timeouts: Timeouts = field(default_factory=Timeouts)
    proxies: Mapping[str, str] | None = field(default=None, repr=False)  # None: the environment's; {}: none


@dataclass(frozen=True, slots=True)
class _Source:
    """What errors tell of a request, without what it asked."""

    url: str
    timeouts: Timeouts


class HttpResponse:
    """An open response: `status`, `headers` (case-insensitive), and the body as it arrives. Leaving the block
    that it manages closes it.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        source: _Source,
        deadline: float | None,
        silences: Silences,
    ) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._source = source
        self._deadline = deadline
        self._silences = silences
        self._body = response.content
        connection = response.connection  # None: the body has come with the headers
        self._wire = None if connection is None else cast("TellingWire", connection.protocol)
        if self._wire is not None:
            self._wire.read_timeout = None  # aiohttp would set a timer at each read; a `Pour` sets none

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._response.release()  # closes the connection, unless the body was read to its end

    async def pour(self, take: Take) -> bool:
        """Give `take` all that arrives, until the body ends (True) or `take` has enough (False).

        What `take` raises comes out here. Another call goes on where the last one stopped.
        """
        silence = self._source.timeouts.read_seconds
        pour = Pour(self._body, self._wire, take, silence=silence, silences=self._silences)
        try:
            pour.begin()
            async with asyncio.timeout_at(self._deadline):
                return await pour.ended
        except _FOREIGN as error:
            failure = _mapped(error, self._source, reading=True)
        finally:
            pour.stop()
        raise failure

    async def read(self, limit: int) -> bytes:
        """The whole body, cut off at `limit` bytes."""
        body = bytearray()

        def take(data: bytes) -> bool:
            body.extend(data)
            return len(body) < limit

        await self.pour(take)
        return bytes(body[:limit])

    async def rest(self, take: Take, patience: float) -> None:
        """Pour what still comes within `patience` seconds; errors only end it. A body read to its end frees
        its connection.
        """
        with contextlib.suppress(PalaverError, builtins.TimeoutError):
            async with asyncio.timeout(patience):
                await self.pour(take)


class _Response(aiohttp.ClientResponse):
    """One that forgets its request once that is answered: what was sent with it would be kept for as long as
    the body lasts.
    """

    _request_info: Any

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        return self._headers  # aiohttp would make a dict of them and other things that nobody asks for

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        await super().start(connection)
        self._request_info = None
        return self


class _Connector(aiohttp.TCPConnector):
    """Connections whose ends are `TellingWire`s. aiohttp has no other way to hear of what was read; a trace
    of its own would tell which connections were kept, at a fifth of what a request costs.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(TellingWire, loop=asyncio.get_running_loop())  # type: ignore[assignment]

    async def connect(self, *request: Any, **options: Any) -> Connection:
        connection = await super().connect(*request, **options)
        while _ON_NEW.get() and cast("TellingWire", connection.protocol).kept:
            connection.close()  # where one was closed by its server, the others most likely are
            connection = await super().connect(*request, **options)
        wire = cast("TellingWire", connection.protocol)
        _ON_KEPT.set(asyncio.get_running_loop().time() if wire.kept else None)
        wire.kept = True
        return connection


class HttpClient:
    """Connections for one event loop of one process. It opens on its first request; close it with
    `aclose`.
    """

    def __init__(self, *, max_connections: int = 4096, keepalive_seconds: float = 30.0) -> None:
        self._max_connections = max_connections
        self._keepalive_seconds = keepalive_seconds
        self._environment = urllib.request.getproxies_environment()
        self._session: aiohttp.ClientSession | None = None
        self._owner: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._closed = False
        self._silences = Silences()

    async def send(self, request: HttpRequest) -> HttpResponse:
        """The response, once its headers are there; for `async with`, since it has to be closed.

        Raises the errors of `EXCEPTIONS`; a status of 400 and above is no error here.
        """
        source = _Source(request.url, request.timeouts)
        total = request.timeouts.total
        deadline = None if total is None else asyncio.get_running_loop().time() + total
        asked = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._open(request)
        except _FOREIGN as error:
            failure = _mapped(error, source, reading=False)
            self._log(request, asked, failure.type)
        else:
            self._log(request, asked, response.status)
            return HttpResponse(response, source, deadline, self._silences)
        raise failure

    async def aclose(self) -> None:
        """Close all connections. May be called twice; requests after it are refused."""
        self._closed = True
        self._silences.close()
        if self._session is not None:
            await self._session.close()

    async def _open(self, request: HttpRequest) -> aiohttp.ClientResponse:
        timeouts = request.timeouts
        headers = dict(request.headers)
        if request.json is not None:
            headers.setdefault("content-type", "application/json")
        send = partial(
            self._opened().request,
            request.method,
            request.url,
            headers=headers,
            data=request.content if request.json is None else _packed(request.json),
            proxy=proxy_for(request.url, request.proxies, self._environment),
            allow_redirects=False,
            # `connect` is for the whole of waiting, resolving and connecting.
            timeout=aiohttp.ClientTimeout(
                connect=timeouts.connect_seconds,
                sock_connect=timeouts.connect_seconds,
                sock_read=timeouts.read_seconds,
            ),
        )
        _ON_KEPT.set(None)
        _ON_NEW.set(False)
        try:
            return await send()
        except _CLOSED:
            given = _ON_KEPT.get()
            if given is None or asyncio.get_running_loop().time() - given > _AT_ONCE:
                raise
        _ON_NEW.set(True)
        return await send()

    def _log(self, request: HttpRequest, asked: float, status: int | str) -> None:
        url, seconds = _shown(request.url), asyncio.get_running_loop().time() - asked
        logger.debug("http.request", method=request.method, url=url, status=status, seconds=seconds)

    def _opened(self) -> aiohttp.ClientSession:
        owner = (os.getpid(), asyncio.get_running_loop())
        if self._closed or (self._owner is not None and self._owner != owner):
            raise InternalError("An HTTP client was used after its end, or by another event loop or process.")
        self._owner = owner
        if self._session is None:
            self._session = self._new_session()
        return self._session

    def _new_session(self) -> aiohttp.ClientSession:
        connector = _Connector(
            limit=self._max_connections,
            keepalive_timeout=self._keepalive_seconds,
            resolver=aiohttp.ThreadedResolver(),  # the system's, whatever else is installed
        )
        # The session must not keep cookies: it serves every tenant's jobs.
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            response_class=_Response,
        )


def _packed(document: Any) -> bytes:
    """It as JSON, in no more memory than that takes: what orjson returns holds 4 KB, however little is in it,
    and a hole of that size for each stream is left where a thousand wait for their answers.
    """
    return bytes(memoryview(orjson.dumps(document)))


def proxy_for(url: str, proxies: Mapping[str, str] | None, environment: Mapping[str, str]) -> str | None:
    """The proxy's URL for a request: of `proxies` (keys `http`, `https`, `all`), or if that is None, of the
    environment's variables, `no_proxy` respected. Raises ConfigurationError for a proxy that is not HTTP."""
    parts = urlsplit(url)
    if proxies is None:
        if urllib.request.proxy_bypass_environment(parts.netloc, dict(environment)):  # type: ignore[attr-defined]
            return None
        proxies = environment
    by_scheme = {key.lower().rstrip(":/"): value for key, value in proxies.items()}
    proxy = by_scheme.get(parts.scheme) or by_scheme.get("all")
    if proxy is None:
        return None
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    if urlsplit(proxy).scheme not in ("http", "https"):
        raise ConfigurationError(f"The proxy for {parts.scheme} is not an http:// or https:// address.")
    return proxy


def _mapped(error: BaseException, source: _Source, *, reading: bool) -> PalaverError:
    if isinstance(error, PalaverError):
        return error
    kinds = next(EXCEPTIONS[base] for base in type(error).__mro__ if base in EXCEPTIONS)
    kind = kinds[reading]
    told = kind(f"{_origin(source.url)} {_WORDS[kind]} ({_reason(error, source.timeouts)}).")
    forget_frames(error)  # it is known to futures that they hold
    return told


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _shown(url: str) -> str:
    """For the log: without what may hold a key, its user and its query."""
    return f"{_origin(url)}{urlsplit(url).path}"


def _reason(error: BaseException, timeouts: Timeouts) -> str:
    if isinstance(error, aiohttp.SocketTimeoutError):
        return f"nothing came for {timeouts.read_seconds:g} s"
    if isinstance(error, aiohttp.ServerTimeoutError):
        return f"no connection within {timeouts.connect_seconds:g} s"
    if isinstance(error, builtins.TimeoutError):
        return f"the answer took longer than {timeouts.total or 0:g} s"
    resolved = not isinstance(error, aiohttp.ClientConnectorDNSError)  # which has words of its own
    if isinstance(error, aiohttp.ClientConnectorError) and resolved and error.__cause__ is not None:
        return outage.reason(error.__cause__)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
