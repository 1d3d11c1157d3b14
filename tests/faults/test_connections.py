"""Connections to Redis that break or stall: of workers, and of readers."""

import threading
import time
from collections.abc import Callable

import pytest

from palaver.producer import Client
from palaver.workers.link import STALL_SECONDS, STALLS
from palaver.workers.pool.leaving import END_SECONDS
from tests.faults.conftest import MakeStand
from tests.faults.proxy import Proxy
from tests.faults.stand import Stand, in_time, until
from tests.servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults"), pytest.mark.long]

OwnRedis = Callable[..., RedisServer]


def test_connections_that_are_reset_again_and_again(stand: Stand) -> None:
    with Proxy(stand.redis.port) as proxy:
        stand.workers(2, env={"PALAVER_REDIS_URL": proxy.url})
        jobs = stand.submit(20, words=200, rate=20)
        stand.streaming(jobs)
        for _ in range(5):
            assert proxy.reset() >= 2
            stand.progress(jobs[:3])
        books = stand.settle(jobs)
    assert {attempt for job in jobs for attempt in books.attempts(job)} == {1}


@pytest.mark.any_broker
def test_workers_that_are_split_from_redis_write_nothing_later(stand: Stand) -> None:
    with Proxy(stand.redis.port) as proxy:
        cut_off = stand.workers(2, env={"PALAVER_REDIS_URL": proxy.url})
        jobs = stand.submit(20, words=300, rate=20)  # they outlast the start of a worker
        stand.streaming(jobs)
        assert sum(len(stand.held(jobs, worker)) for worker in cut_off) == len(jobs)
        (third,) = stand.workers(1)
        proxy.stall()
        fault = time.time()
        until(lambda: {job.handle.view().attempt for job in jobs} == {2}, "they were not taken over")
        stand.let_pass(2 * stand.lease, since=fault)
        proxy.heal()
        books = stand.settle(jobs)
        recoveries = books.recoveries(jobs, fault)
        assert all(books.attempts(job) == [1, 2] for job in jobs)
        in_time(stand.lease + 2 + stand.unnoticed, recoveries, "taken over from the two that were split off")
        stand.kill(third)
        stand.settle(stand.submit(10, words=10))  # the two serve on


def test_a_worker_to_whose_streams_redis_answers_nothing_ends_by_itself(stand: Stand) -> None:
    """It is greeted again and again, and never answered. Its jobs are others' long before that."""
    with Proxy(stand.redis.port) as proxy:
        (worker,) = stand.workers(1, env={"PALAVER_REDIS_URL": proxy.url})
        jobs = stand.submit(10, words=100, rate=20)
        stand.streaming(jobs)
        assert len(stand.held(jobs, worker)) == len(jobs)
        traps = [proxy.hold("append") for _ in range(STALLS)]
        traps[0].wait()
        stand.workers(1)
        books = stand.settle(jobs)
        assert all(books.attempts(job)[-1] > 1 for job in jobs)
        worker.wait_for("worker.link_dead", seconds=2 * STALLS * STALL_SECONDS)
        assert worker.wait(2 * END_SECONDS) == 1
        assert all(trap.caught for trap in traps)


def test_a_reader_behind_a_connection_that_stalls(stand: Stand) -> None:
    stand.workers(1)
    with Proxy(stand.redis.port) as proxy:
        client = Client(stand.settings.model_copy(update={"redis_url": proxy.url}))
        (job,) = stand.submit(1, words=100, rate=20)
        reading = Reading(client, job.id)
        until(lambda: len(reading.seqs) > 10, "nothing arrives")
        proxy.stall()
        stand.settle([job])  # nobody waits for a reader
        assert not reading.ended
        proxy.heal()
        reading.check(job.text)
        client.close()


def test_a_reader_that_redis_throws_out(own_redis: OwnRedis, make_stand: MakeStand) -> None:
    limit = "pubsub 65536 0 0"
    stand = make_stand(own_redis("--client-output-buffer-limit", limit))
    stand.workers(1)
    with Proxy(stand.redis.port) as proxy:
        client = Client(stand.settings.model_copy(update={"redis_url": proxy.url}))
        deltas = [f" {number:05}" + "~" * 10_000 for number in range(350)]
        (job,) = stand.submit(1, script={"deltas": deltas, "rate": 150})
        reading = Reading(client, job.id)
        until(lambda: len(reading.seqs) > 3, "nothing arrives")
        proxy.stall()
        assert stand.redis.running is not None
        stand.redis.running.wait_for("overcoming of output buffer limits")
        proxy.heal()
        reading.check("".join(deltas))
        client.close()


class Reading:
    """A reader in a thread."""

    def __init__(self, client: Client, job_id: str) -> None:
        self.seqs: list[int] = []
        self.text = ""
        self.ended = False
        self._handle = client.job(job_id)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        for event in self._handle.events():
            self.seqs.append(event.seq)
            self.text += getattr(event.data, "delta", "")
        self.ended = True

    def check(self, text: str) -> None:
        """It got to the end, and neither missed nor repeated anything."""
        self._thread.join(30)
        assert self.ended, f"still reading after {self.seqs[-1]}"
        assert self.seqs == list(range(1, len(self.seqs) + 1))
        assert self.text == text
