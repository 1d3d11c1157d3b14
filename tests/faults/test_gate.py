"""The gate of a profile over ten minutes of simulated time: never above its limits, and well used."""

import random
from collections.abc import Iterator

import pytest

from palaver.shared.profiles import Limits
from tests.faults.gate_world import Request, World, most_in_a_window
from tests.faults.ledger_servers import EPOCH, RealServer, real_server
from tests.servers import RedisServer

pytestmark = pytest.mark.redis

MINUTE = 60_000
TENANTS = ("", "a", "b b")


@pytest.fixture
def server(redis_server: RedisServer) -> Iterator[RealServer]:
    with real_server(redis_server.port) as server:
        server.reset()
        yield server


def saturated(world: World, *, jobs: int, minutes: int = 10) -> None:
    """So many jobs at once, all the time."""
    chance = world.chance

    def come(number: int) -> None:
        world.come(
            Request(
                job_id=f"j{number}",
                tenant=chance.choice(TENANTS),
                lasts=chance.randint(20, 4_000),
                tokens=chance.randint(1, 400),
            )
        )

    numbers = iter(range(1_000_000))
    world.when_done = lambda _request: come(next(numbers))
    world.start()
    for _ in range(jobs):
        come(next(numbers))
    world.until(EPOCH + minutes * MINUTE)


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_the_requests_of_ten_minutes(server: RealServer, workers: int) -> None:
    world = World(server, Limits(requests_per_minute=60, concurrent=7 * workers), random.Random(workers))
    saturated(world, jobs=20 * workers)
    assert most_in_a_window(world.starts, MINUTE, lambda _: 1) <= 60
    assert len(world.starts) >= 0.95 * 600
    assert world.most_running <= 7 * workers


def test_the_tokens_of_ten_minutes(server: RealServer) -> None:
    world = World(server, Limits(tokens_per_minute=10_000), random.Random(3))
    saturated(world, jobs=30)
    used = [request.tokens for request in world.starts]
    assert most_in_a_window(world.starts, MINUTE, lambda request: request.tokens) <= 10_000
    assert sum(used) >= 0.95 * 100_000


def test_concurrency_with_workers_that_die_and_calls_that_are_repeated(server: RealServer) -> None:
    limits = Limits(concurrent=5, requests_per_minute=200)
    world = World(server, limits, random.Random(4), repeats=0.3, deaths=0.05)
    saturated(world, jobs=25, minutes=5)
    assert world.most_running == 5
    assert most_in_a_window(world.starts, MINUTE, lambda _: 1) <= 200
    assert len(world.starts) > 400
