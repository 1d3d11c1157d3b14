"""Where a Redis URL points, read with the same rules as redis-py's."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio.connection import SSLConnection, parse_url

from palaver.shared.errors import ConfigurationError
from palaver.shared.settings import redacted_url

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
            parts: dict[str, Any] = dict(parse_url(url))
        except ValueError:
            wrong = redacted_url(url)
        else:
            return cls._of(parts)
        raise ConfigurationError(f"PALAVER_REDIS_URL must be a redis, rediss or unix URL, not {wrong}")

    @classmethod
    def _of(cls, parts: dict[str, Any]) -> Address:
        greeting: list[tuple[str, ...]] = []
        if parts.get("password") or parts.get("username"):
            user = (parts["username"],) if parts.get("username") else ()
            greeting.append(("AUTH", *user, parts.get("password") or ""))
        if parts.get("db"):
            greeting.append(("SELECT", str(parts["db"])))
        greeting.append(("CLIENT", "SETNAME", "palaver-worker"))
        path = parts.get("path")
        secure = parts.get("connection_class") is SSLConnection
        return cls(
            host=parts.get("host", "localhost"),
            port=int(parts.get("port", 6379)),
            path=path,
            tls=_tls(parts) if secure else None,
            greeting=tuple(greeting),
        )


def _tls(parts: dict[str, Any]) -> ssl.SSLContext:
    """The same `ssl_*` options as redis-py's URLs."""
    context = ssl.create_default_context(cafile=parts.get("ssl_ca_certs"), capath=parts.get("ssl_ca_path"))
    if str(parts.get("ssl_cert_reqs", "required")).lower() in ("none", "optional"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif str(parts.get("ssl_check_hostname", "true")).lower() == "false":
        context.check_hostname = False
    if parts.get("ssl_certfile"):
        context.load_cert_chain(parts["ssl_certfile"], parts.get("ssl_keyfile"), parts.get("ssl_password"))
    return context
