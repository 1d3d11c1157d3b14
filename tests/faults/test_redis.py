"""A Redis that stands still, restarts, or is full."""

import time
from collections.abc import Callable

import pytest

from palaver.shared.errors import LedgerFullError
from palaver.shared.jobs import Status
from tests.faults.conftest import MakeStand
from tests.faults.stand import HURRIED, UNHURRIED, until
from tests.servers import RedisServer

OwnRedis = Callable[..., RedisServer]

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults"), pytest.mark.long]


@pytest.mark.parametrize(
    ("settings", "pause"), [(HURRIED, 5), (UNHURRIED, 15)], ids=["longer than a lease", "15 seconds"]
)
def test_a_pause_takes_nobody_over(
    own_redis: OwnRedis, make_stand: MakeStand, settings: dict[str, str], pause: int
) -> None:
    stand = make_stand(own_redis("--enable-debug-command", "yes"), settings)
    stand.workers(3)
    jobs = stand.submit(60, words=30 * pause, rate=20)
    stand.streaming(jobs)
    begun = time.time()
    stand.raw.execute_command("DEBUG", "SLEEP", pause)  # type: ignore[no-untyped-call]
    assert time.time() - begun >= pause
    books = stand.settle(jobs, seconds=90)
    assert {attempt for job in jobs for attempt in books.attempts(job)} == {1}


def test_a_restart_with_its_file(own_redis: OwnRedis, make_stand: MakeStand) -> None:
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    redis = own_redis(*durable)
    stand = make_stand(redis)
    workers = stand.workers(2)
    jobs = stand.submit(20, words=120, rate=20)
    stand.streaming(jobs)
    assert redis.running is not None
    redis.running.kill()
    for worker in workers:
        worker.wait_for("link.lost")
    own_redis(*durable, port=redis.port)
    stand.settle(jobs)


def test_a_full_redis_takes_no_job_and_the_running_ones_end(
    own_redis: OwnRedis, make_stand: MakeStand
) -> None:
    stand = make_stand(own_redis("--maxmemory-policy", "noeviction"))
    (worker,) = stand.workers(1, slots=5)
    running = stand.submit(5, words=60, rate=20)
    stand.streaming(running)
    waiting = stand.submit(5, words=10)
    stand.raw.config_set("maxmemory", "1mb")
    with pytest.raises(LedgerFullError):
        stand.client.submit("Hello", model="prefix/m")
    until(lambda: not stand.unended(running), "a running job did not end")
    books = stand.settle(running, status=Status.FAILED, ledger=False)
    for job in running:
        end = books.events[job.id][-1]["data"]
        assert end["error"]["type"] == "LedgerFullError"
        assert job.text.startswith(end["text"])
    worker.wait_for("message.not_noted")  # it goes on to ask for what waits
    stand.raw.config_set("maxmemory", 0)
    stand.settle([*waiting, *stand.submit(2)])
    stand.settle(running, status=Status.FAILED)
