"""Ledger and broker by word of Redis Sentinel, and what is said when no sentinel knows a master."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from palaver.producer.broker import Broker
from palaver.shared.errors import BrokerUnavailableError, LedgerUnavailableError
from palaver.shared.ledger import AsyncLedger, Dispatch, SyncLedger
from palaver.shared.ledger.subscriptions import Signal, Subscriptions
from palaver.shared.names import Queue
from palaver.shared.settings import Settings
from palaver.workers.link import Link
from tests.certificates import Certificates, write_certificates
from tests.processes import Processes
from tests.sentinels import MASTER, start_sentinel
from tests.servers import IN_TIME, RedisServer, free_port, missing, redis_binary, start_redis, words

pytestmark = pytest.mark.redis

NEVER_MS = 60_000  # no Redis is away here, however long its machine is held up
UNKNOWN = "its sentinels know no working master of this name"
UNHEARD = "no sentinel answers that knows a working master of this name"


def url_of(*ports: int, name: str = MASTER, scheme: str = "sentinel", query: str = "") -> str:
    first, *others = ports
    further = "".join(f";{scheme}://127.0.0.1:{port}" for port in others)
    return f"{scheme}://:hunter2@127.0.0.1:{first}/0?master_name={name}{query}{further}"


@pytest.fixture
def binary() -> str:
    return redis_binary("redis-7") or missing("no Redis 7 server on this machine")


@pytest.fixture
def sentinel(processes: Processes, binary: str, redis_server: RedisServer) -> int:
    """The port of one that watches the Redis of this test."""
    port = free_port()
    start_sentinel(processes, binary, port, redis_server.port, down_after_ms=NEVER_MS)
    return port


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return write_certificates(tmp_path)


@pytest.fixture
def behind_tls(processes: Processes, binary: str, certificates: Certificates) -> tuple[RedisServer, str]:
    """A Redis with a sentinel, to which nobody talks without TLS, and their URL."""
    tls, port = free_port(), free_port()
    server = start_redis(processes, binary, *words(certificates.of_redis(tls)))
    start_sentinel(processes, binary, port, tls, tls=certificates, down_after_ms=NEVER_MS)
    url = url_of(free_port(), port, scheme="sentinels", query=f"&{certificates.query}")
    return server, url.replace(":hunter2@", "")


@pytest.fixture
def silent() -> Iterator[list[int]]:
    """Ports that accept connections and never say a word."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        yield [server.getsockname()[1] for server in servers]


async def test_everybody_finds_the_master(sentinel: int, redis_server: RedisServer) -> None:
    """Also when the first sentinel that is asked is away."""
    await check_found(url_of(free_port(), sentinel).replace(":hunter2@", ""), redis_server)


async def test_everybody_finds_it_by_sentinels_with_tls(behind_tls: tuple[RedisServer, str]) -> None:
    server, url = behind_tls
    await check_found(url, server)


async def check_found(url: str, redis_server: RedisServer) -> None:
    """Each way to the ledger and to the broker works."""
    settings = Settings(redis_url=url)
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


async def test_a_sentinel_that_a_stranger_vouches_for_is_none(
    behind_tls: tuple[RedisServer, str], certificates: Certificates
) -> None:
    certificates.distrust()
    await check_all(behind_tls[1], UNHEARD)


async def test_a_sentinel_that_talks_no_tls_is_none(sentinel: int, certificates: Certificates) -> None:
    url = url_of(sentinel, scheme="sentinels", query=f"&{certificates.query}")
    await check_all(url, UNHEARD)


async def test_no_sentinel_is_there() -> None:
    await check_all(url_of(free_port(), free_port()), UNHEARD)


async def test_sentinels_that_never_answer_are_given_up_in_time(silent: list[int]) -> None:
    # Which of them runs out first, the time for each or that for all, is chance.
    assert await check_all(url_of(*silent), "cannot be reached", connect_seconds=0.4) < IN_TIME
