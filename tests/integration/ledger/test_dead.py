"""The dead letters: what gets there, what a crash or a full Redis does to it, and that they stay bounded."""

from dataclasses import replace
from typing import Any

import pytest

from palaver.shared.errors import ErrorInfo, RateLimitError
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import AsyncLedger, Submitted, load
from palaver.shared.ledger.operation import nothing_after
from palaver.shared.ledger.operations import POISONED_AFTER
from tests.integration.ledger.world import EXPIRED, World

ERROR = ErrorInfo.of(RateLimitError("slow down", provider="p", status_code=429)).model_dump_json().encode()


def fail(world: World, session_id: str = "s1", **fields: Any) -> Submitted:
    """A job that its worker ended as failed."""
    job = world.submit(session_id, **fields)
    world.claim(job)
    world.finish(job, status=Status.FAILED, error=ERROR)
    return job


def buried(world: World, limit: int | None = None) -> list[str]:
    return [letter.job_id for letter in world.ledger.dead(limit)]


def be_overdue(world: World, job: Submitted) -> None:
    """The job's deadline has passed, and a sweeper is to look at it."""
    world.raw.hset(world.keys.job(job.session_id, job.job_id), "deadline", 1)
    world.be_due(job)


def test_a_failed_job_becomes_a_dead_letter_that_says_why(world: World) -> None:
    job = world.submit(messages="the secret question", model=["a/m", "b/m"])
    world.claim(job)
    world.append(job, "the secret answer")
    world.note_failures(job, 3)
    assert world.ledger.dead() == []
    world.finish(job, status=Status.FAILED, error=ERROR)
    [letter] = world.ledger.dead()
    assert (letter.job_id, letter.session_id, letter.status) == (job.job_id, "s1", Status.FAILED)
    assert (letter.model, letter.attempts, letter.failures, letter.deaths) == ("a/m,b/m", 1, 3, 0)
    assert letter.error is not None
    assert (letter.reason, letter.error.message) == ("rate_limit", "The provider's rate limit is reached.")
    assert letter.created <= letter.ended == world.ledger.job(job.job_id).ended
    assert 0 <= letter.age < 60
    assert "secret" not in repr(letter)


def test_jobs_that_completed_or_were_cancelled_are_none(world: World) -> None:
    done = world.submit("s1")
    world.claim(done)
    world.finish(done)
    held = world.submit("s2")
    world.claim(held)
    world.finish(held, status=Status.CANCELLED)
    world.ledger.cancel("s3", world.submit("s3").job_id)
    world.submit("s4")
    assert world.ledger.dead() == []
    assert not world.raw.exists(world.keys.dead)


@pytest.mark.parametrize("by", ["expire", "sweep"])
def test_a_job_past_its_deadline_is_one_whoever_ends_it(world: World, by: str) -> None:
    world.sweep()
    job = world.submit()
    be_overdue(world, job)
    if by == "expire":
        world.ledger.expire("s1", job.job_id)
    else:
        world.sweep()
    [letter] = world.ledger.dead()
    assert (letter.status, letter.reason, letter.attempts) == (Status.EXPIRED, "job_expired", 0)


def test_a_poisoned_job_tells_how_many_workers_died(world: World) -> None:
    world.sweep()
    job = world.submit()
    for attempt in range(1, POISONED_AFTER + 1):
        world.claim(job, by=f"t{attempt}", lease=EXPIRED)
        world.be_due(job)
        world.sweep()
    [letter] = world.ledger.dead()
    assert (letter.reason, letter.deaths) == ("job_poisoned", POISONED_AFTER)


def test_what_a_crash_left_out_a_sweep_makes_up_for(world: World) -> None:
    world.sweep()
    job = world.submit()
    world.claim(job)
    ending = world.finishing(job, status=Status.FAILED, error=ERROR)
    world.ledger.run(replace(ending, after=nothing_after))
    assert buried(world) == []
    world.be_due(job)
    world.sweep()
    assert buried(world) == [job.job_id]
    assert world.due(job) is None


def test_a_repeated_end_changes_nothing(world: World) -> None:
    job = fail(world)
    before = world.raw.zscore(world.keys.dead, f"s1/{job.job_id}")
    world.ledger.run(world.finishing(job, status=Status.FAILED, error=ERROR))
    world.ledger.cancel("s1", job.job_id)
    assert world.raw.zscore(world.keys.dead, f"s1/{job.job_id}") == before


def drop(world: World, job: Submitted) -> int:
    return world.ledger.drop_dead([(job.session_id, job.job_id)])


def test_a_letter_is_dropped_and_its_job_stays(world: World) -> None:
    job = fail(world)
    assert [drop(world, job), drop(world, job), world.ledger.drop_dead([])] == [1, 1, 0]
    assert world.ledger.drop_dead([("s1", "other")]) == 0
    assert world.ledger.dead() == []
    assert world.ledger.job(job.job_id).status is Status.FAILED


def test_no_late_repeat_of_an_end_brings_back_what_was_dropped(world: World) -> None:
    failed, expired, swept = fail(world, "s1"), world.submit("s2"), fail(world, "s3")
    be_overdue(world, expired)
    world.ledger.expire("s2", expired.job_id)
    world.be_due(swept)  # as after a crash before it was taken out
    for job in (failed, expired, swept):
        assert drop(world, job) == 1
    world.ledger.run(world.finishing(failed, status=Status.FAILED, error=ERROR))
    for job in (failed, expired):
        world.ledger.cancel(job.session_id, job.job_id)
        world.ledger.expire(job.session_id, job.job_id)
    assert world.sweep().ended == 1
    assert world.ledger.dead() == []
    assert fail(world, "s4").job_id in buried(world)


def test_a_late_repeat_makes_no_letter_younger(world: World) -> None:
    first, second = world.submit("s1"), world.submit("s2")
    for job in (first, second):
        be_overdue(world, job)
        world.ledger.expire(job.session_id, job.job_id)
    world.raw.zrem(world.keys.dead, f"s1/{first.job_id}")  # as when there were too many
    world.ledger.expire("s1", first.job_id)
    assert buried(world) == [second.job_id, first.job_id]


def test_a_job_that_was_lost_and_fails_again_is_a_letter_again(world: World) -> None:
    job = ChatJob(messages="x", session_id="s1")
    for _ in range(2):
        again = world.ledger.submit(job)
        world.claim(again)
        world.finish(again, status=Status.FAILED, error=ERROR)
        assert drop(world, again) == 1
        world.raw.delete(world.keys.job("s1", job.job_id))


def test_the_latest_come_first_and_what_is_gone_is_left_out(world: World) -> None:
    jobs = [fail(world, f"s{i}").job_id for i in range(6)]
    for place, job_id in enumerate(jobs):
        world.raw.zadd(world.keys.dead, {f"s{place}/{job_id}": world.time() * 1000 + place})
    for place in (1, 5):
        world.raw.delete(world.keys.job(f"s{place}", jobs[place]))
    assert buried(world, 2) == [jobs[4], jobs[3]]
    assert buried(world) == [jobs[4], jobs[3], jobs[2], jobs[0]]
    assert world.raw.zcard(world.keys.dead) == 4


def test_old_ones_and_too_many_are_dropped(world: World) -> None:
    script, key = load("bury").source, world.keys.dead
    now = int(world.time() * 1000)
    for name, ended in (("old", now - 70_000), ("first", now - 3), ("second", now - 2), ("third", now - 1)):
        world.raw.eval(script, 1, key, f"s1/{name}", ended, 60_000, 2)
    assert world.raw.zrange(key, 0, -1) == [b"s1/second", b"s1/third"]
    assert 0 < world.seconds_to_live(key) <= 60
    assert world.ledger.dead() == []  # there are no such jobs
    fail(world)
    assert world.seconds_to_live(key) == pytest.approx(world.ledger.retention.job, abs=60)


async def test_the_async_ledger_does_the_same(world: World) -> None:
    async with AsyncLedger(world.settings) as ledger:
        job = await ledger.submit(ChatJob(messages="x", session_id="s1"))
        be_overdue(world, job)
        await ledger.expire("s1", job.job_id)
        assert [letter.job_id for letter in await ledger.dead(5)] == [job.job_id]
        assert await ledger.drop_dead([("s1", job.job_id)]) == 1
        assert await ledger.dead() == []
