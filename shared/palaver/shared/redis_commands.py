"""Commands to Redis in one go, and their raw replies, over the connections of a redis-py client.

Its pools connect, check, retry and name errors as they always do. Its pipelines do all of this as well, at
three times the CPU: for callbacks on replies, tracing and features of servers that nothing here uses.
"""

from collections.abc import Sequence
from typing import Any

import hiredis
import redis
import redis.asyncio
from redis.exceptions import ResponseError

Words = Sequence[str | bytes | int]

PIECE = 100
"""Commands in one write: Redis works on one while the next is packed."""


def packed(commands: Sequence[Words]) -> bytes:
    """Commands as they go over the wire."""
    return b"".join([hiredis.pack_command(tuple(words)) for words in commands])  # type: ignore[arg-type]


def run(client: redis.Redis, commands: Sequence[Words]) -> list[Any]:
    """The reply to each command; an error reply stands in its place as an exception.

    When the connection breaks, everything is sent again, as often as the client's retries allow. Raises
    redis-py's errors of the connection.
    """
    pool: Any = client.connection_pool  # redis-py's own types leave most of it out
    connection = pool.get_connection()

    def converse() -> list[Any]:
        for start in range(0, len(commands), PIECE):
            connection.send_packed_command([packed(commands[start : start + PIECE])])
        return [_reply(connection) for _ in commands]

    try:
        replies: list[Any] = connection.retry.call_with_retry(converse, lambda _: connection.disconnect())
        return replies
    except BaseException:
        # Ctrl-C, a time limit: replies that are still to come would be taken for those of the next caller.
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


async def run_async(client: "redis.asyncio.Redis", data: bytes, count: int) -> list[Any]:
    """As `run`, on an event loop, for `count` commands that are packed already."""
    pool: Any = client.connection_pool
    connection = await pool.get_connection()

    async def converse() -> list[Any]:
        try:
            await connection.send_packed_command([data])
        except RuntimeError as error:
            # uvloop's word for one that was reset while it waited in the pool, where redis-py does not look.
            raise redis.ConnectionError("the connection was reset meanwhile") from error
        return [await _async_reply(connection) for _ in range(count)]

    async def disconnect(_: Exception) -> None:
        await connection.disconnect(nowait=True)

    try:
        replies: list[Any] = await connection.retry.call_with_retry(converse, disconnect)
        return replies
    finally:
        await pool.release(connection)


def _reply(connection: Any) -> Any:
    # Said, because a connection that sentinels chose would else be used again after a timeout, and its next
    # caller would be given a reply to this one.
    try:
        return connection.read_response(disable_decoding=True, disconnect_on_error=True)
    except ResponseError as error:
        return error


async def _async_reply(connection: Any) -> Any:
    try:
        return await connection.read_response(disable_decoding=True, disconnect_on_error=True)
    except ResponseError as error:
        return error
