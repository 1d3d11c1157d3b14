"""Real runs that the model is held against: a Redis, a provider, several workers, all on this machine."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Final
from urllib.request import urlopen

from palaver.producer import Client
from palaver.shared.ledger import SyncLedger
from palaver.workers.link import Link
from tests.benchmarks.contenders import Palaver
from tests.benchmarks.machine import used_seconds
from tests.benchmarks.stage import Load, Stage, Stuck, cpu_seconds, stage
from tests.benchmarks.streams import SETTLING_SECONDS
from tests.servers import free_port

WINDOW_SECONDS: Final = 5.0
REST_SECONDS: Final = 6.0
ROUND_TRIPS: Final = 20_000
SENDS: Final = 4_000
BETWEEN_SENDS: Final = 500e-6  # seconds in which whoever takes it falls asleep again
TAKER: Final = """
import os, socket, sys
taken, core, awake = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
os.sched_setaffinity(0, {core})
taken.send(b".")
flags = socket.MSG_DONTWAIT if awake else 0
while True:
    try:
        if not taken.recv(1, flags):
            break
    except BlockingIOError:
        pass
"""
COUNTED: Final = ("palaver_publish_batches_total", "palaver_publish_appends_total")


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What was used in a while of the steady state, all workers together; times are of CPU, in seconds."""

    streams: int
    rate: float
    workers: int
    seconds: float
    chunks: int  # that the provider wrote
    batches: float
    appends: float
    worker: float
    redis: float
    provider: float
    others: float  # whoever else used this machine


@dataclass(frozen=True, kw_only=True)
class Rest:
    """What is used without streams; seconds of CPU."""

    idle: float  # of a second, by a worker
    redis_idle: float  # of a second, by Redis beside it
    batch: float  # of a round trip to Redis that asks for nothing, by whoever asks
    redis_batch: float
    rouse: float  # of a send to a process that sleeps on another core, beyond that to one that is awake


def observe(streams: int, rate: float, workers: int, *, seconds: float = WINDOW_SECONDS) -> Observed:
    """Run so many streams over so many workers, and look at the middle."""
    chunks = int((seconds + 8 * SETTLING_SECONDS) * rate)
    load = Load(streams=streams, chunks=chunks, rate=rate, slots=-(-streams // workers))
    with stage() as on:
        told = _Workers(on, load, workers)
        told.submit()
        on.until(lambda provided: provided["live"] == streams or provided["ended"] > 0)
        time.sleep(SETTLING_SECONDS)
        before, provided, began = told.used(), on.provided(), time.monotonic()
        time.sleep(seconds)
        after, later, took = told.used(), on.provided(), time.monotonic() - began
    if later["ended"]:
        raise Stuck(f"streams had ended before the {seconds:g} s in which they are looked at")
    used = {name: after[name] - before[name] for name in after}
    worker = sum(value for name, value in used.items() if name.startswith("worker-"))
    ours = worker + used["redis"] + used["provider"] + used["this process"]
    return Observed(
        streams=streams,
        rate=rate,
        workers=workers,
        seconds=took,
        chunks=later["written"] - provided["written"],
        batches=used[COUNTED[0]],
        appends=used[COUNTED[1]],
        worker=worker,
        redis=used["redis"],
        provider=used["provider"],
        others=max(0.0, used["machine"] - ours),
    )


def at_rest() -> Rest:
    """Look at a worker without streams, once all that belongs to its start is done; and at round trips."""
    with stage() as on:
        told = _Workers(on, Load(streams=1, chunks=1), 1)
        time.sleep(SETTLING_SECONDS)
        before = told.used()
        time.sleep(REST_SECONDS)
        after = told.used()
    with stage() as on:
        batch, redis_batch = asyncio.run(_round_trip(on))
    return Rest(
        idle=(after["worker-0"] - before["worker-0"]) / REST_SECONDS,
        redis_idle=(after["redis"] - before["redis"]) / REST_SECONDS,
        batch=batch,
        redis_batch=redis_batch,
        rouse=_send(awake=False) - _send(awake=True),
    )


async def _round_trip(on: Stage) -> tuple[float, float]:
    """Of one round trip, here and in Redis. Both share a core, which so never sleeps, nor cools."""
    assert on.redis.running is not None
    redis, allowed = on.redis.running.pid, os.sched_getaffinity(0)
    one = {min(allowed)}
    os.sched_setaffinity(redis, one)
    os.sched_setaffinity(0, one)
    link = Link(on.redis.url)
    try:
        await link.start()
        before = time.process_time(), cpu_seconds(redis)
        for _ in range(ROUND_TRIPS):
            await link.caught_up()
        after = time.process_time(), cpu_seconds(redis)
        await link.stop()
    finally:
        os.sched_setaffinity(0, allowed)
    return (after[0] - before[0]) / ROUND_TRIPS, (after[1] - before[1]) / ROUND_TRIPS


def _send(*, awake: bool) -> float:
    """CPU of one byte to another process, each on a core of its own; the other one looks all the time, or is
    asleep whenever it comes.
    """
    first, second, *_ = sorted(allowed := os.sched_getaffinity(0))
    here, there = socket.socketpair()
    taker = subprocess.Popen(
        [sys.executable, "-c", TAKER, str(there.fileno()), str(second), str(int(awake))],
        pass_fds=[there.fileno()],
    )
    there.close()
    here.recv(1)  # it has begun
    os.sched_setaffinity(0, {first})
    used = 0
    try:
        for _ in range(SENDS):
            time.sleep(BETWEEN_SENDS)
            before = time.thread_time_ns()
            here.send(b".")
            used += time.thread_time_ns() - before
    finally:
        os.sched_setaffinity(0, allowed)
        here.close()
        taker.wait(timeout=30)
    return used / SENDS / 1e9


class _Workers(Palaver):
    """Several of them, each with its part of the slots, so that each has its part of the streams."""

    def __init__(self, on: Stage, load: Load, count: int) -> None:
        super().__init__(on, load)
        environment = {
            "PALAVER_REDIS_URL": self.settings.redis_url,
            "PALAVER_CONFIG": self.settings.config,
            "PALAVER_METRICS_ADDRESS": str(free_port()),
        }
        command = ("palaver", "worker", "--concurrency", str(load.room))
        self._running = [
            on.processes.start((*command, "--hostname", f"w{n}@scale"), name=f"worker-{n}", env=environment)
            for n in range(count)
        ]
        for running in self._running:
            running.wait_for("ready", seconds=60)
        with SyncLedger(self.settings) as ledger:
            while len(found := ledger.workers()) < count:
                time.sleep(0.1)
        self._pages = [f"http://{worker.data['metrics']}/metrics" for worker in found]

    def submit(self) -> None:
        with Client(self.settings) as client:
            client.submit_many(
                {"messages": self.load.question, "model": "bench/m", "session_id": f"bench-{number}"}
                for number in range(self.load.streams)
            )

    def used(self) -> dict[str, float]:
        """CPU of each process and of the machine, and what the workers have counted together, until now."""
        assert self.stage.redis.running is not None
        pids = {f"worker-{n}": running.pid for n, running in enumerate(self._running)}
        pids |= {"redis": self.stage.redis.running.pid, "provider": self.stage.provider.pid}
        found = {name: cpu_seconds(pid) for name, pid in pids.items()}
        found |= {"this process": time.process_time(), "machine": used_seconds()}
        pages = [_page(url) for url in self._pages]
        for name in COUNTED:
            values = [re.search(rf"^{name} (\S+)$", page, re.MULTILINE) for page in pages]
            found[name] = sum(float(value[1]) for value in values if value is not None)
        return found


def cores() -> int:
    """That the processes of a run share."""
    return len(os.sched_getaffinity(0))


def _page(url: str) -> str:
    with urlopen(url, timeout=30) as response:  # noqa: S310 - a worker's own address
        text: str = response.read().decode()
        return text
