"""The soak: 200 streams at any moment, a worker killed every 15 seconds, memory flat and counts exact.

`make soak SECONDS=600`. One worker is spared, so that there is a worker old enough to leak.
"""

import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import MakeStand
from tests.faults.stand import UNHURRIED, Books, Job, Stand, ready
from tests.servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults"), pytest.mark.soak]

SECONDS = float(os.environ.get("PALAVER_TEST_SOAK_SECONDS", "600"))
STREAMS = 200
LENGTH = 10  # seconds of a stream
RATE = 10  # words a second
EVERY = 15.0  # seconds from a kill to the next
DEADLINE = 60  # seconds; a job that is hit three times ends after 40
SHORT = {"PALAVER_RETENTION": "30", "PALAVER_LOG_RETENTION": "30", "PALAVER_SESSION_RETENTION": "30"}
"""Ended jobs go soon, and sessions so long after the deadlines of theirs: Redis too has a size to keep."""
WARM_UP = max(SECONDS / 4, min(SECONDS / 2, 100))  # seconds; the first sessions are gone by then
FLAT = 300  # seconds; of a shorter soak the memory says nothing
GROWTH = 1.05


class Memory:
    """Bytes of each process, sampled."""

    def __init__(self) -> None:
        self.samples: dict[str, list[tuple[float, int]]] = defaultdict(list)

    def take(self, name: str, size: int) -> None:
        self.samples[name].append((time.monotonic(), size))

    def growth(self, since: float) -> dict[str, float]:
        """The last third after `since` against the first third, by process."""
        found = {}
        for name, samples in self.samples.items():
            sizes = [size for at, size in samples if at >= since]
            third = max(len(sizes) // 3, 1)
            found[name] = statistics.median(sizes[-third:]) / statistics.median(sizes[:third])
        return found


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Soak:
    """What goes on during the soak, a second at a time."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.spared, *self.victims = stand.workers(3, slots=STREAMS)
        self.memory = Memory()
        self.pending: list[tuple[float, Job]] = []  # since when
        self.kills = self.submitted = self.completed = 0
        self.recoveries: list[float] = []  # seconds from a kill to the next event of each job that it hit
        self._hit: dict[str, list[float]] = defaultdict(list)  # jobs whose worker was killed, and when
        self._next_kill = time.monotonic() + EVERY

    def tick(self) -> None:
        now = time.monotonic()
        jobs = self.stand.submit(STREAMS // LENGTH, words=LENGTH * RATE, rate=RATE, deadline=DEADLINE)
        self.submitted += len(jobs)
        self.pending += [(now, job) for job in jobs]
        if now >= self._next_kill:
            self._next_kill += EVERY
            self._kill()
        self._sample()
        self.settle()
        time.sleep(max(0.0, now + 1 - time.monotonic()))  # jobs come at a steady rate

    def settle(self) -> None:
        """Check what has ended, one job at a time: no more is in memory when many end together."""
        now = time.monotonic()
        ended = [job for since, job in self.pending if now - since > LENGTH and job.handle.status.ended]
        for job in ended:
            self._count([job], self.stand.settle([job], ledger=False))

    def settle_last(self) -> None:
        """Wait for those that are left, and check the ledger too."""
        last = [job for _, job in self.pending]
        self._count(last, self.stand.settle(last))

    def _count(self, jobs: list[Job], books: Books) -> None:
        self.completed += len(jobs)
        for job in jobs:
            for fault in self._hit.pop(job.id, ()):
                self.recoveries += books.recoveries([job], fault)
        done = {job.id for job in jobs}
        self.pending = [(since, job) for since, job in self.pending if job.id not in done]

    def _kill(self) -> None:
        victim = self.victims.pop(0)
        ready(victim)
        fault = self.stand.kill(victim)
        held = self.stand.held([job for _, job in self.pending], victim)
        victim.forget()
        for job in held:
            self._hit[job.id].append(fault)
        self.victims.append(self.stand.start_worker(slots=STREAMS))
        self.kills += 1

    def _sample(self) -> None:
        self.spared.forget()
        self.memory.take("redis", self.stand.raw.info("memory")["used_memory"])
        self.memory.take("client", resident(os.getpid()))
        self.memory.take("worker", resident(self.spared.pid))  # `palaver worker` becomes the worker
        self.memory.take("provider", resident(self.stand.provider.running.pid))


@pytest.mark.timeout(SECONDS + 300)
def test_soak(own_redis: Callable[..., RedisServer], make_stand: MakeStand) -> None:
    stand = make_stand(own_redis(), {**UNHURRIED, **SHORT})
    soak = Soak(stand)
    begun = time.monotonic()
    while time.monotonic() < begun + SECONDS:
        soak.tick()
    soak.settle_last()
    for worker in soak.victims:
        ready(worker)
    growth = soak.memory.growth(begun + WARM_UP)
    usual, worst = statistics.median(soak.recoveries), max(soak.recoveries)
    sizes = {
        name: f"{samples[-1][1] / 2**20:.1f} MB, {growth[name] - 1:+.1%}"
        for name, samples in soak.memory.samples.items()
    }
    print(
        f"\n{soak.completed} of {soak.submitted} jobs completed, every text exact; {soak.kills} kills"
        f"\n{len(soak.recoveries)} answers taken over: {usual:.2f} s after the kill, at worst {worst:.2f} s"
        f"\nmemory, and the last third against the first: {sizes}"
    )
    assert soak.completed == soak.submitted
    assert stand.ledger.unended() == 0
    assert not stand.raw.exists("unacked", "unacked_index"), "Celery's notes of what killed workers had taken"
    assert SECONDS < FLAT or max(growth.values()) < GROWTH, growth
