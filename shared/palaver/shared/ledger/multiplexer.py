"""What many tasks of one event loop say to Redis, over few connections.

A call that finds an idle connection leaves at once. While all are busy, calls gather, and the next connection
that comes back takes many of them along in one write. So nobody waits for a connection as such: a burst of
thousands becomes a few round trips, and a call waits as long as its caller does.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import redis.asyncio
from redis.exceptions import RedisError

from palaver.shared import ending_tasks, redis_commands
from palaver.shared.redis_commands import Words

SHARED: Final = 8
"""More than one, so that a long reply does not hold up the others."""

_COMMANDS: Final = 400
_BYTES: Final = 1 << 20
"""What one write takes along, unless a single call has more."""


@dataclass(slots=True)
class _Call:
    """Commands of one caller, packed, and where it waits for their replies."""

    packed: bytes = field(repr=False)
    count: int
    replies: asyncio.Future[list[Any]]


class Multiplexer:
    """The connections of a client, whose pool must hold `SHARED` of them. Belongs to one event loop."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._waiting: deque[_Call] = deque()
        self._busy: set[asyncio.Task[None]] = set()
        self._answered = float("-inf")  # when Redis last did, by the monotonic clock

    async def send(self, commands: Sequence[Words]) -> list[Any]:
        """The reply to each command; an error reply stands in its place as an exception.

        Raises redis-py's errors of the connection: those of the call's own, or while it still waits, those
        of another that found that Redis answers nobody.
        """
        packed = redis_commands.packed(commands)
        call = _Call(packed, len(commands), asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if len(self._busy) < SHARED:
            serving = asyncio.create_task(self._serve(), name="palaver-ledger")
            self._busy.add(serving)
            serving.add_done_callback(self._busy.discard)
        return await call.replies

    async def aclose(self) -> None:
        """Close the connections. Who waits for a reply gets a ConnectionError; the next call opens others."""
        self._fail_waiting(_closed())
        await ending_tasks.end(self._busy)
        self._fail_waiting(_closed())  # of those that came meanwhile, and found all of these still busy
        await self._client.aclose()

    async def _serve(self) -> None:
        """Carry what waits, until nothing does."""
        own = asyncio.current_task()
        assert own is not None  # noqa: S101 - it is one
        try:
            await self._carry()
        finally:
            # At once: who was answered last may ask again before this task counts as done.
            self._busy.discard(own)

    async def _carry(self) -> None:
        while calls := self._take():
            begun = time.monotonic()
            try:
                replies = iter(await redis_commands.run_async(self._client, *_joined(calls)))
            except (RedisError, OSError) as error:
                _fail(calls, error)
                if self._answered < begun:  # nobody else was answered meanwhile: Redis is not there
                    self._fail_waiting(error)
            except BaseException as error:  # a bug, or the end
                _fail(calls, error if isinstance(error, Exception) else _closed())
                raise
            else:
                self._answered = time.monotonic()
                for call in calls:
                    _settle(call, list(islice(replies, call.count)))

    def _take(self) -> list[_Call]:
        calls: list[_Call] = []
        count = size = 0
        while self._waiting and (not calls or (count < _COMMANDS and size < _BYTES)):
            call = self._waiting.popleft()
            if call.replies.done():  # its caller has given up
                continue
            calls.append(call)
            count, size = count + call.count, size + len(call.packed)
        return calls

    def _fail_waiting(self, error: Exception) -> None:
        _fail(self._waiting, error)
        self._waiting.clear()


def _closed() -> Exception:
    return redis.ConnectionError("the client closes its connections")


def _joined(calls: Sequence[_Call]) -> tuple[bytes, int]:
    return b"".join([call.packed for call in calls]), sum(call.count for call in calls)


def _settle(call: _Call, replies: list[Any]) -> None:
    if not call.replies.done():
        call.replies.set_result(replies)


def _fail(calls: Iterable[_Call], error: Exception) -> None:
    for call in calls:
        if not call.replies.done():
            call.replies.set_exception(error)
