"""The gate of a profile over ten minutes of simulated time: never above its limits, and well used."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from palaver.shared.profiles import Limits
from tests.faults.gate_world import Request, Worker, World, most_in_a_window
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


def request(world: World, job_id: str, tenant: str, *, longest: int = 400) -> Request:
    """One whose answer is bounded, as some are that are longer than they may be at this gate."""
    chance = world.chance
    answer = chance.randint(1, longest)
    return Request(
        job_id=job_id,
        tenant=tenant,
        lasts=chance.randint(20, 4_000),
        prompt=chance.randint(1, 100),
        answer=answer,
        most=chance.randint(answer, 2 * longest),
    )


def unbounded(world: World, job_id: str, tenant: str) -> Request:
    """One whose answer may be of any length; most are short."""
    asked = request(world, job_id, tenant)
    asked.answer, asked.most = 1 + int(world.chance.expovariate(1 / 300)), None
    return asked


def workers(number: int) -> list[Worker]:
    return [Worker(f"w{each}") for each in range(number)]


def saturated(
    world: World, *, jobs: int, minutes: int = 10, make: Callable[[World, str, str], Request] = request
) -> None:
    """So many jobs at once, all the time. In the middle of it a worker dies."""

    def come(number: int) -> None:
        world.come(make(world, f"j{number}", world.chance.choice(TENANTS)))

    numbers = iter(range(1_000_000))
    world.when_done = lambda _request: come(next(numbers))
    world.start()
    for _ in range(jobs):
        come(next(numbers))
    world.until(EPOCH + minutes * MINUTE // 2)
    world.kill(world.workers[0])
    world.until(EPOCH + minutes * MINUTE)


NUMBERS = pytest.mark.parametrize(
    "number", [1, pytest.param(2, marks=pytest.mark.long), pytest.param(8, marks=pytest.mark.long)]
)


@NUMBERS
def test_the_requests_of_ten_minutes(server: RealServer, number: int) -> None:
    limits = Limits(requests_per_minute=60, concurrent=14)
    world = World(server, limits, random.Random(number), workers=workers(number))
    saturated(world, jobs=40)
    assert most_in_a_window(world.starts, MINUTE, lambda _: 1) <= 60
    assert len(world.starts) >= 0.95 * 600
    assert world.most_running <= 14


def test_workers_with_another_window_meanwhile_close_no_gate(server: RealServer) -> None:
    """As while a new table is rolled out: each call comes with the one or the other."""
    tables = [Limits(requests_per_minute=60, window=window) for window in (60, 25)]
    world = World(server, tables[0], random.Random(12))

    def change(number: int) -> None:
        world.limits = tables[number % 2]
        for waiting in [each for each in world.requests.values() if each.began is None][:1]:
            world.ask_again(waiting)
        world.after(300, partial(change, number + 1))

    world.after(100, partial(change, 0))
    saturated(world, jobs=40, minutes=5)
    assert len(world.starts) >= 0.9 * 300


@NUMBERS
def test_the_tokens_of_ten_minutes(server: RealServer, number: int) -> None:
    world = World(
        server, Limits(tokens_per_minute=10_000), random.Random(3 + number), workers=workers(number)
    )
    saturated(world, jobs=40)
    assert most_in_a_window(world.starts, MINUTE, lambda request: request.tokens) <= 10_000
    assert sum(request.tokens for request in world.starts) >= 0.95 * 100_000


@NUMBERS
@pytest.mark.parametrize(
    ("limit", "used"), [(10_000, 0.88), pytest.param(100_000, 0.95, marks=pytest.mark.long)]
)
def test_the_tokens_of_answers_that_nobody_bounds(
    server: RealServer, number: int, limit: int, used: float
) -> None:
    """Three times as many are expected as come; of a limit of few such requests less can be used."""
    world = World(server, Limits(tokens_per_minute=limit), random.Random(5 + number), workers=workers(number))
    saturated(world, jobs=limit // 250, make=unbounded)
    # All that is above is what answers were longer than those before had one expect.
    assert most_in_a_window(world.starts, MINUTE, lambda begun: min(begun.tokens, begun.counted)) <= limit
    assert most_in_a_window(world.starts, MINUTE, lambda begun: begun.tokens) <= 1.1 * limit
    assert sum(request.tokens for request in world.starts) >= used * 10 * limit


def test_no_flood_comes_in_while_nobody_knows_how_long_answers_are(server: RealServer) -> None:
    world = World(server, Limits(tokens_per_minute=10_000), random.Random(7))
    world.start()
    for number in range(500):
        asked = Request(job_id=f"j{number}", tenant="a", lasts=2_000, prompt=20, answer=1_000)
        world.come(asked)
    world.until(EPOCH + MINUTE)
    assert sum(begun.tokens for begun in world.starts) <= 10_000
    assert len(world.starts) >= 7


@pytest.fixture
def used_to_short_ones(server: RealServer) -> World:
    """A gate at which answers had one token until now."""
    world = World(server, Limits(tokens_per_minute=10_000), random.Random(10))
    world.start()
    for number in range(40):
        world.come(Request(job_id=f"s{number}", tenant="a", lasts=10, prompt=5, answer=1))
        world.until(server.now + 20)
    assert len(world.starts) == 40
    world.starts.clear()
    return world


@pytest.mark.parametrize("cut", [False, True])
def test_long_answers_after_many_short_ones_are_no_flood(used_to_short_ones: World, cut: bool) -> None:
    """Nine at most begin before one of them has told how long they are: each is counted with a quarter of
    what is guessed, however short those before were.
    """
    world = used_to_short_ones
    for number in range(100):
        asked = Request(job_id=f"l{number}", tenant="b", lasts=1_000, prompt=5, answer=4_000, cut=cut)
        world.come(asked)
    world.until(EPOCH + MINUTE)
    first = len(world.starts)
    assert first <= 9
    world.until(EPOCH + 5 * MINUTE)
    # From then on they are expected to be so long.
    assert most_in_a_window(world.starts[first:], MINUTE, lambda begun: begun.tokens) <= 10_000
    assert len(world.starts) >= first + 6


def test_models_do_not_teach_each_other_how_long_answers_are(used_to_short_ones: World) -> None:
    world = used_to_short_ones
    for number in range(100):
        asked = Request(job_id=f"l{number}", tenant="b", lasts=1_000, answer=4_000, model="other")
        world.come(asked)
    world.until(EPOCH + MINUTE)
    assert len(world.starts) == 2


@pytest.mark.parametrize(("most", "said", "left"), [(None, 4_000, 5_700), (2_000, 1, 7_700)])
def test_an_answer_that_was_cut_counts_with_what_was_said_and_what_was_expected(
    used_to_short_ones: World, most: int | None, said: int, left: int
) -> None:
    """The larger of both: nobody knows what the provider counts."""
    world = used_to_short_ones
    world.come(Request(job_id="l", tenant="b", lasts=10, answer=said, most=most, cut=True))
    world.until(world.server.now + 100)
    for number, prompt in enumerate((left + 100, left)):
        world.come(Request(job_id=f"n{number}", tenant=f"t{number}", lasts=10, prompt=prompt, most=0))
    world.until(EPOCH + MINUTE // 2)
    assert [begun.job_id for begun in world.starts] == ["l", "n1"]


def test_what_is_said_counts_while_it_is_said(server: RealServer) -> None:
    """Others come all the time while two answers are made that nobody had expected to be so long."""
    world = World(server, Limits(tokens_per_minute=10_000), random.Random(11))
    world.start()
    for number in range(2):
        world.come(Request(job_id=f"l{number}", tenant="b", lasts=20_000, prompt=5, answer=8_000))
    for number in range(38):
        world.come(Request(job_id=f"s{number}", tenant="a", lasts=10, prompt=5, answer=1, most=1))
        world.until(server.now + 500)
    begun = [((begun.began or 0) - EPOCH) // 1000 for begun in world.starts if begun.tenant == "a"]
    assert len(begun) >= 24
    # Both have said 4,900 tokens after 12.3 s, which is told within three.
    assert max(begun) <= 15


def test_one_tenants_huge_requests_take_nothing_from_the_others(server: RealServer) -> None:
    world = World(server, Limits(tokens_per_minute=60_000, window=2), random.Random(8))
    world.start()
    for number in range(8):
        asked = Request(job_id=f"a{number}", tenant="a", lasts=1_000, prompt=10, answer=10, most=10**9)
        world.come(asked)
    for number in range(6):
        world.come(Request(job_id=f"b{number}", tenant="b", lasts=10, prompt=10, answer=10, most=10))
    world.until(EPOCH + 2_000)
    waited = [begun.began - EPOCH for begun in world.starts if begun.tenant == "b" and begun.began]
    assert len(waited) == 6
    assert max(waited) <= 1_300, "for the one answer that was being made, and a message"


def test_tenants_have_tokens_in_turn_however_large_their_requests_are(server: RealServer) -> None:
    world = World(server, Limits(tokens_per_minute=60_000, window=2), random.Random(9))
    world.start()
    for number in range(60):
        world.come(Request(job_id=f"a{number}", tenant="a", lasts=50, prompt=1_000, most=0))
        for small in range(10):
            asked = Request(job_id=f"b{number}-{small}", tenant="b", lasts=50, prompt=100, most=0)
            world.come(asked)
    world.until(EPOCH + MINUTE)
    used = Counter[str]()
    for begun in world.starts:
        used[begun.tenant] += begun.tokens
    assert used.total() >= 0.75 * 60_000
    assert 0.8 < used["a"] / used["b"] < 1.25


@pytest.mark.long
def test_concurrency_with_workers_that_die_and_calls_that_are_repeated(server: RealServer) -> None:
    limits = Limits(concurrent=5, requests_per_minute=200)
    world = World(server, limits, random.Random(4), repeats=0.3, deaths=0.05, workers=workers(3))
    saturated(world, jobs=25, minutes=5)
    assert world.most_running == 5
    assert most_in_a_window(world.starts, MINUTE, lambda _: 1) <= 200
    assert len(world.starts) > 400


def test_a_dead_workers_place_ends_where_only_parked_jobs_wait(server: RealServer) -> None:
    """Nobody calls but those who look when it is to end, and that is no silence of Redis."""
    world = World(server, Limits(concurrent=1), random.Random(13), sweep_ms=470)
    world.start()
    for job_id in ("j0", "j1"):
        world.come(Request(job_id=job_id, tenant="a", lasts=60 * MINUTE))
    world.workers[0].running.clear()  # its worker has died, and its job does not come again
    world.until(EPOCH + MINUTE // 2)
    assert [begun.job_id for begun in world.starts] == ["j0", "j1"]


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
# Few tokens in a window, and answers that are much longer than was expected.
@example(
    limits=Limits(requests_per_minute=1, tokens_per_minute=100, window=1),
    seed=984769,
    deaths=0.1,
    most_of_line=0,
)
@example(
    limits=Limits(requests_per_minute=2, tokens_per_minute=100, window=1),
    seed=267613,
    deaths=0.0,
    most_of_line=1,
)
@example(
    limits=Limits(requests_per_minute=1, tokens_per_minute=150, concurrent=3, window=7.5),
    seed=90667,
    deaths=0.1,
    most_of_line=None,
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
        workers=workers(2),
    )
    world.start()
    for number in range(30):
        make = world.chance.choice((request, unbounded))
        come = partial(world.come, make(world, f"j{number}", world.chance.choice(TENANTS)))
        world.after(world.chance.randint(0, 5_000), come)
    while any(known.ended is None for known in world.requests.values()) or len(world.requests) < 30:
        assert server.now < EPOCH + 120 * MINUTE, "somebody waits for ever"
        world.until(server.now + 10_000)
    assert world.most_running <= (limits.concurrent or 30)
    assert world.most_of_one <= (most_of_line or 30)
    most, in_tokens, ms = allowed(limits)
    assert most_in_a_window(world.starts, ms, lambda _: 1) <= most
    assert most_in_a_window(world.starts, ms, lambda begun: min(begun.tokens, begun.counted)) <= in_tokens


def allowed(limits: Limits) -> tuple[int, int, int]:
    """Requests and tokens in so many ms."""
    nobody_limits = 1_000_000
    requests, tokens = limits.requests_per_minute or nobody_limits, limits.tokens_per_minute or nobody_limits
    # Where not one request has room in a window, there is one in a longer one.
    window = max(limits.window, 60 / requests)
    return max(1, int(requests * window / 60)), max(1, int(tokens * window / 60)), round(window * 1000)
