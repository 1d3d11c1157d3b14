"""A stand for each test. What is not marked `long` runs with `make test`."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.faults.stand import Stand
from tests.processes import Processes
from tests.servers import RedisServer

MakeStand = Callable[..., Stand]


@pytest.fixture
def make_stand(processes: Processes, redis_server: RedisServer) -> Iterator[MakeStand]:
    """Make a stand: `make_stand(redis=…, settings={…})`."""
    with ExitStack() as stack:

        def make(redis: RedisServer = redis_server, settings: dict[str, str] | None = None) -> Stand:
            return stack.enter_context(Stand(processes, redis, settings=settings))

        yield make


@pytest.fixture
def stand(make_stand: MakeStand) -> Stand:
    """A stand in a hurry: leases of two seconds."""
    return make_stand()
