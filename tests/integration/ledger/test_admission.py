"""Bounds on the jobs that have not ended: kept, told, and paid for by nobody who has none."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palaver.shared.batches import BatchJob, new_batch_id
from palaver.shared.errors import ConflictError, LedgerFullError, QueueFullError
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import Query, operations
from palaver.shared.ledger.operations import admitting
from palaver.shared.ledger.replies import Submitted
from tests.integration.ledger.world import World
from tests.servers import IN_TIME, RedisServer

TENANTS = {"*": {"queued": 3}, "free": {"queued": False}, "small": {"queued": 1}}

MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(any_redis: RedisServer) -> Iterator[MakeWorld]:
    worlds: list[World] = []

    def make(**settings: Any) -> World:
        worlds.append(World(any_redis, connect_seconds=IN_TIME, **settings))
        return worlds[-1]

    yield make
    for world in worlds:
        assert [key for key in world.raw.scan_iter("*") if world.raw.pttl(key) < 0] == []
        world.close()


def of(tenant: str | None, **fields: Any) -> ChatJob:
    return ChatJob(messages="Hi", tenant=tenant, **fields)


def entries(world: World, name: str) -> int:
    return world.raw.zcard(world.keys.unended(name))


def test_a_tenant_has_its_bound_and_takes_nothing_of_anothers(make_world: MakeWorld) -> None:
    world = make_world(tenants=TENANTS)
    jobs = [world.ledger.submit(of("acme", session_id=f"s{n}")) for n in range(3)]
    before = world.dump()
    with pytest.raises(QueueFullError, match="'acme' has 3 jobs") as full:
        world.ledger.submit(of("acme"))
    assert (full.value.retryable, full.value.http_status, full.value.retry_after) == (True, 429, 5.0)
    after = world.dump()
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    pace = f"{world.keys.unended('=acme')}:pace"
    assert changed <= {pace.encode()}, "it is stored before it is refused"
    for other in ("other", None, "free", "free", "free", "free", "small"):
        assert world.ledger.submit(of(other)).created
    with pytest.raises(QueueFullError, match="'small' has 1 jobs"):
        world.ledger.submit(of("small"))
    world.claim(jobs[0])
    world.finish(jobs[0])
    assert world.ledger.submit(of("acme")).created


def test_all_jobs_have_a_bound_too(make_world: MakeWorld) -> None:
    world = make_world(max_jobs=4, tenants=TENANTS)
    for tenant in ("a", "b", "free", None):
        world.ledger.submit(of(tenant))
    with pytest.raises(QueueFullError, match=r"^There are 4 jobs that have not ended"):
        world.ledger.submit(of("a"))
    assert entries(world, "=a") == 1, "a place is kept for a job that was refused elsewhere"


def status(world: World, job: Submitted) -> Status:
    return world.ledger.job(job.job_id).status


def ended_by_worker(world: World, job: Submitted) -> None:
    world.claim(job)
    world.finish(job)


def ended_by_sweep(world: World, job: Submitted) -> None:
    world.raw.hset(world.keys.job(job.session_id, job.job_id), "deadline", 1)
    world.be_due(job)
    world.sweep()


def ended_by_reader(world: World, job: Submitted) -> None:
    world.raw.hset(world.keys.job(job.session_id, job.job_id), "deadline", 1)
    world.ledger.expire(job.session_id, job.job_id)


def cancelled(world: World, job: Submitted) -> None:
    world.ledger.cancel(job.session_id, job.job_id)


def interrupted(world: World, job: Submitted) -> None:
    world.ledger.submit(of("acme", session_id=job.session_id, on_busy="interrupt"))


def interrupted_later(world: World, job: Submitted) -> None:
    """By a job whose time has come: a sweep begins it, and the next one sees to what the other has left."""
    later = of("acme", session_id=job.session_id, on_busy="interrupt", run_at=time.time() + 60)
    stored = world.ledger.submit(later)
    world.raw.hset(world.keys.job(stored.session_id, stored.job_id), "parked", 1)
    world.be_due(stored)
    world.sweep()
    world.sweep()


@pytest.mark.parametrize("end", [interrupted, interrupted_later], ids=lambda f: f.__name__)
def test_who_ends_another_job_takes_its_room(
    make_world: MakeWorld, end: Callable[[World, Submitted], None]
) -> None:
    world = make_world(tenants=TENANTS, max_jobs=50)
    job = world.ledger.submit(of("acme", session_id="s"))
    end(world, job)
    assert (entries(world, "=acme"), entries(world, "all"), status(world, job).ended) == (1, 1, True)


@pytest.mark.parametrize(
    "end",
    [ended_by_worker, ended_by_sweep, ended_by_reader, cancelled],
    ids=lambda f: f.__name__,
)
def test_whoever_ends_a_job_makes_room(
    make_world: MakeWorld, end: Callable[[World, Submitted], None]
) -> None:
    world = make_world(tenants=TENANTS, max_jobs=50)
    job = world.ledger.submit(of("small", session_id="s"))
    end(world, job)
    assert (entries(world, "=small"), status(world, job).ended) == (0, True)
    assert world.ledger.submit(of("small")).created


def test_what_an_interrupted_job_has_left_is_seen_to_at_once(make_world: MakeWorld) -> None:
    """Its place, its line, its cost, its webhook; of all that only the sweep knew."""
    world = make_world(tenants=TENANTS)
    url = "https://example.org/hook"
    jobs = [
        world.ledger.submit(of("acme", session_id="s", on_busy="interrupt", webhook=url, user=f"u{n}"))
        for n in range(8)
    ]
    assert [status(world, job).ended for job in jobs] == [True] * 7 + [False]
    assert entries(world, "=acme") == 1
    assert [world.due(job) is None for job in jobs] == [True] * 7 + [False]
    taken = world.ledger.run(operations.take_webhooks(world.keys, seconds=60, limit=99)).webhooks
    assert {place for place, _ in taken} == {(job.session_id, job.job_id) for job in jobs[:7]}
    standing = world.ledger.run(operations.where_ready(world.keys, ("s", jobs[-1].job_id)))
    assert standing.ahead == 0


def test_what_is_not_stored_holds_no_place_for_longer_than_a_minute(redis_server: RedisServer) -> None:
    """Neither a job nor a batch that a full Redis refuses; nor those of a producer that died before it stored
    them.
    """
    world = World(redis_server, tenants=TENANTS)
    world.raw.flushdb()
    stored = world.ledger.submit(of("acme", deadline=600))
    place = f"{stored.session_id}/{stored.job_id}"
    world.raw.config_set("maxmemory", 1)
    try:
        with pytest.raises(LedgerFullError):
            world.ledger.submit(of("acme", deadline=600))
        with pytest.raises(LedgerFullError):
            world.ledger.note_batch(batch_of("acme"))
    finally:
        world.raw.config_set("maxmemory", 0)
    unended = world.keys.unended("=acme")
    found: Any = world.raw.zrange(unended, 0, -1, withscores=True)
    scores = {entry.decode(): score / 1000 for entry, score in found}
    assert scores.pop(place) > world.time() + 600
    assert all(score < world.time() + 61 for score in scores.values())
    for left in scores:
        world.raw.zadd(unended, {left: 1})  # a minute later
    for _ in range(2):
        assert world.ledger.submit(of("acme")).created
    world.close()


def test_a_job_that_ended_before_its_place_was_prolonged_has_none(make_world: MakeWorld) -> None:
    world = make_world(tenants=TENANTS)
    job = world.ledger.submit(of("small"))
    cancelled(world, job)
    late = admitting.keep_counted(
        world.keys, job.session_id, job.job_id, admitting.list_of("small"), ends=world.time() + 60
    )
    world.ledger.query(Query(commands=late, decode=lambda _: None))
    assert world.ledger.submit(of("small")).created


def batch_of(tenant: str) -> BatchJob:
    return BatchJob(batch_id=new_batch_id(None, None), input="0" * 64, total=100, tenant=tenant)


def test_a_batch_has_its_place_while_it_is_stored_and_while_it_goes_on(make_world: MakeWorld) -> None:
    world = make_world(tenants=TENANTS)
    batch, unended = batch_of("small"), world.keys.unended("=small")

    def until() -> float:
        return (world.raw.zscore(unended, f"{batch.batch_id}/{batch.batch_id}") or 0) / 1000 - world.time()

    world.ledger.note_batch(batch)
    assert 60 < until() < 2 * 3600 + 1  # in whole milliseconds
    world.ledger.open_batch(batch)
    assert until() > batch.completion_window


def test_what_was_admitted_is_answered_again_however_full_it_is(make_world: MakeWorld) -> None:
    """By its id, by its key, from another session; and after its end, when its place is another's."""
    world = make_world(tenants=TENANTS)
    first = of("small", session_id="s", idempotency_key="k")
    stored = world.ledger.submit(first)
    for _ in range(2):
        assert world.ledger.submit(first) == stored
        again = world.ledger.submit(of("small", session_id="s", idempotency_key="k"))
        assert (again.job_id, again.created) == (stored.job_id, False)
        with pytest.raises(ConflictError):
            world.ledger.submit(
                ChatJob(messages="Other", session_id="s", tenant="small", idempotency_key="k")
            )
        if not status(world, stored).ended:
            ended_by_worker(world, stored)
            stored = world.ledger.submit(first)
            assert stored.status is Status.COMPLETED
            assert entries(world, "=small") == 0, "a repeat of what has ended takes a place"
            assert world.ledger.submit(of("small")).created


def test_many_at_once_fill_what_is_left(make_world: MakeWorld) -> None:
    world = make_world(tenants=TENANTS, max_jobs=8)
    jobs = [of(tenant) for tenant in ("a", "b") for _ in range(5)]
    results = world.ledger.submit_many([*jobs, of("free"), of("free"), of("free")])
    created = [isinstance(result, Submitted) for result in results]
    assert created == [*[True] * 3, *[False] * 2, *[True] * 3, *[False] * 2, True, True, False]
    again = world.ledger.submit_many(jobs)
    assert [isinstance(result, Submitted) for result in again] == created[:10]


def test_a_batch_counts_as_one_job_until_it_has_ended(make_world: MakeWorld) -> None:
    world = make_world(tenants=TENANTS, max_jobs=9)

    def batch() -> BatchJob:
        return batch_of("small")

    first = batch()
    for _ in range(2):  # it may be noted again
        world.ledger.note_batch(first)
    assert (entries(world, "=small"), entries(world, "all")) == (1, 1)
    for refused in (lambda: world.ledger.note_batch(batch()), lambda: world.ledger.submit(of("small"))):
        with pytest.raises(QueueFullError, match="'small' has 1 jobs"):
            refused()
    world.ledger.open_batch(first)
    world.ledger.cancel_batch(first.batch_id)
    world.sweep()
    assert (entries(world, "=small"), entries(world, "all")) == (0, 0)
    abandoned = batch()
    world.ledger.note_batch(abandoned)
    world.ledger.abandon_batch(abandoned)
    world.ledger.note_batch(batch())


def test_jobs_for_later_and_parked_ones_count(make_world: MakeWorld) -> None:
    world = make_world(tenants=TENANTS)
    later = world.ledger.submit(of("small", run_at=time.time() + 86_400, deadline=60))
    score = world.raw.zscore(world.keys.unended("=small"), f"{later.session_id}/{later.job_id}")
    assert (score or 0) > (time.time() + 86_400 + 60) * 1000
    with pytest.raises(QueueFullError):
        world.ledger.submit(of("small"))


def test_what_a_crash_has_left_goes_by_itself(make_world: MakeWorld) -> None:
    world = make_world(tenants=TENANTS)
    world.raw.zadd(world.keys.unended("=small"), {"gone/gone": world.time() * 1000 - 1})
    assert world.ledger.submit(of("small")).created


def test_a_job_whose_place_was_never_prolonged_keeps_it(make_world: MakeWorld) -> None:
    """Its producer was killed between, or stood still for a minute; whoever comes finds the job there."""
    world = make_world(tenants=TENANTS, max_jobs=200)
    jobs = [world.ledger.submit(of("acme", deadline=600)) for _ in range(3)]
    batch = batch_of("small")
    world.ledger.note_batch(batch)
    world.ledger.open_batch(batch)
    lists = [world.keys.unended(name) for name in ("=acme", "=small", "all")]

    def lapse() -> None:
        for each in lists:
            found: Any = world.raw.zrange(each, 0, -1)
            for entry in found:
                world.raw.zadd(each, {entry.decode(): 1})

    lapse()
    for tenant in ("acme", "small"):
        with pytest.raises(QueueFullError):
            world.ledger.submit(of(tenant))
    place = f"{jobs[0].session_id}/{jobs[0].job_id}"
    assert (world.raw.zscore(lists[0], place) or 0) / 1000 > world.time() + 600
    for n in range(250):
        world.raw.zadd(lists[2], {f"gone{n}/gone{n}": 1})
    lapse()
    ended_by_worker(world, jobs[0])
    assert [world.ledger.submit(of("acme")).created, entries(world, "=acme")] == [True, 3]
    assert entries(world, "all") <= 200


def test_a_job_that_nobody_was_there_to_end_keeps_its_place(make_world: MakeWorld) -> None:
    """All workers were away for hours."""
    world = make_world(tenants=TENANTS)
    job = world.ledger.submit(of("small"))
    ago = int((world.time() - 3 * 3600) * 1000)
    world.raw.hset(world.keys.job(job.session_id, job.job_id), "deadline", ago)
    world.raw.zadd(world.keys.unended("=small"), {f"{job.session_id}/{job.job_id}": ago})
    for _ in range(2):
        with pytest.raises(QueueFullError):
            world.ledger.submit(of("small"))
    ended_by_worker(world, job)
    assert world.ledger.submit(of("small")).created


def test_who_is_refused_is_told_how_fast_it_goes(make_world: MakeWorld) -> None:
    """Two jobs have ended in the ten seconds since it was full."""
    world = make_world(tenants={"acme": {"queued": 2}})
    jobs = [world.ledger.submit(of("acme")) for _ in range(2)]
    with pytest.raises(QueueFullError):
        world.ledger.submit(of("acme"))
    pace = f"{world.keys.unended('=acme')}:pace"
    since = int(world.time() * 1000) - 10_000
    world.raw.hset(pace, "since", since)
    for job in jobs:
        ended_by_worker(world, job)
        world.ledger.submit(of("acme"))
    with pytest.raises(QueueFullError) as full:
        world.ledger.submit(of("acme"))
    assert 5 <= (full.value.retry_after or 0) < (world.time() - since / 1000) / 2 + 0.01


def test_without_bounds_nothing_is_counted(make_world: MakeWorld) -> None:
    world = make_world(tenants={"acme": {"weight": 3}})
    job = world.ledger.submit(of("acme"))
    assert "counts" not in world.raw.hkeys(world.keys.job(job.session_id, job.job_id))
    assert not list(world.raw.scan_iter("*unended*"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["submit", "again", "end", "many"]), max_size=25))
def test_the_count_is_that_of_the_jobs_that_have_not_ended(
    redis_server: RedisServer, steps: list[str]
) -> None:
    world = World(redis_server, tenants={"*": {"queued": 4}})
    world.raw.flushdb()
    taken: list[tuple[ChatJob, Submitted]] = []
    for step in steps:
        if step == "submit":
            job = of("acme")
            with_room = unended(world, taken) < 4
            try:
                taken.append((job, world.ledger.submit(job)))
                assert with_room
            except QueueFullError:
                assert not with_room
        elif step == "many":
            jobs = [of("acme") for _ in range(3)]
            results = zip(jobs, world.ledger.submit_many(jobs), strict=True)
            taken += [(job, result) for job, result in results if isinstance(result, Submitted)]
        elif taken and step == "again":
            assert world.ledger.submit(taken[-1][0]).job_id == taken[-1][1].job_id
        elif taken:
            world.ledger.cancel(taken[0][1].session_id, taken[0][1].job_id)
            taken.append(taken.pop(0))
        assert entries(world, "=acme") == unended(world, taken) <= 4
    world.close()


def unended(world: World, taken: list[tuple[ChatJob, Submitted]]) -> int:
    return sum(not status(world, stored).ended for _, stored in taken)
