"""The gate of a profile over ten minutes of simulated time: never above its limits, and well used."""

import random
from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


def request(world: World, job_id: str, tenant: str) -> Request:
    chance = world.chance
    return Request(
        job_id=job_id, tenant=tenant, lasts=chance.randint(20, 4_000), tokens=chance.randint(1, 400)
    )


def saturated(world: World, *, jobs: int, minutes: int = 10) -> None:
    """So many jobs at once, all the time."""

    def come(number: int) -> None:
        world.come(request(world, f"j{number}", world.chance.choice(TENANTS)))

    numbers = iter(range(1_000_000))
    world.when_done = lambda _request: come(next(numbers))
    world.start()
    for _ in range(jobs):
        come(next(numbers))
    world.until(EPOCH + minutes * MINUTE)


@pytest.mark.parametrize(
    "workers", [1, pytest.param(2, marks=pytest.mark.long), pytest.param(8, marks=pytest.mark.long)]
)
def test_the_requests_of_ten_minutes(server: RealServer, workers: int) -> None:
    world = World(server, Limits(requests_per_minute=60, concurrent=7 * workers), random.Random(workers))
    saturated(world, jobs=20 * workers)
    assert most_in_a_window(world.starts, MINUTE, lambda _: 1) <= 60
    assert len(world.starts) >= 0.95 * 600
    assert world.most_running <= 7 * workers


@pytest.mark.long
def test_the_tokens_of_ten_minutes(server: RealServer) -> None:
    world = World(server, Limits(tokens_per_minute=10_000), random.Random(3))
    saturated(world, jobs=30)
    used = [request.tokens for request in world.starts]
    assert most_in_a_window(world.starts, MINUTE, lambda request: request.tokens) <= 10_000
    assert sum(used) >= 0.95 * 100_000


@pytest.mark.long
def test_concurrency_with_workers_that_die_and_calls_that_are_repeated(server: RealServer) -> None:
    limits = Limits(concurrent=5, requests_per_minute=200)
    world = World(server, limits, random.Random(4), repeats=0.3, deaths=0.05)
    saturated(world, jobs=25, minutes=5)
    assert world.most_running == 5
    assert most_in_a_window(world.starts, MINUTE, lambda _: 1) <= 200
    assert len(world.starts) > 400


def test_a_tenant_with_ten_does_not_wait_for_one_with_a_thousand(server: RealServer) -> None:
    world = World(server, Limits(concurrent=10), random.Random(5))
    world.start()
    for number in range(1000):
        world.come(request(world, f"a{number}", "a"))
    world.until(EPOCH + 5_000)
    before = len(world.starts)
    for number in range(10):
        world.come(request(world, f"b{number}", "b"))
    while sum(begun.tenant == "b" for begun in world.starts) < 10:
        world.until(server.now + 100)
    others = [begun.job_id for begun in world.starts[before:] if begun.tenant == "a"]
    assert len(others) < 30
    assert others == sorted(others, key=lambda job_id: int(job_id[1:]))


def test_tenants_have_places_by_their_weights(server: RealServer) -> None:
    world = World(server, Limits(concurrent=10), random.Random(6), weights={"a": 3})
    world.start()
    for number in range(300):
        for tenant in ("a", "b b"):
            world.come(request(world, f"{tenant}{number}", tenant))
    world.until(EPOCH + 60_000)
    begun = [request.tenant for request in world.starts]
    assert len(begun) > 200
    assert 0.7 < begun.count("a") / len(begun) < 0.8


LIMITS = st.builds(
    Limits,
    requests_per_minute=st.none() | st.integers(1, 300),
    tokens_per_minute=st.none() | st.integers(100, 5_000),
    concurrent=st.none() | st.integers(1, 5),
    window=st.sampled_from((1, 7.5, 60)),
)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    limits=LIMITS,
    seed=st.integers(0, 1_000_000),
    deaths=st.sampled_from((0.0, 0.1)),
    most_of_line=st.none() | st.integers(0, 3),
)
def test_any_limits_hold_and_everybody_has_a_turn(
    server: RealServer, limits: Limits, seed: int, deaths: float, most_of_line: int | None
) -> None:
    server.reset()
    world = World(
        server,
        limits,
        random.Random(seed),
        repeats=0.2,
        deaths=deaths,
        most_of_line=most_of_line,
        weights={"a": 3},
    )
    world.start()
    for number in range(30):
        come = partial(world.come, request(world, f"j{number}", world.chance.choice(TENANTS)))
        world.after(world.chance.randint(0, 5_000), come)
    while any(known.ended is None for known in world.requests.values()) or len(world.requests) < 30:
        assert server.now < EPOCH + 120 * MINUTE, "somebody waits for ever"
        world.until(server.now + 10_000)
    assert world.most_running <= (limits.concurrent or 30)
    assert world.most_of_one <= (most_of_line or 30)
    most, in_tokens, ms = allowed(limits)
    assert most_in_a_window(world.starts, ms, lambda _: 1) <= most
    assert most_in_a_window(world.starts, ms, lambda begun: min(begun.tokens, in_tokens)) <= in_tokens


def allowed(limits: Limits) -> tuple[int, int, int]:
    """Requests and tokens in so many ms."""
    part, nobody_limits = limits.window / 60, 1_000_000
    requests = int((limits.requests_per_minute or nobody_limits) * part)
    tokens = int((limits.tokens_per_minute or nobody_limits) * part)
    # Where not one request has room in a window, there is one in a longer one.
    return max(1, requests), max(1, tokens), int(limits.window * 1000)
