"""Ledger and broker by word of Redis Sentinel, and what is said when no sentinel knows a master."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from palaver.producer.broker import Broker
from palaver.shared.errors import BrokerUnavailableError, LedgerUnavailableError
from palaver.shared.ledger import AsyncLedger, Dispatch, SyncLedger
from palaver.shared.ledger.subscriptions import Signal, Subscriptions
from palaver.shared.names import Queue
from palaver.shared.settings import Settings
from palaver.workers.link import Link
from tests.processes import Processes
from tests.sentinels import MASTER, start_sentinel
from tests.servers import IN_TIME, RedisServer, free_port, missing, redis_binary

pytestmark = pytest.mark.redis

UNKNOWN = "its sentinels know no working master of this name"
UNHEARD = "no sentinel answers that knows a working master of this name"


def url_of(*ports: int, name: str = MASTER) -> str:
    first, *others = ports
    further = "".join(f";sentinel://127.0.0.1:{port}" for port in others)
    return f"sentinel://:hunter2@127.0.0.1:{first}/0?master_name={name}{further}"


@pytest.fixture
def sentinel(processes: Processes, redis_server: RedisServer) -> int:
    """The port of one that watches the Redis of this test."""
    binary = redis_binary("redis-7")
    if binary is None:
        missing("no Redis 7 server on this machine")
    port = free_port()
    start_sentinel(processes, binary, port, redis_server.port)
    return port


@pytest.fixture
def silent() -> Iterator[list[int]]:
    """Ports that accept connections and never say a word."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        yield [server.getsockname()[1] for server in servers]


async def test_everybody_finds_the_master(sentinel: int, redis_server: RedisServer) -> None:
    """Also when the first sentinel that is asked is away."""
    settings = Settings(redis_url=url_of(free_port(), sentinel).replace(":hunter2@", ""))
    with closing(SyncLedger(settings)) as ledger, closing(Broker.of(settings)) as broker:
        ledger.check()
        broker.send([Dispatch("session", "job", Queue.NORMAL)])
        assert broker.queue_lengths()[Queue.NORMAL] == 1
    ledger_of_loop, link = AsyncLedger(settings), Link(settings.redis_url)
    await ledger_of_loop.check()
    await ledger_of_loop.aclose()
    await link.start()
    await link.caught_up()
    await link.stop()
    async with Subscriptions(settings) as subscriptions, subscriptions.listen("channel") as inbox:
        assert await inbox.receive(IN_TIME) == [Signal.SUBSCRIBED]
        with redis_server.client() as client:
            client.publish("channel", "x")
        assert await inbox.receive(IN_TIME) == [b"x"]


async def check_all(url: str, told: str, *, connect_seconds: float = 2.0) -> float:
    """Every way to a server fails with these words; the longest time that it took one."""
    settings = Settings(redis_url=url, connect_seconds=connect_seconds)
    slowest = 0.0

    def tell(error: Exception) -> None:
        assert told in str(error)
        assert "hunter2" not in str(error)

    ways: list[Callable[[], None]] = [SyncLedger(settings).check, Broker.of(settings).check]
    for way in ways:
        began = time.monotonic()
        with pytest.raises((LedgerUnavailableError, BrokerUnavailableError)) as caught:
            way()
        slowest = max(slowest, time.monotonic() - began)
        tell(caught.value)
    for begin in (AsyncLedger(settings).check, Link(url, connect_seconds=connect_seconds).start):
        began = time.monotonic()
        with pytest.raises(LedgerUnavailableError) as caught:
            await begin()
        slowest = max(slowest, time.monotonic() - began)
        tell(caught.value)
    return slowest


async def test_a_name_that_no_sentinel_knows(sentinel: int) -> None:
    await check_all(url_of(sentinel, name="other"), UNKNOWN)


async def test_no_sentinel_is_there() -> None:
    await check_all(url_of(free_port(), free_port()), UNHEARD)


async def test_sentinels_that_never_answer_are_given_up_in_time(silent: list[int]) -> None:
    assert await check_all(url_of(*silent), UNHEARD, connect_seconds=0.4) < IN_TIME
