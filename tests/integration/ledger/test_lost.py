"""A failover took writes that Redis had acknowledged, and whoever made them comes again."""

from palaver.shared.jobs import ChatJob
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


def test_a_sweep_takes_a_lost_job_out_of_the_line(world: World) -> None:
    job = chat()
    active, lost, last = world.submit(), world.ledger.submit(job), world.submit()
    lose(world, lost)
    world.raw.zadd(world.keys.due, {f"s1/{lost.job_id}": 1})
    world.ledger.sweep(period=0)
    assert places(world) == [active.job_id, last.job_id]
    assert world.positions(last)[-1] == 1
    assert world.ledger.submit(job).position == 2
    assert places(world) == [active.job_id, last.job_id, job.job_id]
