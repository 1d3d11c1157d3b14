"""How others end jobs: cancel and expire; one end, fixed text, the turn handed on."""

import pytest

from palaver.shared.errors import JobEndedError, JobGoneError
from palaver.shared.jobs import Status
from palaver.shared.ledger import Dispatch, NotClaimed
from tests.integration.ledger.world import EXPIRED, World


def test_a_waiting_job_is_cancelled_at_once_and_never_starts(world: World) -> None:
    first, second, third = (world.submit() for _ in range(3))
    cancelled = world.ledger.cancel("s1", second.job_id)
    before = world.dump()
    assert (cancelled.status, cancelled.ended, cancelled.dispatch) == (Status.CANCELLED, True, None)
    assert world.ledger.cancel("s1", second.job_id) == cancelled
    assert world.dump() == before
    assert world.told(second) == ["job_queued", "stream_end"]
    assert world.try_claim(second) == NotClaimed("ended")
    assert world.positions(third) == [2, 1]
    assert world.due(second) is None
    world.claim(first)
    finished = world.finish(first)
    assert finished.dispatch == Dispatch("s1", third.job_id, "palaver.resume")


def test_cancelling_the_job_that_has_the_turn_hands_it_on(world: World) -> None:
    first, second = world.submit(), world.submit()
    cancelled = world.ledger.cancel("s1", first.job_id)
    before = world.dump()
    assert cancelled.dispatch == Dispatch("s1", second.job_id, "palaver.resume")
    assert world.ledger.cancel("s1", first.job_id) == cancelled
    assert world.dump() == before


def test_a_running_job_is_its_workers_to_end(world: World) -> None:
    job = world.submit()
    world.claim(job)
    world.append(job, "half")
    control = world.listener()
    control.subscribe(world.keys.control)
    control.get_message(timeout=5)
    cancelled = world.ledger.cancel("s1", job.job_id)
    notice = control.get_message(timeout=5)
    control.close()
    assert (cancelled.status, cancelled.ended) == (Status.RUNNING, False)
    assert b'"attempt":1' in notice["data"]
    before = world.dump()
    assert world.ledger.cancel("s1", job.job_id) == cancelled
    assert world.dump() == before
    assert world.append(job, " more", first=2).cancelled == "cancel"
    assert world.renew(job).cancelled == "cancel"
    assert world.claim(job).cancelled == "cancel"
    world.finish(job, status=Status.CANCELLED)
    assert world.ledger.cancel("s1", job.job_id).status is Status.CANCELLED


def test_a_completed_answer_is_not_turned_into_a_cancelled_one(world: World) -> None:
    job = world.submit()
    world.claim(job)
    world.ledger.cancel("s1", job.job_id)
    assert world.finish(job, response=b"{}").status is Status.COMPLETED
    assert world.ledger.cancel("s1", job.job_id).status is Status.COMPLETED
    assert world.told(job).count("stream_end") == 1


def test_a_job_that_nobody_holds_keeps_its_partial_text(world: World) -> None:
    text = 'half of "it" \\ é👩‍👧\n\x01/'
    job = world.submit(messages="Question")
    world.claim(job, lease=EXPIRED)
    world.append(job, text)
    world.save_entry(job, 1)
    cancelled = world.ledger.cancel("s1", job.job_id)
    assert cancelled.ended
    end = world.events()[-1]
    assert (end["type"], end["attempt"]) == ("stream_end", 2)  # it was claimed to be ended
    assert end["data"]["text"] == text
    assert end["data"]["error"]["type"] == "JobCancelledError"
    view = world.ledger.job(job.job_id)
    assert (view.text, view.status) == (text, Status.CANCELLED)
    user, assistant = world.ledger.messages("s1")
    assert user == b'{"role":"user","content":"Question"}'
    assert b'"partial":true' in assistant
    with pytest.raises(JobEndedError):
        world.append(job, "zombie", first=2)
    with pytest.raises(JobEndedError):
        world.finish(job, response=b"{}")


def test_a_rollback_leaves_no_trace_in_the_history(world: World) -> None:
    job = world.submit()
    world.claim(job, lease=EXPIRED)
    world.append(job, "half")
    assert world.ledger.cancel("s1", job.job_id, mode="rollback").ended
    assert world.ledger.messages("s1") == []


def test_cancelling_a_missing_job_says_so(world: World) -> None:
    with pytest.raises(JobGoneError):
        world.ledger.cancel("s1", "job-1")
    with pytest.raises(JobGoneError):
        world.ledger.expire("s1", "job-1")
    assert world.dump() == {}


def test_expire_before_the_deadline_changes_nothing(world: World) -> None:
    job = world.submit()
    before = world.dump()
    expired = world.ledger.expire("s1", job.job_id)
    assert (expired.status, expired.ended) == (Status.QUEUED, False)
    assert 3500 < expired.early <= 3600
    assert world.dump() == before


def past_its_deadline(world: World, job_id: str) -> None:
    world.raw.hset(world.keys.job("s1", job_id), "deadline", int(world.time() * 1000) - 1)


def test_a_reader_ends_a_job_past_its_deadline(world: World) -> None:
    first, second = world.submit(), world.submit()
    past_its_deadline(world, first.job_id)
    assert world.ledger.job(first.job_id).overdue
    expired = world.ledger.expire("s1", first.job_id)
    before = world.dump()
    assert (expired.status, expired.dispatch) == (
        Status.EXPIRED,
        Dispatch("s1", second.job_id, "palaver.resume"),
    )
    assert world.ledger.expire("s1", first.job_id) == expired
    assert world.dump() == before
    end = world.events()[-2]
    assert (end["type"], end["data"]["status"]) == ("stream_end", "expired")
    assert world.ledger.messages("s1") == [b'{"role":"user","content":"Hi"}']  # the second's


def test_a_held_job_past_its_deadline_is_its_workers_to_end(world: World) -> None:
    job = world.submit()
    world.claim(job)
    past_its_deadline(world, job.job_id)
    assert not world.ledger.expire("s1", job.job_id).ended
    assert world.renew(job).cancelled == "expire"
    world.finish(job, status=Status.EXPIRED)
    assert world.ledger.expire("s1", job.job_id).ended
