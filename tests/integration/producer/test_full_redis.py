"""A Redis that takes no more data: what a producer is told, and what it can still see."""

import logging
from collections.abc import Callable

import pytest

from palaver.producer import Client
from palaver.producer.broker import Broker
from palaver.producer.cli import status
from palaver.shared.errors import BrokerFullError, LedgerFullError, LedgerUnavailableError
from palaver.shared.jobs import Status
from palaver.shared.ledger import Dispatch
from palaver.shared.names import Queue
from palaver.shared.settings import Settings
from tests.servers import RedisServer, free_port


@pytest.fixture
def full(own_redis: Callable[..., RedisServer]) -> RedisServer:
    """Less memory than an empty server needs."""
    return own_redis("--maxmemory", "1", "--maxmemory-policy", "noeviction")


@pytest.fixture
def settings(full: RedisServer) -> Settings:
    return Settings(redis_url=full.url)


def test_a_job_is_refused_because_the_ledger_is_full(settings: Settings, full: RedisServer) -> None:
    with Client(settings) as client, pytest.raises(LedgerFullError, match="out of memory"):
        client.submit("Hello")
    with full.client() as redis:
        assert redis.dbsize() == 0


def test_a_job_is_refused_for_now_because_the_ledger_has_become_a_replica(
    own_redis: Callable[..., RedisServer],
) -> None:
    server = own_redis()
    with Client(Settings(redis_url=server.url)) as client, server.client() as redis:
        redis.replicaof("127.0.0.1", free_port())
        with pytest.raises(LedgerUnavailableError, match="its Redis is a replica"):
            client.submit("Hello")
        redis.replicaof("NO", "ONE")
        assert client.submit("Hello").status is Status.QUEUED


def test_the_status_of_a_full_redis_can_be_seen(settings: Settings) -> None:
    seen = status.look(settings)
    assert (seen.unended, seen.workers, set(seen.queues.values())) == (0, [], {0})


def test_a_message_is_refused_because_the_broker_is_full(full: RedisServer) -> None:
    with pytest.raises(BrokerFullError, match=rf"{full.url} is out of memory"):
        Broker(full.url).send([Dispatch("s1", "j1", Queue.NORMAL)])


def test_a_full_broker_delays_the_messages_of_stored_jobs(
    full: RedisServer, redis_server: RedisServer, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(redis_url=redis_server.url, broker_url=full.url, namespace=namespace)
    with Client(settings) as client, caplog.at_level(logging.WARNING, "palaver.producer"):
        handle = client.submit("Hello")
        assert handle.status is Status.QUEUED
    assert "dispatch_deferred" in caplog.text
