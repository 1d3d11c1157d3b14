"""The requests of webhooks: to addresses that users of our users name, so never into one's own network.

Every address that a name stands for is looked at when the connection is made, and the connection is made to
that very address: a name cannot mean another one a moment later. Redirects are not followed, and of the
answer nothing is read but its head.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

import aiohttp
from aiohttp import AddrInfoType
from aiohttp.abc import AbstractResolver, ResolveResult

from palaver.shared.webhooks import Network, may_be_called
from palaver.workers.providers.errors import retry_after
from palaver.workers.webhooks.names import Forgetful
from palaver.workers.wire import Wire

__all__ = ["Answer", "Calls", "Guard"]

_LONGEST_HEAD: Final = 8190


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request: a `status`, or `problem`, why there is none."""

    status: int | None = None
    retry_after: float = 0.0  # seconds
    problem: str = ""

    @property
    def taken(self) -> bool:
        """Whether the receiver has got it."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def unwanted(self) -> bool:
        """Whether the receiver wants no more of them."""
        return self.status == 410

    def __str__(self) -> str:
        return self.problem or f"HTTP {self.status}"


class Guard(AbstractResolver):
    """Resolves names to addresses that may be called; OSError for a name that has none."""

    def __init__(self, allowed: tuple[Network, ...], resolver: AbstractResolver) -> None:
        self._allowed = allowed
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """See `AbstractResolver`; a name with one forbidden address is not called at all."""
        found = await self._resolver.resolve(host, port, family)
        if not all(may_be_called(_address(each["host"]), self._allowed) for each in found):
            raise _ForbiddenError
        return found

    async def close(self) -> None:
        """See `AbstractResolver`."""
        await self._resolver.close()


class _ForbiddenError(OSError):
    """The name stands for an address in a network that may not be called."""


class _Connector(aiohttp.TCPConnector):
    """Connections whose ends are `Wire`s."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(Wire, loop=asyncio.get_running_loop())  # type: ignore[assignment]


class Calls:
    """Makes requests while it is open (`async with`), with at most so many `seconds` for each.

    Names are looked up by c-ares, unless a test has another `resolver`. The system's own function would need
    a thread for each lookup, and nothing takes that back from a slow name server: a few tenants with such
    names could have all threads there are. (Any argument, as `rotate`, makes it one that nobody shares.)
    """

    def __init__(
        self,
        *,
        allowed: tuple[Network, ...],
        seconds: float,
        resolver: Callable[[], AbstractResolver] | None = None,
    ) -> None:
        self._allowed = allowed
        self.seconds = seconds
        self._resolver = resolver or partial(aiohttp.AsyncResolver, rotate=False)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opened:
            guard = Guard(self._allowed, Forgetful(self._resolver))
            opened.push_async_callback(guard.close)
            self._session = await opened.enter_async_context(self._new_session(guard))
            self._opened = opened.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._opened.aclose()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One request; it does not raise for what a receiver or the network does."""
        try:
            async with self._session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                response.close()  # whatever else it says
                return Answer(response.status, retry_after(response.headers) or 0.0)
        except _ForbiddenError:
            return Answer(problem="the address may not be called")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            forbidden = isinstance(error.__cause__, _ForbiddenError)
            return Answer(problem="the address may not be called" if forbidden else type(error).__name__)

    def _new_session(self, guard: Guard) -> aiohttp.ClientSession:
        connector = _Connector(
            resolver=guard,
            use_dns_cache=False,
            limit=0,  # a wait for a place would be part of the try's time
            force_close=True,
            socket_factory=self._socket,
        )
        return aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self.seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,  # a proxy would resolve the name by itself
            max_line_size=_LONGEST_HEAD,
            max_field_size=_LONGEST_HEAD,
        )

    def _socket(self, info: AddrInfoType) -> socket.socket:
        """A socket for this address, whatever has led to it: one that stands in the URL, in any spelling, is
        not resolved.
        """
        family, kind, protocol, _, address = info
        if not may_be_called(_address(str(address[0])), self._allowed):
            raise _ForbiddenError
        return socket.socket(family, kind, protocol)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(host.partition("%")[0])
