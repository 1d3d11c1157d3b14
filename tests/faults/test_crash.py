"""Workers that die, stop for a while, or take a job with them again and again."""

import random
import time
from functools import partial

import pytest

from palaver.shared.jobs import Status
from tests.faults.conftest import MakeStand
from tests.faults.stand import HURRIED, PROFILES, UNHURRIED, Stand, in_time, ready, until

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults")]


@pytest.mark.any_broker
def test_a_killed_workers_answers_go_on_from_where_they_were(stand: Stand) -> None:
    workers = stand.workers(3)
    jobs = stand.submit(45, words=100, rate=20)
    stand.streaming(jobs)
    victim = stand.busiest(workers, jobs)
    fault = stand.kill(victim)
    held = stand.held(jobs, victim)
    assert held
    books = stand.settle(jobs)
    recoveries = books.recoveries(held, fault)
    assert len(recoveries) == len(held)
    in_time(stand.lease + 2, recoveries, "taken over")
    for job in held:
        offsets = books.offsets(job)
        assert offsets[0] == 0
        assert offsets[-1] > 0
    assert all(len(books.offsets(job)) == 1 for job in jobs if job not in held)


@pytest.mark.long
def test_each_profile_goes_on_in_its_own_way(stand: Stand) -> None:
    (first,) = stand.workers(1)
    jobs = {name: stand.submit(1, words=120, model=f"{name}/m")[0] for name in PROFILES}
    jobs["complete"] = stand.submit(1, words=120, model="auto/m", complete=True)[0]
    stand.streaming(list(jobs.values()))
    stand.kill(first)
    stand.workers(1)
    books = stand.settle(list(jobs.values()))
    for name in ("prefix", "prompt", "complete"):
        assert books.offsets(jobs[name])[-1] > 0, name
    # this dialect's servers do not say that they take an assistant's beginning
    assert books.offsets(jobs["restart"]) == books.offsets(jobs["auto"]) == [0, 0]


@pytest.mark.any_broker
def test_a_zombie_writes_nothing(stand: Stand) -> None:
    workers = stand.workers(2)
    jobs = stand.submit(20, words=100, rate=20)
    stand.streaming(jobs)
    first = stand.busiest(workers, jobs)
    with stand.stopped(first):
        fault = time.time()
        held = stand.held(jobs, first)
        until(lambda: not stand.held(held, first), "its jobs were not taken over")
        stand.let_pass(stand.lease + 2, since=fault)  # while its jobs go on elsewhere
    books = stand.settle(jobs)
    recoveries = books.recoveries(held, fault)
    assert len(recoveries) == len(held)
    in_time(stand.lease + 2 + stand.unnoticed, recoveries, "taken over")
    # it stopped its work as well, and serves on
    until(lambda: stand.provider.stats()["open"] == 0, "requests to the provider are left open")
    stand.settle(stand.submit(20, words=5))
    assert first.process.poll() is None


@pytest.mark.any_broker
@pytest.mark.long
def test_a_job_that_kills_its_workers_is_given_up(stand: Stand) -> None:
    poison, *_ = stand.submit(1, script={"start": 600})
    for _ in range(3):
        (worker,) = stand.workers(1)
        until(partial(stand.held, [poison], worker), "the job was not claimed")
        stand.kill(worker)
    stand.workers(1)
    books = stand.settle([poison], status=Status.FAILED)
    assert books.events[poison.id][-1]["data"]["error"]["type"] == "JobPoisonedError"
    (letter,) = stand.client.dead()
    assert (letter.job_id, letter.deaths) == (poison.id, 3)


@pytest.mark.long
def test_a_job_that_says_something_in_between_is_not_given_up(stand: Stand) -> None:
    jobs = stand.submit(1, words=400, rate=20)
    for _ in range(4):
        (worker,) = stand.workers(1)
        until(partial(stand.held, jobs, worker), "the job was not claimed")
        stand.progress(jobs)
        stand.kill(worker)
    stand.workers(1)
    stand.settle(jobs)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("model", ["prefix/m", "restart/m"])
@pytest.mark.parametrize(
    ("settings", "rounds"), [(HURRIED, 8), (UNHURRIED, 2)], ids=["short leases", "default leases"]
)
def test_many_kills_at_random_moments(
    make_stand: MakeStand, settings: dict[str, str], rounds: int, model: str
) -> None:
    stand = make_stand(settings=settings)
    chance = random.Random(model)
    workers = stand.workers(3)
    worst: list[float] = []
    for _ in range(rounds):
        jobs = stand.submit(100, words=120, rate=20, model=model)
        stand.streaming(jobs)
        time.sleep(chance.uniform(0, 2))  # the moment
        victim = chance.choice([n for n, worker in enumerate(workers) if stand.held(jobs, worker)])
        fault = stand.kill(workers[victim])
        held = stand.held(jobs, workers[victim])
        workers[victim] = stand.start_worker()
        books = stand.settle(jobs, seconds=90)
        recoveries = books.recoveries(held, fault)
        assert len(recoveries) == len(held) > 0
        worst.append(max(recoveries))
        for job in held:
            assert (books.offsets(job)[-1] > 0) is (model == "prefix/m")
        ready(workers[victim])
    if settings is UNHURRIED:  # short leases are for many kills; a little else to do leaves a sweep no time
        in_time(stand.lease + 2, worst, "taken over")
