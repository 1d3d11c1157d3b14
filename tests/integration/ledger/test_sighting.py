"""Jobs that run, found among many that wait."""

import pytest

from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import sighting
from palaver.shared.ledger.replies import Place
from tests.integration.ledger.world import World


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sighting, "PAGE", 10)


def backlog(world: World, count: int) -> None:
    """Jobs that were submitted now, and are looked at soon."""
    world.ledger.submit_many([ChatJob(messages="x", session_id=f"waits-{n}") for n in range(count)])


def run(world: World, count: int, name: str = "runs") -> list[Place]:
    """Jobs that a worker has."""
    jobs = [world.submit(f"{name}-{n}") for n in range(count)]
    for job in jobs:
        world.try_claim(job, lease=10)
    return [(job.session_id, job.job_id) for job in jobs]


def places(found: sighting.Running) -> set[Place]:
    return {(job.session_id, job.job_id) for job in found.jobs}


def test_those_that_run_are_found_behind_a_backlog(world: World) -> None:
    jobs = run(world, 12)
    backlog(world, 60)
    found = world.ledger.running_jobs(20)
    assert places(found) == set(jobs)
    assert found.whole
    assert {job.state for job in found.jobs} == {"running"}


def test_of_more_than_are_wanted_there_are_those_that_were_there_before(world: World) -> None:
    jobs = run(world, 30)
    first = world.ledger.running_jobs(8)
    assert (len(first.jobs), first.whole) == (8, False)
    more = run(world, 1, "new")
    ended = next(iter(places(first)))
    world.raw.hdel(world.keys.job(*ended), "holder")
    second = world.ledger.running_jobs(8, before=sorted(places(first)))
    assert places(first) - {ended} < places(second) <= {*jobs, *more} - {ended}
    assert len(second.jobs) == 8


def test_a_look_has_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sighting, "PAGES", 2)
    run(world, 1)
    backlog(world, 60)
    assert not world.ledger.running_jobs(8).whole


def test_where_nothing_runs_there_is_nothing(world: World) -> None:
    found = world.ledger.running_jobs(8, before=[("gone", "gone")])
    assert (found.jobs, found.whole) == ([], True)
    backlog(world, 3)
    assert world.ledger.running_jobs(8).jobs == []
