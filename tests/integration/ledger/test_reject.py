"""`on_busy="reject"` with a `run_at`: whether the session is busy is asked when the job enters its line."""

import pytest

from palaver.shared.errors import SessionBusyError
from palaver.shared.jobs import Status
from palaver.shared.ledger import Dispatch, Submitted, Swept
from tests.integration.ledger.world import World


def rejecting(world: World) -> Submitted:
    """A job for later that is not to wait."""
    job = world.submit("s1", on_busy="reject", run_at=world.time() + 900)
    assert (job.status, job.dispatch) == (Status.QUEUED, None)
    return job


def comes_due(world: World, job: Submitted) -> Swept:
    world.raw.hset(world.keys.job("s1", job.job_id), "parked", 1)
    world.raw.zadd(world.keys.due, {f"s1/{job.job_id}": 1})
    return world.sweep()


def test_a_session_that_is_busy_now_rejects_no_job_for_later(world: World) -> None:
    active = world.submit()
    with pytest.raises(SessionBusyError):
        world.submit(on_busy="reject")
    job = rejecting(world)
    world.claim(active)
    world.finish(active)
    assert comes_due(world, job).dispatches == [Dispatch("s1", job.job_id, "palaver.normal")]
    assert world.claim(job).attempt == 1


def test_a_session_that_is_busy_then_ends_the_job_as_failed(world: World) -> None:
    job = rejecting(world)
    active, waiting = world.submit(), world.submit()
    swept = comes_due(world, job)
    assert (swept.ended, swept.dispatches) == (1, [])
    view = world.ledger.job(job.job_id)
    assert view.status is Status.FAILED
    assert view.error is not None
    assert view.error.code == "session_busy"
    assert world.told(job) == ["job_queued", "stream_end"]
    assert [letter.reason for letter in world.ledger.dead()] == ["session_busy"]
    session = world.ledger.snapshot("s1")
    assert (session.active, session.waiting) == (active.job_id, [waiting.job_id])
    assert not world.raw.exists(world.keys.messages("s1")), "what never ran adds nothing to the history"


def test_a_turn_that_vanished_makes_no_session_busy(world: World) -> None:
    lost, job = world.submit(), rejecting(world)
    world.raw.delete(world.keys.job("s1", lost.job_id))
    assert comes_due(world, job).dispatches == [Dispatch("s1", job.job_id, "palaver.normal")]


def test_one_that_waited_behind_such_a_turn_does(world: World) -> None:
    lost, waiting, job = world.submit(), world.submit(), rejecting(world)
    world.raw.delete(world.keys.job("s1", lost.job_id))
    swept = comes_due(world, job)
    assert (swept.ended, swept.dispatches) == (1, [Dispatch("s1", waiting.job_id, "palaver.resume")])
