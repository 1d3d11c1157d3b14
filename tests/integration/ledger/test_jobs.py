"""The session's list of its jobs, from which a reader learns what it missed when the log is gone."""

import time

from palaver.shared.errors import ErrorInfo, ValidationError
from palaver.shared.jobs import Status
from palaver.shared.ledger import Snapshot, Submitted
from tests.integration.ledger.world import World

LISTED = 100
"""Ended jobs that a session lists."""


def missed(world: World, after: int = 0) -> Snapshot:
    return world.ledger.snapshot("s1", after=after)


def end(world: World) -> tuple[Submitted, int]:
    """A job that has ended, and the seq of its end."""
    job = world.submit()
    world.claim(job)
    return job, world.finish(job).seq


def test_unended_jobs_of_every_kind_are_listed(world: World) -> None:
    active, waiting = world.submit(), world.submit()
    beside = world.submit(on_busy="parallel")
    parked = world.submit(run_at=time.time() + 900)
    world.claim(beside)
    found = missed(world)
    assert found.jobs.keys() == {job.job_id for job in (active, waiting, beside, parked)}
    assert (found.ended, found.forgotten) == ([], False)


def test_ended_jobs_are_listed_by_their_end(world: World) -> None:
    (first, first_end), (second, second_end) = end(world), end(world)
    cancelled = world.submit()
    world.ledger.cancel("s1", cancelled.job_id)
    error = ErrorInfo.of(ValidationError("It names no message."))
    world.ledger.refuse("s1", "refused", error)
    later = [second.job_id, cancelled.job_id, "refused"]
    assert missed(world).ended == [first.job_id, *later]
    assert missed(world, first_end).ended == later
    assert missed(world, second_end).ended == later[1:]
    assert not missed(world).jobs


def test_a_job_that_is_asked_for_comes_once(world: World) -> None:
    job, _ = end(world)
    active = world.submit()
    found = world.ledger.snapshot("s1", [active.job_id, job.job_id], after=0)
    assert list(found.jobs) == [active.job_id, job.job_id]


def test_the_last_hundred_are_listed_and_of_the_others_is_known_that_they_were(world: World) -> None:
    refused = [f"refused {number}" for number in range(LISTED + 2)]  # the cheapest way to an end
    error = ErrorInfo.of(ValidationError("It names no message."))
    ends = [world.ledger.refuse("s1", job_id, error).cursor + 1 for job_id in refused]
    last, _ = end(world)
    assert missed(world).ended == [*refused[3:], last.job_id]
    assert missed(world, ends[2] - 1).forgotten
    assert not missed(world, ends[2]).forgotten


def test_those_that_are_listed_no_more_are_known_as_long_as_their_keys(world: World) -> None:
    kept = world.ledger.retention.job
    (first, _), (second, _), *_ = [end(world) for _ in range(LISTED + 2)]
    key = world.keys.ended("s1")
    assert world.raw.zrange(key, 0, -1) == [first.job_id.encode(), second.job_id.encode()]
    assert kept - 60 < world.seconds_to_live(key) <= kept
    world.raw.zadd(key, {first.job_id: 1})
    third, _ = end(world)
    assert first.job_id.encode() not in world.raw.zrange(key, 0, -1), "its keys are gone by now"
    assert third.job_id in missed(world).ended


def test_a_listed_job_whose_keys_are_gone_falls_off(world: World) -> None:
    (gone, gone_end), (kept, _) = end(world), end(world)
    world.raw.delete(world.keys.job("s1", gone.job_id))
    last, _ = end(world)
    assert missed(world).ended == [kept.job_id, last.job_id]
    assert missed(world, gone_end - 1).forgotten
    assert not missed(world, gone_end).forgotten


def test_a_new_list_does_not_know_what_was_before_it(world: World) -> None:
    _, seq = end(world)
    world.raw.delete(world.keys.jobs("s1"))
    assert missed(world).forgotten, "there is no list"
    job = world.submit()
    assert missed(world).forgotten
    found = missed(world, seq)
    assert (list(found.jobs), found.ended, found.forgotten) == ([job.job_id], [], False)


def test_a_job_that_vanished_before_its_end_is_taken_off_by_a_sweep(world: World) -> None:
    vanished = world.submit(on_busy="parallel")
    _, seq = end(world)
    world.raw.delete(world.keys.job("s1", vanished.job_id))
    world.raw.zadd(world.keys.due, {f"s1/{vanished.job_id}": 1})
    assert world.sweep().looked == 1
    assert world.raw.zscore(world.keys.jobs("s1"), vanished.job_id) is None
    assert not missed(world, seq).forgotten
    end(world)
    kept = world.ledger.retention.log
    assert world.seconds_to_live(world.keys.events("s1")) <= kept, "nothing holds the log any longer"


def test_a_look_at_an_ended_job_that_is_gone_hides_nothing(world: World) -> None:
    (gone, seq), _ = end(world), end(world)
    world.raw.delete(world.keys.job("s1", gone.job_id))
    world.raw.zadd(world.keys.due, {f"s1/{gone.job_id}": 1})
    world.sweep()
    found = missed(world, seq - 1)
    assert gone.job_id in found.ended or found.forgotten


def test_a_repeated_end_is_listed_once(world: World) -> None:
    job = world.submit()
    world.claim(job)
    for _ in range(2):
        assert world.finish(job).status is Status.COMPLETED
    before = world.raw.zrange(world.keys.jobs("s1"), 0, -1, withscores=True)
    world.ledger.expire("s1", job.job_id)
    world.ledger.cancel("s1", job.job_id)
    assert world.raw.zrange(world.keys.jobs("s1"), 0, -1, withscores=True) == before
    assert len(before) == 1


def test_the_list_lives_as_long_as_the_jobs_in_it(world: World) -> None:
    key = world.keys.jobs("s1")
    job, _ = end(world)
    kept = world.ledger.retention.job
    assert kept - 5 < world.seconds_to_live(key) <= kept
    later = world.submit(run_at=time.time() + 900)
    assert world.seconds_to_live(key) >= world.seconds_to_live(world.keys.job("s1", later.job_id)) - 1
    world.ledger.cancel("s1", later.job_id)
    assert world.seconds_to_live(key) <= kept
    assert world.seconds_to_live(key) >= world.seconds_to_live(world.keys.job("s1", job.job_id))
