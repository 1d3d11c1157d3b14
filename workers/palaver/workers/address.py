"""Where the worker's connection goes, and what it says on arrival."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from palaver.shared.errors import ConfigurationError
from palaver.shared.redis_url import RedisURL

__all__ = ["Address"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a Redis URL points and what to say on arrival."""

    host: str
    port: int
    path: str | None  # of a unix socket; then it counts
    tls: ssl.SSLContext | None
    greeting: tuple[tuple[str, ...], ...] = field(repr=False)  # AUTH, SELECT, CLIENT SETNAME

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises ConfigurationError for what is no Redis URL."""
        try:
            return cls._of(RedisURL.parse(url))
        except ValueError as error:
            problem = f"PALAVER_REDIS_URL: {error}"
        raise ConfigurationError(problem)

    @classmethod
    def _of(cls, url: RedisURL) -> Address:
        greeting: list[tuple[str, ...]] = []
        if url.password or url.username:
            user = (url.username,) if url.username else ()
            greeting.append(("AUTH", *user, url.password or ""))
        if url.db:
            greeting.append(("SELECT", str(url.db)))
        greeting.append(("CLIENT", "SETNAME", "palaver-worker"))
        return cls(
            host=url.host,
            port=url.port,
            path=url.path,
            tls=None if url.tls is None else _tls(url.tls),
            greeting=tuple(greeting),
        )


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
