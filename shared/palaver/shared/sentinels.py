"""Which Redis is the master, by word of its sentinels: https://redis.io/docs/latest/develop/reference/sentinel-clients/

Redis-py asks them. Here is how long it may take, and what it means when none knows one.
"""

from typing import Any

import redis
import redis.asyncio
from redis import sentinel
from redis.asyncio import sentinel as async_sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from palaver.shared.redis_url import RedisURL


class MasterUnknownError(redis.TimeoutError):
    """No sentinel names a master. As with other timeouts, to have asked took all the time that there is."""


class Sentinels(sentinel.Sentinel):
    """Those of a URL; all of them answer, or are given up, within `seconds`."""

    def __init__(self, url: RedisURL, seconds: float) -> None:
        super().__init__(url.sentinels, sentinel_kwargs=client_options(url, seconds))  # type: ignore[no-untyped-call]

    def discover_master(self, service_name: str) -> tuple[str, int]:
        try:
            address: tuple[str, int] = super().discover_master(service_name)  # type: ignore[no-untyped-call]
        except sentinel.MasterNotFoundError as error:
            raise MasterUnknownError(str(error)) from None
        return address


class AsyncSentinels(async_sentinel.Sentinel):
    """The same on an event loop."""

    def __init__(self, url: RedisURL, seconds: float) -> None:
        options = {**client_options(url, seconds), "retry": AsyncRetry(NoBackoff(), 0)}
        super().__init__(url.sentinels, sentinel_kwargs=options)  # type: ignore[no-untyped-call]

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        try:
            address: tuple[str, int] = await super().discover_master(service_name)
        except async_sentinel.MasterNotFoundError as error:
            raise MasterUnknownError(str(error)) from None
        return address


async def find_master(url: RedisURL, seconds: float) -> tuple[str, int]:
    """The address of a URL's master now. Raises OSError, whose cause says why there is none."""
    sentinels = AsyncSentinels(url, seconds)
    async with sentinels:
        try:
            return await sentinels.discover_master(str(url.master))
        except redis.RedisError as error:
            raise OSError("no master") from error


def client_options(url: RedisURL, seconds: float) -> dict[str, Any]:
    """Of redis-py's client of one sentinel. They are asked one after the other."""
    patience = seconds / (len(url.sentinels) + 1)
    return {
        **({} if url.tls is None else {"ssl": True, **url.tls}),
        "username": url.sentinel_username,
        "password": url.sentinel_password,
        "socket_connect_timeout": patience,
        "socket_timeout": patience,
        "retry": Retry(NoBackoff(), 0),
    }
