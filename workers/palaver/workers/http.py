"""The workers' HTTP client: the only module that knows httpx and its aiohttp transport.

One `HttpClient` serves one event loop: pooled connections with an explicit limit, no cookies, no
redirects, no retries (the runner owns those), read timeouts between bytes. Foreign exceptions become ours
by `EXCEPTIONS`.

A request that met a kept connection which its server had closed is sent once more: this is no retry, as it
says nothing about the provider, and must not cost a job one.
"""

import asyncio
import builtins
import contextlib
import http.cookiejar
import logging
import os
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import aiohttp.http_exceptions
import httpx
import orjson
from httpx_aiohttp import AiohttpTransport

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

# httpx logs every request's whole URL at INFO, query and all; the worker logs its requests itself.
logging.getLogger("httpx").setLevel(logging.WARNING)

Kinds = tuple[type[PalaverError], type[PalaverError]]
_BROKEN: Final[Kinds] = (ConnectionError, StreamInterruptedError)
_LATE: Final[Kinds] = (TimeoutError, TimeoutError)
_SETTINGS: Final[Kinds] = (ConfigurationError, ConfigurationError)
_NO_HTTP: Final[Kinds] = (MalformedStreamError, StreamInterruptedError)
_OURS: Final[Kinds] = (InternalError, InternalError)

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
    httpx.TimeoutException: _LATE,
    httpx.NetworkError: _BROKEN,
    httpx.ProxyError: _BROKEN,
    httpx.RemoteProtocolError: _NO_HTTP,
    httpx.LocalProtocolError: _SETTINGS,
    httpx.UnsupportedProtocol: _SETTINGS,
    httpx.InvalidURL: _SETTINGS,
    httpx.TooManyRedirects: _SETTINGS,
    httpx.DecodingError: (MalformedStreamError, MalformedStreamError),
    httpx.HTTPError: _BROKEN,
    httpx.StreamError: _OURS,
    httpx.CookieConflict: _OURS,
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
_ON_KEPT: Final = ContextVar("on_kept", default=False)
"""Whether the request that a task has sent last went over a connection that had served another one."""
_WORDS: Final[dict[type[PalaverError], str]] = {
    ConnectionError: "cannot be reached",
    TimeoutError: "did not answer in time",
    StreamInterruptedError: "broke the connection off in the middle of its answer",
    MalformedStreamError: "sent something that is not HTTP",
    ConfigurationError: "cannot be asked; look at base_url, headers and proxies of the profile",
    InternalError: "was asked in a way that the HTTP client does not allow",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """One request. Headers and body stay out of the repr, since they hold keys and content."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    json: Any = field(default=None, repr=False)
    timeouts: Timeouts = field(default_factory=Timeouts)
    proxies: Mapping[str, str] | None = field(default=None, repr=False)  # None: the environment's; {}: none


class HttpResponse:
    """An open response: `status`, `headers` (case-insensitive), and the body as it arrives."""

    def __init__(self, response: httpx.Response, request: HttpRequest, deadline: float | None) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self._request = request
        self._deadline = deadline
        # aiter_bytes would add a layer per chunk; it is needed only to undo a compression.
        plain = response.headers.get("content-encoding", "identity") == "identity"
        self._body = aiter(response.stream if plain else response.aiter_bytes())  # type: ignore[arg-type]

    def chunks(self) -> "HttpResponse":
        """The body's bytes, one network read each; a second call goes on where the first one stopped."""
        return self

    def __aiter__(self) -> "HttpResponse":
        return self

    async def __anext__(self) -> bytes:
        try:
            if self._deadline is None:
                return await anext(self._body)
            async with asyncio.timeout_at(self._deadline):
                return await anext(self._body)
        except _FOREIGN as error:
            failure = _mapped(error, self._request, reading=True)
        raise failure

    async def read(self, limit: int) -> bytes:
        """The whole body, cut off at `limit` bytes."""
        pieces: list[bytes] = []
        size = 0
        async for data in self:
            pieces.append(data)
            size += len(data)
            if size >= limit:
                break
        return b"".join(pieces)[:limit]

    async def rest(self, patience: float) -> list[bytes]:
        """What still comes within `patience` seconds; errors only end it. A body read to its end frees its
        connection.
        """
        pieces: list[bytes] = []
        with contextlib.suppress(PalaverError, builtins.TimeoutError):
            async with asyncio.timeout(patience):
                async for data in self:
                    pieces.append(data)  # noqa: PERF401  # a comprehension would lose what came before an error
        return pieces


class HttpClient:
    """Connections for one event loop of one process. It opens on its first request; close it with
    `aclose`.
    """

    def __init__(self, *, max_connections: int = 4096, keepalive_seconds: float = 30.0) -> None:
        self._limits = httpx.Limits(
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=keepalive_seconds,
        )
        self._environment = urllib.request.getproxies_environment()
        self._clients: dict[str | None, httpx.AsyncClient] = {}
        self._session: aiohttp.ClientSession | None = None
        self._owner: tuple[int, asyncio.AbstractEventLoop] | None = None
        self._closed = False

    @contextlib.asynccontextmanager
    async def stream(self, request: HttpRequest) -> AsyncIterator[HttpResponse]:
        """Send, and hand out the response once its headers are there. Leaving the block closes it.

        Raises the errors of `EXCEPTIONS`; a status of 400 and above is no error here.
        """
        loop = asyncio.get_running_loop()
        total = request.timeouts.total
        deadline = None if total is None else loop.time() + total
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._open(request)
        except _FOREIGN as error:
            if isinstance(error, PalaverError):
                raise
            failure = _mapped(error, request, reading=False)
        else:
            try:
                yield HttpResponse(response, request, deadline)
            finally:
                await _close(response)
            return
        raise failure

    async def aclose(self) -> None:
        """Close all connections. May be called twice; requests after it are refused."""
        self._closed = True
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()
        if self._session is not None:
            await self._session.close()

    async def _open(self, request: HttpRequest) -> httpx.Response:
        client = self._client(proxy_for(request.url, request.proxies, self._environment))
        timeouts = request.timeouts
        content = None if request.json is None else orjson.dumps(request.json)
        headers = dict(request.headers)
        if content is not None:
            headers.setdefault("content-type", "application/json")
        built = client.build_request(
            request.method,
            request.url,
            headers=headers,
            content=content,
            # The transport takes the pool's time for the whole of waiting, resolving and connecting.
            timeout=httpx.Timeout(
                connect=timeouts.connect, read=timeouts.read, write=timeouts.read, pool=timeouts.connect
            ),
        )
        return await _send(client, built)

    def _client(self, proxy: str | None) -> httpx.AsyncClient:
        owner = (os.getpid(), asyncio.get_running_loop())
        if self._closed or (self._owner is not None and self._owner != owner):
            raise InternalError("An HTTP client was used after its end, or by another event loop or process.")
        self._owner = owner
        client = self._clients.get(proxy)
        if client is None:
            client = self._clients[proxy] = self._new_client(proxy)
        return client

    def _new_client(self, proxy: str | None) -> httpx.AsyncClient:
        context = httpx.create_ssl_context()
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=self._limits.max_connections or 0,
                keepalive_timeout=self._limits.keepalive_expiry,
                ssl=context,
            )
            tracing = aiohttp.TraceConfig()
            tracing.on_connection_reuseconn.append(_note_kept)
            # All proxies share one pool. The session must not keep cookies: it serves every tenant's jobs.
            self._session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[tracing]
            )
        transport = AiohttpTransport(
            verify=context,
            limits=self._limits,
            proxy=None if proxy is None else httpx.Proxy(proxy),
            client=self._session,
        )
        return httpx.AsyncClient(
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            cookies=http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[])),
            # Compressing proxies gather a stream until a block is full; a chat wants each token at once.
            headers={"user-agent": "palaver", "accept-encoding": "identity"},
        )


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


async def _send(client: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    _ON_KEPT.set(False)
    try:
        return await client.send(request, stream=True)
    except httpx.HTTPError as error:
        if not (_ON_KEPT.get() and isinstance(error.__cause__, _CLOSED)):
            raise
    return await client.send(request, stream=True)


async def _note_kept(*_: object) -> None:
    _ON_KEPT.set(True)


async def _close(response: httpx.Response) -> None:
    try:
        await response.aclose()
    except _FOREIGN:
        # The response is over either way; its connection broke while it was being given back.
        logging.getLogger(__name__).debug("http.close_failed", exc_info=True)


def _mapped(error: BaseException, request: HttpRequest, *, reading: bool) -> PalaverError:
    if isinstance(error, PalaverError):
        return error
    # The transport calls nearly every broken connection a ConnectTimeout; aiohttp's own exception knows
    # better.
    root = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
    kinds = next(EXCEPTIONS[base] for base in type(root).__mro__ if base in EXCEPTIONS)
    kind = kinds[reading]
    return kind(f"{_origin(request.url)} {_WORDS[kind]} ({_reason(root, request.timeouts)}).")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _reason(error: BaseException, timeouts: Timeouts) -> str:
    if isinstance(error, aiohttp.SocketTimeoutError | httpx.ReadTimeout):
        return f"nothing came for {timeouts.read:g} s"
    if isinstance(error, aiohttp.ServerTimeoutError | httpx.TimeoutException):
        return f"no connection within {timeouts.connect:g} s"
    if isinstance(error, builtins.TimeoutError):
        return f"the answer took longer than {timeouts.total or 0:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
