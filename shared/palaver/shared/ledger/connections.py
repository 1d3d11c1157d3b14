"""Redis clients as the ledger wants them: raw RESP2 replies, few retries, errors that name the URL."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import redis
import redis.asyncio
from redis import sentinel
from redis.asyncio import sentinel as async_sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import RedisError
from redis.retry import Retry

from palaver.shared.errors import LedgerUnavailableError
from palaver.shared.ledger.multiplexer import SHARED
from palaver.shared.ledger.places import CONNECTIONS
from palaver.shared.outage import reason
from palaver.shared.redis_url import RedisURL
from palaver.shared.sentinels import AsyncSentinels, Sentinels
from palaver.shared.settings import Settings, redacted_url

K = TypeVar("K")

# A cut connection is tried again at once, then given up: every script survives that.
_RETRIES = 2

# What connections tell of themselves. Without it each has redis-py look up which version is installed.
_DRIVER = DriverInfo(lib_version=redis.__version__)


def sync_client(settings: Settings) -> redis.Redis:
    """A pool of blocking connections, for the `Places` of threads."""
    # A timeout is not retried: it has already taken all the time that the caller has.
    retry = Retry(ExponentialBackoff(cap=0.2, base=0.05), _RETRIES, (redis.exceptions.ConnectionError,))
    address = RedisURL.parse(settings.redis_url)
    options = {"retry": retry, "max_connections": CONNECTIONS, **_options(address, settings)}
    if address.master is not None:
        kind_of_pool: Any = sentinel.SentinelConnectionPool  # redis-py has no types for it
        sentinels = Sentinels(address, settings.connect_seconds)
        return redis.Redis.from_pool(kind_of_pool(address.master, sentinels, **options))
    kind = _kind(address, redis.Connection, redis.SSLConnection, redis.UnixDomainSocketConnection)
    return redis.Redis.from_pool(redis.ConnectionPool(connection_class=kind, **options))


def async_client(settings: Settings) -> "redis.asyncio.Redis":
    """A pool of connections of one event loop, for its `Multiplexer`."""
    retry = AsyncRetry(ExponentialBackoff(cap=0.2, base=0.05), _RETRIES, (redis.exceptions.ConnectionError,))
    address = RedisURL.parse(settings.redis_url)
    options = {"retry": retry, "max_connections": SHARED, **_options(address, settings)}
    of = redis.asyncio
    if address.master is not None:
        kind_of_pool: Any = async_sentinel.SentinelConnectionPool
        sentinels = AsyncSentinels(address, settings.connect_seconds)
        return of.Redis.from_pool(kind_of_pool(address.master, sentinels, **options))
    kind = _kind(address, of.Connection, of.SSLConnection, of.UnixDomainSocketConnection)
    return of.Redis.from_pool(of.ConnectionPool(connection_class=kind, **options))


@contextmanager
def translated(settings: Settings) -> Iterator[None]:
    """Failures of the connection become LedgerUnavailableError. An error reply is a value, and no failure."""
    try:
        yield
    except (RedisError, OSError) as error:
        why = reason(error)
    else:
        return
    # Raised outside: the cause's text may hold what was sent.
    url = redacted_url(settings.redis_url)
    raise LedgerUnavailableError(f"The ledger at {url} cannot be reached: {why}.")


def _kind(address: RedisURL, plain: K, tls: K, socket: K) -> K:
    if address.path is not None:
        return socket
    return plain if address.tls is None else tls


def _options(address: RedisURL, settings: Settings) -> dict[str, Any]:
    common = {
        "protocol": 2,
        "db": address.db,
        "username": address.username,
        "password": address.password,
        "driver_info": _DRIVER,
        # Scripts answer in microseconds; a Redis that is silent for seconds is not there.
        "socket_connect_timeout": settings.connect_seconds,
        "socket_timeout": settings.connect_seconds,
    }
    if address.path is not None:
        return {**common, "path": address.path}
    if address.master is None:
        common |= {"host": address.host, "port": address.port}
    elif address.tls is not None:
        common["ssl"] = True  # a pool of sentinels has no other way to be told
    return {**common, "socket_keepalive": True, **(address.tls or {})}
