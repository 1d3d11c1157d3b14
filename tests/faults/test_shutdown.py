"""Workers that are told to stop: draining, handing over, and all of them replaced one by one under load."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from palaver.shared.jobs import Status
from palaver.workers.pool.leaving import END_SECONDS
from tests.faults.conftest import MakeStand
from tests.faults.load import Load
from tests.faults.proxy import Proxy
from tests.faults.stand import HURRIED, Stand, in_time, ready, until
from tests.processes import Running
from tests.servers import IN_TIME, RedisServer

OwnRedis = Callable[..., RedisServer]

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults")]

LONG_DRAIN = {"PALAVER_DRAIN_SECONDS": "60"}


@pytest.mark.any_broker
@pytest.mark.long
def test_a_drained_worker_hands_over_and_another_goes_on_at_once(stand: Stand) -> None:
    workers = stand.workers(2)  # they drain for a second
    short, long = stand.submit(10, words=10, rate=20), stand.submit(20, words=160, rate=20)
    stand.streaming(long)
    first = stand.busiest(workers, long)
    held = stand.held(long, first)
    first.signal(signal.SIGTERM)
    assert first.wait(IN_TIME) == 0
    books = stand.settle([*short, *long])
    assert all(books.attempts(job) == [1, 2] and books.offsets(job)[-1] > 0 for job in held)
    in_time(1, [books.gap(job) for job in held], "handed over")


@pytest.mark.any_broker
@pytest.mark.long
def test_a_second_signal_hands_over_at_once(stand: Stand) -> None:
    workers = stand.workers(2, env=LONG_DRAIN)
    jobs = stand.submit(20, words=200, rate=20)
    stand.streaming(jobs)
    first = stand.busiest(workers, jobs)
    held = stand.held(jobs, first)
    first.signal(signal.SIGTERM)
    first.wait_for("Warm shutdown")
    first.signal(signal.SIGTERM)
    assert first.wait(IN_TIME) == 0
    books = stand.settle(jobs)
    assert held
    assert all(books.attempts(job) == [1, 2] and books.offsets(job)[-1] > 0 for job in held)
    in_time(1, [books.gap(job) for job in held], "handed over")


@pytest.mark.long
@pytest.mark.parametrize(
    ("away", "signals"),
    [
        pytest.param("dead", 1, id="dead, drained", marks=pytest.mark.any_broker),
        pytest.param("hanging", 1, id="hanging, drained"),
        pytest.param("hanging", 2, id="hanging, told twice"),
    ],
)
def test_a_worker_leaves_while_redis_is_away(
    own_redis: OwnRedis, make_stand: MakeStand, away: str, signals: int
) -> None:
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    redis = own_redis(*durable)
    stand = make_stand(redis, HURRIED if signals == 1 else {**HURRIED, **LONG_DRAIN})
    (worker,) = stand.workers(1)
    jobs = stand.submit(10, words=2_000, rate=20)
    stand.streaming(jobs)
    assert redis.running is not None
    with redis_away(redis, worker) if away == "dead" else stand.stopped(redis.running):
        for _ in range(signals):
            told = time.time()
            worker.signal(signal.SIGTERM)
            worker.wait_for("Warm shutdown")
        assert worker.wait(30) == 0
    in_time(1 + END_SECONDS + 1, [time.time() - told], f"left while Redis is {away}")
    if away == "dead":
        own_redis(*durable, port=redis.port)
    stand.workers(1)
    stand.progress(jobs)
    for job in jobs:
        job.handle.cancel()
    stand.settle(jobs, status=Status.CANCELLED)


@pytest.mark.long
def test_a_worker_that_leaves_waits_for_no_probe_that_the_ledger_does_not_answer(stand: Stand) -> None:
    with Proxy(stand.redis.port) as proxy:
        # Celery's thread notes that it has it, in vain: it begins once everything else was handed over.
        trap = proxy.hold("ZADD", reply=False, where=lambda words: words[1].endswith(b"unacked_index"))
        (worker,) = stand.workers(1, env={"PALAVER_REDIS_URL": proxy.url})
        trap.wait()
        proxy.stall()
        told = time.time()
        worker.signal(signal.SIGTERM)
        assert worker.wait(30) == 0
    assert "message.not_noted" in worker.output
    in_time(1 + END_SECONDS + 1, [time.time() - told], "left while a probe waits")


@contextmanager
def redis_away(redis: RedisServer, worker: Running) -> Iterator[None]:
    """Kill it, and wait until the worker has noticed."""
    assert redis.running is not None
    redis.running.kill()
    worker.wait_for("link.lost")
    yield


@pytest.mark.any_broker
@pytest.mark.long
def test_all_workers_are_replaced_under_load(stand: Stand) -> None:
    workers = stand.workers(2, slots=50)
    with Load(stand) as load:
        for old in list(workers):
            workers.append(stand.start_worker(slots=50))
            ready(workers[-1])
            old.signal(signal.SIGTERM)
            assert old.wait(30) == 0
    books = stand.settle(load.jobs)
    moved = [job for job in load.jobs if books.attempts(job) == [1, 2]]
    print(f"{len(load.jobs)} jobs, {len(moved)} handed over")
    assert not load.refused
    assert moved
    assert all(max(books.attempts(job)) <= 3 for job in load.jobs)
    assert all(len(set(books.offsets(job))) == len(books.offsets(job)) for job in load.jobs)


@pytest.mark.any_broker
@pytest.mark.long
def test_resumed_jobs_pass_a_full_worker_and_all_that_wait(stand: Stand) -> None:
    (first,) = stand.workers(1, slots=2)
    going_on = stand.submit(2, words=2_000, rate=20)
    stand.streaming(going_on)
    (second,) = stand.workers(1, slots=20)
    full = stand.submit(20, words=2_000, rate=20)
    until(lambda: len(stand.held(full, second)) == 20, "the second worker is not full")
    waiting = stand.submit(10_000, words=1)
    first.signal(signal.SIGTERM)
    assert first.wait(30) == 0
    until(lambda: len(stand.held(going_on, second)) == 2, "nobody goes on")
    assert len(stand.held(full, second)) == 20  # in slots of their own
    assert stand.waiting() >= len(waiting) - stand.prefetched
    stand.progress(going_on)
    for job in going_on:
        job.handle.cancel()
    books = stand.settle(going_on, status=Status.CANCELLED)
    in_time(1, [books.gap(job) for job in going_on], f"handed over before {len(waiting)} that wait")
    for job in full:
        job.handle.cancel()
    stand.settle(full, status=Status.CANCELLED)
    stand.settle(waiting[:200])  # the next ones
