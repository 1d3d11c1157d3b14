"""One tenant has submitted a thousand jobs, and others come: real workers, whose slots are what is scarce."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.fair_world import Floor, Wanted
from tests.faults.ledger_servers import EPOCH, RealServer, real_server
from tests.faults.stand import Job, Stand, until
from tests.servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults")]


@pytest.fixture
def server(redis_server: RedisServer) -> Iterator[RealServer]:
    with real_server(redis_server.port) as server:
        server.reset()
        yield server


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 1_000_000),
    slots=st.integers(1, 12),
    longest=st.sampled_from((20, 300, 5_000)),
    users=st.booleans(),
    weight=st.sampled_from((1, 3)),
)
def test_whatever_jobs_last_a_tenant_that_comes_has_its_turns(
    server: RealServer, seed: int, slots: int, longest: int, users: bool, weight: int
) -> None:
    server.reset()
    chance = random.Random(seed)
    floor = Floor(server, chance, slots, latency=10, weights={"b": weight})

    def come(letter: str, number: int, tenant: str | None) -> None:
        user = chance.choice("xyz") if users else None
        floor.submit(Wanted(f"{letter}{number}", tenant, user, chance.randint(10, longest)))

    for number in range(60):
        come("a", number, "a")
    for number in range(10):
        come("-", number, None)
    floor.until(EPOCH + 10 * longest // slots)
    before = len(floor.begun)
    for number in range(10):
        come("b", number, "b")
    floor.run_out()
    assert Counter(floor.begun) == Counter(list(floor.jobs)), "each is begun, and once"
    later = floor.begun[before:]
    last = max(place for place, name in enumerate(later) if name[0] == "b")
    # One of the others' for each turn of its own, and those that began before the ledger had answered.
    # Users of the other tenant had turns of their own before them.
    assert sum(name[0] != "b" for name in later[:last]) <= 10 / weight + 2 * slots + (10 if users else 0)
    own = [int(name[1:]) for name in floor.begun if name[0] == "a"]
    assert users or own == sorted(own), "within a tenant who came first is first"
    assert max(floor.messages.values()) <= 2
    assert server.send([("HLEN", f"{floor.keys.ready}:of")]) == [0]


def begun(stand: Stand, jobs: Sequence[Job]) -> list[float]:
    """When those of the jobs were begun that were, in ms of Redis time, in order."""
    with stand.raw.pipeline(transaction=False) as pipeline:
        for job in jobs:
            pipeline.hmget(stand.ledger.keys.job(job.session, job.id), "started", "done")
        found = pipeline.execute()
    return sorted(float(started or done.split()[1]) for started, done in found if started or done is not None)


@pytest.mark.any_broker
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
def test_ten_jobs_of_one_tenant_do_not_wait_for_a_thousand_of_another(stand: Stand, workers: int) -> None:
    stand.workers(workers, slots=10 // workers)
    many = stand.submit(1000, words=6, rate=12, tenant="a")
    few = overtaken(stand, many)
    for job in many:
        job.handle.cancel()
    stand.settle(few)


@pytest.mark.long
@pytest.mark.any_broker
def test_nor_do_they_wait_for_sessions_whose_next_jobs_go_first(stand: Stand) -> None:
    stand.workers(1, slots=10)
    many = []
    for n in range(20):
        # With a history a second answer would go on with the first one, and be over at once.
        many += stand.submit(20, words=6, rate=12, tenant="a", session_id=f"s{n}", history=[])
    few = overtaken(stand, many)
    for job in many:
        job.handle.cancel()
    stand.settle(few)


def overtaken(stand: Stand, many: Sequence[Job]) -> list[Job]:
    """Ten jobs of another tenant, that come when some of these are begun, and begin before thirty more."""
    until(lambda: len(begun(stand, many)) > 15, "nothing begins")
    few = stand.submit(10, words=6, rate=12, tenant="b")
    came = min(job.handle.view().created for job in few) * 1000
    prospect = few[-1].handle.view().prospect
    assert prospect is None or (prospect.position < 30 and prospect.seconds is not None)
    until(lambda: len(begun(stand, few)) == len(few), "they are not begun")
    last = max(begun(stand, few))
    between = sum(came < at < last for at in begun(stand, many))
    print(f"{between} of the others began meanwhile")
    assert between < 30
    return few
