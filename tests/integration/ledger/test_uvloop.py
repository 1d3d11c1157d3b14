"""Connections to Redis that end at any moment, on the event loop of workers and gateway."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio
import uvloop
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from palaver.shared.ledger import subscriptions
from palaver.shared.ledger.subscriptions import Signal, Subscriptions
from palaver.shared.redis_commands import packed, run_async
from palaver.shared.settings import Settings
from tests.servers import IN_TIME, RedisServer

LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
RESET = struct.pack("ii", 1, 0)  # on, after no time: a closed socket tells the other end by RST


def run(new_loop: Callable[[], asyncio.AbstractEventLoop], work: Callable[[], Awaitable[None]]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(IN_TIME):
            await work()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(in_time())


@LOOPS
def test_a_connection_that_was_reset_in_the_pool_is_replaced(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    greeted: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeted.append(writer)
        while words := await reader.read(2**16):
            writer.write(b"+OK\r\n" * words.count(b"*"))

    async def talk() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        client = redis.asyncio.Redis(port=port, protocol=2, retry=Retry(NoBackoff(), 1))
        async with server, client:
            for _ in range(3):
                assert await run_async(client, packed([("PING",)]), 1) == [b"OK"]
                held: socket.socket = greeted[-1].get_extra_info("socket")
                held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                greeted[-1].transport.abort()
                pool: Any = client.connection_pool
                (pooled,) = pool._available_connections
                while pooled._reader.exception() is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            assert await run_async(client, packed([("PING",)]), 1) == [b"OK"]

    run(new_loop, talk)


@pytest.mark.redis
@LOOPS
def test_a_reader_leaves_in_the_turn_in_which_its_connection_is_lost(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    own_redis: Callable[..., RedisServer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def read() -> None:
        lost = asyncio.Event()
        told = subscriptions._Ear.connection_lost

        def connection_lost(ear: subscriptions._Ear, exc: Exception | None) -> None:
            told(ear, exc)
            lost.set()

        monkeypatch.setattr(subscriptions._Ear, "connection_lost", connection_lost)
        server = own_redis()
        settings = Settings(redis_url=server.url)
        async with Subscriptions(settings) as readers, readers.listen("stays") as stays:
            assert await stays.receive() == [Signal.SUBSCRIBED]
            async with readers.listen("leaves") as leaves:
                assert await leaves.receive() == [Signal.SUBSCRIBED]
                with server.client() as operator:
                    operator.client_kill_filter(_type="pubsub")
                await lost.wait()
            heard = await stays.receive()
            while heard[-1] is not Signal.SUBSCRIBED:
                heard += await stays.receive()
            assert heard == [Signal.LOST, Signal.SUBSCRIBED]

    run(new_loop, read)
