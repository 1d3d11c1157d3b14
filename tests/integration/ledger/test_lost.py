"""A failover took writes that Redis had acknowledged, and whoever made them comes again."""

from collections.abc import Callable, Iterator

import pytest

from palaver.shared.errors import (
    ConflictError,
    FencedError,
    JobEndedError,
    SessionBusyError,
    SessionClosedError,
)
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import Dispatch, Submitted
from tests.integration.ledger.world import World


def lose(world: World, job: Submitted) -> None:
    """The job's keys are gone; what the session says of it stays."""
    key = world.keys.job("s1", job.job_id)
    world.raw.delete(key, f"{key}:text", f"{key}:reasoning")


def places(world: World) -> list[str | None]:
    """Who has the turn, and the line behind."""
    session = world.ledger.snapshot("s1")
    return [session.active, *session.waiting]


@pytest.fixture
def zombie(world: World) -> Iterator[World]:
    """A worker of the job's first life."""
    worker = World(world.server)
    yield worker
    worker.close()


def chat() -> ChatJob:
    return ChatJob(messages="Hi", session_id="s1")


def test_a_job_that_had_the_turn_does_not_wait_for_itself(world: World) -> None:
    job = chat()
    lose(world, world.ledger.submit(job))
    again = world.ledger.submit(job)
    assert places(world) == [job.job_id]
    assert (again.position, again.dispatch) == (0, Dispatch("s1", job.job_id, "palaver.normal"))
    world.claim(again)
    assert world.finish(again).dispatch is None
    assert places(world) == [None]


def test_nor_when_the_list_of_jobs_is_gone_too(world: World) -> None:
    """A session outlives its jobs by far, and a turn that nobody took away with it."""
    job = chat()
    lose(world, world.ledger.submit(job))
    world.raw.delete(world.keys.jobs("s1"))
    assert world.ledger.submit(job).position == 0
    assert places(world) == [job.job_id]


def test_a_job_that_had_the_turn_gets_a_new_place_behind_those_that_waited(world: World) -> None:
    job = chat()
    lost, waiting = world.ledger.submit(job), world.submit()
    lose(world, lost)
    again = world.ledger.submit(job)
    assert places(world) == [waiting.job_id, job.job_id]
    assert (again.position, again.dispatch) == (1, Dispatch("s1", waiting.job_id, "palaver.resume"))
    assert world.positions(again) == [0, 1]
    before = world.dump()
    assert world.ledger.submit(job) == again
    assert world.dump() == before


def test_a_job_that_waited_waits_once(world: World) -> None:
    job = chat()
    active, lost, last = world.submit(), world.ledger.submit(job), world.submit()
    lose(world, lost)
    assert world.ledger.submit(job).position == 2
    assert places(world) == [active.job_id, last.job_id, job.job_id]
    assert world.positions(last)[-1] == 1


def test_a_worker_of_the_first_life_writes_nothing_in_the_second(world: World, zombie: World) -> None:
    job = chat()
    first = world.ledger.submit(job)
    assert zombie.claim(first, by="t1").attempt == 1
    zombie.append(first, "one")
    lose(world, first)
    second = world.ledger.submit(job)
    assert world.claim(second, by="t2").attempt == 1
    before = world.dump()
    writes: list[Callable[[], object]] = [
        lambda: zombie.append(first, "two", first=1),
        lambda: zombie.append(first, "two", first=2),
        lambda: zombie.renew(first),
        lambda: zombie.save_entry(first, 1),
        lambda: zombie.note_failures(first, 1),
        lambda: zombie.release(first),
        lambda: zombie.finish(first, response=b"{}"),
    ]
    for write in writes:
        with pytest.raises(FencedError):
            write()
    assert world.dump() == before
    world.append(second, "other")
    assert world.finish(second).status is Status.COMPLETED
    with pytest.raises(JobEndedError):
        zombie.finish(first, response=b"{}")
    assert world.finish(second).status is Status.COMPLETED


def test_a_claim_that_was_lost_alone_fences_its_worker(world: World, zombie: World) -> None:
    """A replica that lags has the job as it was before its claim."""
    job = world.submit()
    key = world.keys.job("s1", job.job_id)
    before = world.raw.dump(key)
    assert before is not None
    zombie.claim(job, by="t1")
    world.raw.restore(key, 100_000, before, replace=True)
    assert world.claim(job, by="t2").attempt == 1
    with pytest.raises(FencedError):
        zombie.append(job, "two lives at once")


def test_a_sweep_takes_a_lost_job_out_of_the_line(world: World) -> None:
    job = chat()
    active, lost, last = world.submit(), world.ledger.submit(job), world.submit()
    lose(world, lost)
    world.raw.zadd(world.keys.due, {f"s1/{lost.job_id}": 1})
    world.sweep()
    assert places(world) == [active.job_id, last.job_id]
    assert world.positions(last)[-1] == 1
    assert world.ledger.submit(job).position == 2
    assert places(world) == [active.job_id, last.job_id, job.job_id]


@pytest.mark.parametrize("why", ["busy", "closed", "a key that another job has"])
def test_a_lost_job_that_is_refused_when_it_comes_again_is_in_no_list(world: World, why: str) -> None:
    """With the refusal goes what would have had a sweep look at it."""
    run_at = world.time() + 2 if why == "busy" else None
    job = ChatJob(messages="Hi", session_id="s1", idempotency_key="k", on_busy="reject", run_at=run_at)
    lost = world.ledger.submit(job)
    lose(world, lost)
    world.raw.delete(world.keys.idempotency("s1", "k"))
    if why == "closed":
        world.raw.hset(world.keys.session("s1"), "status", "completed")
    else:
        world.submit(idempotency_key=None if why == "busy" else "k")
    refusals = {"busy": SessionBusyError, "closed": SessionClosedError}
    with pytest.raises(refusals.get(why, ConflictError)):
        world.ledger.submit(job.model_copy(update={"run_at": None}))
    assert world.raw.zscore(world.keys.jobs("s1"), lost.job_id) is None
    assert world.due(lost) is None
