"""Where a raw connection to the ledger's Redis goes, and what it says on arrival."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from palaver.shared.errors import ConfigurationError
from palaver.shared.outage import reason
from palaver.shared.redis_url import RedisURL
from palaver.shared.sentinels import find_master

__all__ = ["Address"]

P = TypeVar("P", bound=asyncio.Protocol)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a Redis URL points and what to say on arrival."""

    host: str
    port: int
    path: str | None  # of a unix socket; then it counts
    tls: ssl.SSLContext | None
    greeting: tuple[tuple[str, ...], ...] = field(repr=False)  # AUTH, SELECT, CLIENT SETNAME
    sentinels: RedisURL | None = None  # who says which host and port that is now

    @classmethod
    def parse(cls, url: str, *, name: str) -> Address:
        """`name` is the connection's in Redis's CLIENT LIST. Raises ConfigurationError for what is no URL,
        and for certificates and keys that cannot be read.
        """
        try:
            return cls._of(RedisURL.parse(url), name)
        except OSError as error:  # of TLS too
            problem = f"PALAVER_REDIS_URL: names files of TLS that cannot be used: {reason(error)}"
        except ValueError as error:
            problem = f"PALAVER_REDIS_URL: {error}"
        raise ConfigurationError(problem)

    @classmethod
    def _of(cls, url: RedisURL, name: str) -> Address:
        greeting: list[tuple[str, ...]] = []
        if url.password or url.username:
            user = (url.username,) if url.username else ()
            greeting.append(("AUTH", *user, url.password or ""))
        if url.db:
            greeting.append(("SELECT", str(url.db)))
        greeting.append(("CLIENT", "SETNAME", name))
        return cls(
            host=url.host,
            port=url.port,
            path=url.path,
            tls=None if url.tls is None else _tls(url.tls),
            greeting=tuple(greeting),
            sentinels=url if url.sentinels else None,
        )

    async def connect(self, protocol: Callable[[], P], *, seconds: float) -> P:
        """Open a connection; nothing is said yet. Raises OSError. `seconds` is what sentinels have to answer,
        and no bound for the rest.
        """
        loop = asyncio.get_running_loop()
        if self.path is not None:
            return (await loop.create_unix_connection(protocol, self.path))[1]
        host, port = self.host, self.port
        if self.sentinels is not None:
            host, port = await find_master(self.sentinels, seconds)
        name = host if self.tls else None
        _, made = await loop.create_connection(protocol, host, port, ssl=self.tls, server_hostname=name)
        return made


def _tls(options: Mapping[str, Any]) -> ssl.SSLContext:
    """The same `ssl_*` options as redis-py's."""
    context = ssl.create_default_context(
        cafile=options.get("ssl_ca_certs"), capath=options.get("ssl_ca_path")
    )
    if options.get("ssl_cert_reqs", "required") != "required":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif not options.get("ssl_check_hostname", True):
        context.check_hostname = False
    if options.get("ssl_certfile"):
        context.load_cert_chain(
            options["ssl_certfile"], options.get("ssl_keyfile"), options.get("ssl_password")
        )
    return context
