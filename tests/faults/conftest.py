"""A stand for each test. What is not marked `long` runs with `make test`.

With PALAVER_TEST_BROKER=rabbitmq, as `make faults-rabbitmq` sets it, all stands have one RabbitMQ as their
broker, emptied for each; what is marked `any_broker` is to be run so.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.faults.stand import Stand
from tests.processes import Processes
from tests.rabbitmq import RabbitMQ, start_rabbitmq
from tests.servers import RedisServer

MakeStand = Callable[..., Stand]


@pytest.fixture(scope="session")
def _rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ | None]:
    if os.environ.get("PALAVER_TEST_BROKER") != "rabbitmq":
        yield None
        return
    with Processes(tmp_path_factory.mktemp("broker")) as processes:
        yield start_rabbitmq(processes)


@pytest.fixture
def broker_url(_rabbitmq: RabbitMQ | None) -> str:
    """The broker of the stands; empty: the Redis of each."""
    if _rabbitmq is None:
        return ""
    _rabbitmq.forget_queues()
    return _rabbitmq.url


@pytest.fixture
def make_stand(processes: Processes, redis_server: RedisServer, broker_url: str) -> Iterator[MakeStand]:
    """Make a stand: `make_stand(redis=…, settings={…}, broker_url=…)`."""
    with ExitStack() as stack:

        def make(
            redis: RedisServer = redis_server,
            settings: dict[str, str] | None = None,
            broker_url: str = broker_url,
        ) -> Stand:
            return stack.enter_context(Stand(processes, redis, broker_url=broker_url, settings=settings))

        yield make


@pytest.fixture
def stand(make_stand: MakeStand) -> Stand:
    """A stand in a hurry: leases of four seconds."""
    return make_stand()
