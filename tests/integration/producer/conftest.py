"""A client of the test's own namespace, and a stand-in for the worker of its jobs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from palaver.producer import Client, JobHandle
from palaver.shared.names import queue_name
from palaver.shared.settings import Settings
from tests.integration.producer.stand_in import StandIn
from tests.servers import RedisServer


@pytest.fixture
def settings(
    redis_server: RedisServer, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """In a folder of the test's own, in which no palaver.toml is yet."""
    monkeypatch.chdir(tmp_path)
    return Settings(redis_url=redis_server.url, namespace=namespace)


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    with Client(settings) as client:
        yield client


@pytest.fixture
def queued(settings: Settings, redis_server: RedisServer) -> Callable[[str], list[bytes]]:
    """The messages in one of the system's queues."""

    def read(queue: str) -> list[bytes]:
        with redis_server.client() as redis:
            return list(redis.lrange(queue_name(queue, settings.namespace), 0, -1))

    return read


@pytest.fixture
def work_on(settings: Settings) -> Callable[[JobHandle], StandIn]:
    """Claim a job, as its worker would."""
    return lambda handle: StandIn.claim(settings, handle.session_id, handle.job_id)
