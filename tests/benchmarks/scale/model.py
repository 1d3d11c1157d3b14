"""A model of the hot path, event by event: streams, the workers that read them, and the one Redis.

What is modelled: a chunk arrives at its worker, which reads it (`chunk`). When no batch of this worker is on
its way, all streams that have something leave together: `batch`, and `append` for each of them, however many
of its chunks were merged. Redis takes one batch after another (`redis_batch`, `redis_append`); on the way
there and back time passes that is nobody's CPU (`latency`), and more gathers. Each process does one thing at
a time, on one of `cores`; a provider on the same machine takes its own part (`provider`).

What is not: the starts and ends of jobs, readers, networks, the collection of garbage.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import quantiles
from typing import Final

WARM_UP: Final = 1.0  # seconds that are not counted


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Seconds of CPU, as measured."""

    chunk: float  # a worker: to read one
    batch: float  # a worker: to write what has gathered, whatever it is
    append: float  # a worker: for each stream in it
    redis_batch: float
    redis_append: float
    provider: float = 0.0  # of a chunk, where it shares the machine
    idle: float = 0.0  # of a second, in a worker without streams
    latency: float = 0.0  # no CPU: a batch's way to Redis and its reply's way back, until each is noticed


@dataclass(frozen=True, kw_only=True)
class Scene:
    """So many streams, each of so many chunks a second, over so many workers; `cores` for all processes
    together (None: as many as they want). A provider that looks at the clock every `tick` seconds writes what
    is due then.
    """

    streams: int
    rate: float
    workers: int
    cores: int | None = None
    with_provider: bool = False
    tick: float = 0.0
    seconds: float = 3.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was seen after the warm-up. `busy` are shares of a core: of the busiest worker, of Redis."""

    offered: float  # chunks a second
    carried: float
    worker_cpu: float  # seconds of a chunk, of all workers
    redis_cpu: float  # the same
    worker_busy: float
    redis_busy: float
    median: float  # seconds from a chunk's arrival until Redis has published it
    p99: float
    streams_a_batch: float

    @property
    def keeps_up(self) -> bool:
        """Whether what arrives is published, and soon."""
        return self.carried > 0.98 * self.offered and self.p99 < 0.25


class _Process:
    """Runs one piece of work at a time, when it has a core."""

    def __init__(self, machine: _Machine) -> None:
        self._machine = machine
        self._queued = False
        self.used = 0.0

    def work(self) -> tuple[float, Callable[[], None]] | None:
        """What is to be done next: seconds, and what happens then. None: nothing."""
        raise NotImplementedError

    def wake(self) -> None:
        if not self._queued:
            self._queued = True
            self._machine.ready.append(self)
            self._machine.dispatch()

    def run(self) -> bool:
        """Begin the next piece of work; False if there is none."""
        found = self.work()
        if found is None:
            self._queued = False
            return False
        seconds, then = found
        if self._machine.now >= WARM_UP:
            self.used += seconds

        def done() -> None:
            then()
            self._machine.busy -= 1
            self._machine.ready.append(self)
            self._machine.dispatch()

        self._machine.at(seconds, done)
        return True


class _Machine:
    """The clock, and the cores."""

    def __init__(self, cores: int | None) -> None:
        self.now = 0.0
        self.busy = 0
        self.ready: deque[_Process] = deque()
        self._cores = cores or 1_000_000
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, delay: float, then: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + delay, self._count, then))

    def dispatch(self) -> None:
        while self.ready and self.busy < self._cores:
            if self.ready.popleft().run():
                self.busy += 1

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, then = heapq.heappop(self._events)
            then()
        self.now = until


@dataclass
class _Counts:
    """What Redis has published since the warm-up."""

    delays: list[float] = field(default_factory=list)
    appends: int = 0
    batches: int = 0


class _Redis(_Process):
    def __init__(self, machine: _Machine, costs: Costs) -> None:
        super().__init__(machine)
        self._costs = costs
        self._queue: deque[tuple[_Worker, dict[int, list[float]]]] = deque()
        self.counts = _Counts()

    def take(self, worker: _Worker, batch: dict[int, list[float]]) -> None:
        self._queue.append((worker, batch))
        self.wake()

    def work(self) -> tuple[float, Callable[[], None]] | None:
        if not self._queue:
            return None
        worker, batch = self._queue.popleft()

        def published() -> None:
            now = self._machine.now
            if now >= WARM_UP:
                self.counts.batches += 1
                self.counts.appends += len(batch)
                self.counts.delays += [now - since for chunks in batch.values() for since in chunks]
            self._machine.at(self._costs.latency / 2, worker.replied)

        return self._costs.redis_batch + self._costs.redis_append * len(batch), published


class _Worker(_Process):
    def __init__(self, machine: _Machine, costs: Costs, redis: _Redis) -> None:
        super().__init__(machine)
        self._costs = costs
        self._redis = redis
        self._arrived: list[tuple[int, float]] = []
        self._gathered: dict[int, list[float]] = {}
        self._under_way = False

    def arrive(self, stream: int) -> None:
        self._arrived.append((stream, self._machine.now))
        self.wake()

    def replied(self) -> None:
        self._under_way = False
        self.wake()

    def work(self) -> tuple[float, Callable[[], None]] | None:
        """A turn of the loop: all that has arrived, and a batch if none is on its way."""
        seconds = self._costs.chunk * len(self._arrived)
        for stream, since in self._arrived:
            self._gathered.setdefault(stream, []).append(since)
        turned = bool(self._arrived)
        self._arrived = []
        if self._gathered and not self._under_way:
            batch, self._gathered, self._under_way = self._gathered, {}, True
            seconds += self._costs.batch + self._costs.append * len(batch)
            way = self._costs.latency / 2
            return seconds, lambda: self._machine.at(way, partial(self._redis.take, self, batch))
        return (seconds, _nothing) if turned else None


class _Provider(_Process):
    """Writes the chunks, on the same machine."""

    def __init__(self, machine: _Machine, cost: float) -> None:
        super().__init__(machine)
        self._cost = cost
        self._queue: deque[tuple[_Worker, int]] = deque()

    def write(self, worker: _Worker, stream: int) -> None:
        self._queue.append((worker, stream))
        self.wake()

    def work(self) -> tuple[float, Callable[[], None]] | None:
        if not self._queue:
            return None
        worker, stream = self._queue.popleft()
        return self._cost, lambda: worker.arrive(stream)


def simulate(scene: Scene, costs: Costs, *, seed: int = 1) -> Outcome:
    """Let it run. The streams' phases are random, and the same for a seed."""
    machine = _Machine(scene.cores)
    redis = _Redis(machine, costs)
    workers = [_Worker(machine, costs, redis) for _ in range(scene.workers)]
    provider = _Provider(machine, costs.provider)
    chance, written = random.Random(seed), [0]

    def begin(stream: int) -> None:
        worker = workers[stream % len(workers)]

        def write() -> None:
            written[0] += machine.now >= WARM_UP
            if scene.with_provider:
                provider.write(worker, stream)
            else:
                worker.arrive(stream)
            due[0] += 1 / scene.rate
            machine.at(_ticked(due[0], scene.tick) - machine.now, write)

        due = [chance.random() / scene.rate]
        machine.at(_ticked(due[0], scene.tick), write)

    for stream in range(scene.streams):
        begin(stream)
    machine.run(WARM_UP + scene.seconds)
    return _outcome(scene, costs, redis, workers, written[0])


def _outcome(scene: Scene, costs: Costs, redis: _Redis, workers: list[_Worker], written: int) -> Outcome:
    delays = redis.counts.delays
    chunks, seconds = max(1, len(delays)), scene.seconds
    cut = quantiles(delays, n=100) if len(delays) > 1 else [0.0] * 99
    return Outcome(
        offered=written / seconds,
        carried=len(delays) / seconds,
        worker_cpu=(sum(worker.used for worker in workers) + costs.idle * seconds * len(workers)) / chunks,
        redis_cpu=redis.used / chunks,
        worker_busy=max(worker.used for worker in workers) / seconds + costs.idle,
        redis_busy=redis.used / seconds,
        median=cut[49],
        p99=cut[98],
        streams_a_batch=redis.counts.appends / max(1, redis.counts.batches),
    )


def _ticked(due: float, tick: float) -> float:
    return math.ceil(due / tick) * tick if tick else due


def _nothing() -> None:
    """A turn without a batch."""
