"""A model of the hot path, event by event: streams, the workers that read them, and the one Redis.

What is modelled: a chunk arrives at its worker, which reads and writes it (`chunk`). When no batch of this
worker is on its way, all streams that have something leave together: `batch`, whatever is in it. Redis takes
one batch after another (`redis_batch`, and `redis_append` for each stream in it, however many of its chunks
were merged). Each process does one thing at a time, on one of `cores`, and goes to sleep when it has nothing
to do. To send something to a sleeper costs `rouse` more than to send it to who is awake, because a core must
be told. The sleeper runs at once or, now and then, a while later (`latency`), in which more gathers; and it
finds caches that others have used meanwhile: that costs up to `wake`, the more the longer it has slept. A
provider on the same machine takes its own part.

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
COOLING: Final = 150e-6
"""Seconds after which two thirds of what a program needs are gone from the caches. Not fitted: a third or the
double of it moves the worst error of real runs by no more than 0.03.
"""
LATE: Final = 5
"""One sleeper in so many is late, by so many times the mean; the others run at once."""
GOLDEN: Final = 0.6180339887  # spreads the phases of a provider's streams evenly

Work = tuple[float, Callable[[], None]]
"""Seconds of CPU, and what has happened then."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Seconds of CPU, as measured."""

    chunk: float  # a worker: to read one, and to write it
    batch: float  # a worker: to send one and to take its reply, whatever is in it
    wake: float  # a worker: to begin with cold caches
    redis_append: float
    redis_batch: float
    redis_wake: float
    provider_chunk: float = 0.0
    provider_wake: float = 0.0
    rouse: float = 0.0  # whoever wakes a sleeper
    idle: float = 0.0  # of a second, in a worker without streams
    redis_idle: float = 0.0  # of a second, in Redis beside such a worker
    latency: float = 0.0  # no CPU: from when a sleeping process is woken until it runs, in the mean


@dataclass(frozen=True, kw_only=True)
class Scene:
    """So many streams, each of so many chunks a second, over so many workers; `cores` for all processes
    together (None: as many as they want). With a `tick` their provider is one of these processes: it looks at
    the clock, writes what is due, and sleeps for so many seconds. Without one chunks come from elsewhere.
    """

    streams: int
    rate: float
    workers: int
    cores: int | None = None
    tick: float = 0.0
    seconds: float = 3.0


@dataclass(frozen=True)
class Rates:
    """How often a second something happened, in all workers, in Redis, in the provider."""

    worker: float
    redis: float
    provider: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was seen after the warm-up. `busy` are shares of a core: of the busiest worker, of Redis."""

    offered: float  # chunks a second
    carried: float
    worker_cpu: float  # seconds of a chunk, of all workers
    redis_cpu: float  # the same
    provider_cpu: float  # the same; 0 where it is elsewhere
    worker_busy: float
    redis_busy: float
    median: float  # seconds from a chunk's arrival until Redis has published it
    p99: float
    streams_a_batch: float
    wakes: Rates  # they began with cold caches; lukewarm ones count for a part
    roused: Rates  # they woke another one

    @property
    def keeps_up(self) -> bool:
        """Whether what arrives is published, and soon."""
        return self.carried > 0.98 * self.offered and self.p99 < 0.25


class _Machine:
    """The clock, and the cores."""

    def __init__(self, cores: int | None, latency: float, seed: int) -> None:
        self.now = 0.0
        self.chance = random.Random(seed)
        self._latency = latency
        self._free = cores or 1_000_000
        self._ready: deque[_Process] = deque()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, delay: float, then: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self.now + delay, self._count, then))

    def wake(self, process: _Process) -> None:
        """Have it run, at once or late."""
        delay = LATE * self._latency if self.chance.random() * LATE < 1 else 0.0
        self.at(delay, partial(self._line_up, process))

    def release(self) -> None:
        """A process has nothing to do any more: another may have its core."""
        self._free += 1
        self._dispatch()

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, then = heapq.heappop(self._events)
            then()
        self.now = until

    def _line_up(self, process: _Process) -> None:
        self._ready.append(process)
        self._dispatch()

    def _dispatch(self) -> None:
        while self._ready and self._free:
            self._free -= 1
            self._ready.popleft().begin()


class _Process:
    """Sleeps; woken, it does one thing after the other until there is nothing to do."""

    def __init__(self, machine: _Machine, wake: float, rouse: float) -> None:
        self._machine = machine
        self._wake = wake
        self._rouse = rouse
        self._awake = False
        self._slept = -math.inf  # since when
        self._owed = 0.0  # seconds, for whom it has woken
        self.used = 0.0
        self.wakes = 0.0
        self.roused = 0

    def work(self) -> Work | None:
        """What is to be done next. None: nothing."""
        raise NotImplementedError

    def wake(self, by: _Process | None = None) -> None:
        """Have it look for work; `by`: who sent it, and pays if it sleeps."""
        if self._awake:
            return
        self._awake = True
        self._machine.wake(self)
        if by is not None:
            by._owed += self._rouse
            by.roused += self._machine.now >= WARM_UP

    def begin(self) -> None:
        """Go to work: it has a core."""
        cold = 1 - math.exp((self._slept - self._machine.now) / COOLING)
        if self._machine.now >= WARM_UP:
            self.wakes += cold
        self._owed += self._wake * cold
        self._go_on()

    def _go_on(self) -> None:
        found = self.work()
        if found is None and not self._owed:
            self._awake = False
            self._slept = self._machine.now
            self._machine.release()
            return
        seconds, then = found or (0.0, _nothing)
        seconds, self._owed = seconds + self._owed, 0.0
        if self._machine.now >= WARM_UP:
            self.used += seconds

        def done() -> None:
            then()
            self._go_on()

        self._machine.at(seconds, done)


@dataclass
class _Counts:
    """What Redis has published since the warm-up."""

    delays: list[float] = field(default_factory=list)
    appends: int = 0
    batches: int = 0


class _Redis(_Process):
    def __init__(self, machine: _Machine, costs: Costs) -> None:
        super().__init__(machine, costs.redis_wake, costs.rouse)
        self._costs = costs
        self._queue: deque[tuple[_Worker, dict[int, list[float]]]] = deque()
        self.counts = _Counts()

    def take(self, worker: _Worker, batch: dict[int, list[float]]) -> None:
        self._queue.append((worker, batch))
        self.wake(by=worker)

    def work(self) -> Work | None:
        if not self._queue:
            return None
        worker, batch = self._queue.popleft()

        def published() -> None:
            now = self._machine.now
            if now >= WARM_UP:
                self.counts.batches += 1
                self.counts.appends += len(batch)
                self.counts.delays += [now - since for chunks in batch.values() for since in chunks]
            worker.reply()

        return self._costs.redis_batch + self._costs.redis_append * len(batch), published


class _Worker(_Process):
    def __init__(self, machine: _Machine, costs: Costs, redis: _Redis) -> None:
        super().__init__(machine, costs.wake, costs.rouse)
        self._costs = costs
        self._redis = redis
        self._arrived: list[tuple[int, float]] = []
        self._gathered: dict[int, list[float]] = {}
        self._under_way = False
        self._replied = False

    def arrive(self, stream: int, by: _Process | None = None) -> None:
        self._arrived.append((stream, self._machine.now))
        self.wake(by)

    def reply(self) -> None:
        self._replied = True
        self.wake(by=self._redis)

    def work(self) -> Work | None:
        """A turn of the loop: all that has arrived, and a batch if none is on its way."""
        seconds, turned = self._costs.chunk * len(self._arrived), bool(self._arrived) or self._replied
        for stream, since in self._arrived:
            self._gathered.setdefault(stream, []).append(since)
        self._arrived = []
        if self._replied:
            self._under_way = self._replied = False
        if self._gathered and not self._under_way:
            batch, self._gathered, self._under_way = self._gathered, {}, True
            return seconds + self._costs.batch, partial(self._redis.take, self, batch)
        return (seconds, _nothing) if turned else None


class _Provider(_Process):
    """Writes the chunks, on the same machine, as `tests.benchmarks.provider` does."""

    def __init__(self, machine: _Machine, costs: Costs, scene: Scene, workers: list[_Worker]) -> None:
        super().__init__(machine, costs.provider_wake, costs.rouse)
        self._scene = scene
        self._chunk = costs.provider_chunk
        self._workers = workers
        self._due = [(stream * GOLDEN % 1 / scene.rate, stream) for stream in range(scene.streams)]
        self._queue: deque[int] = deque()
        self._looks = False
        self.written = 0
        heapq.heapify(self._due)

    def look(self) -> None:
        self._looks = True
        self.wake()

    def work(self) -> Work | None:
        if self._looks:
            self._looks = False
            self._find()
            return 0.0, _nothing
        if not self._queue:
            return None
        stream = self._queue.popleft()
        self.written += self._machine.now >= WARM_UP
        return self._chunk, partial(self._workers[stream % len(self._workers)].arrive, stream, self)

    def _find(self) -> None:
        """Queue what is due, and look again after a tick."""
        self._machine.at(self._scene.tick, self.look)
        while self._due[0][0] <= self._machine.now:
            due, stream = self._due[0]
            heapq.heapreplace(self._due, (due + 1 / self._scene.rate, stream))
            self._queue.append(stream)


class _Elsewhere:
    """Lets chunks arrive, each stream's at its own pace."""

    used = 0.0
    wakes = 0.0
    roused = 0

    def __init__(self, machine: _Machine, scene: Scene, workers: list[_Worker]) -> None:
        self._machine = machine
        self._workers = workers
        self._pause = 1 / scene.rate
        self.written = 0
        for stream in range(scene.streams):
            machine.at(machine.chance.random() * self._pause, partial(self._arrive, stream))

    def _arrive(self, stream: int) -> None:
        self.written += self._machine.now >= WARM_UP
        self._workers[stream % len(self._workers)].arrive(stream)
        self._machine.at(self._pause, partial(self._arrive, stream))


def simulate(scene: Scene, costs: Costs, *, seed: int = 1) -> Outcome:
    """Let it run; the same for a seed."""
    machine = _Machine(scene.cores, costs.latency, seed)
    redis = _Redis(machine, costs)
    workers = [_Worker(machine, costs, redis) for _ in range(scene.workers)]
    source: _Provider | _Elsewhere
    if scene.tick:
        source = _Provider(machine, costs, scene, workers)
        machine.at(scene.tick, source.look)
    else:
        source = _Elsewhere(machine, scene, workers)
    machine.run(WARM_UP + scene.seconds)
    return _outcome(scene, costs, redis, workers, source)


def _outcome(
    scene: Scene, costs: Costs, redis: _Redis, workers: list[_Worker], source: _Provider | _Elsewhere
) -> Outcome:
    delays = redis.counts.delays
    chunks, seconds = max(1, len(delays)), scene.seconds
    groups = (workers, [redis], [source])
    cut = quantiles(delays, n=100) if len(delays) > 1 else [0.0] * 99
    return Outcome(
        offered=source.written / seconds,
        carried=len(delays) / seconds,
        worker_cpu=(sum(worker.used for worker in workers) + costs.idle * seconds * len(workers)) / chunks,
        redis_cpu=(redis.used + costs.redis_idle * seconds) / chunks,
        provider_cpu=source.used / chunks,
        worker_busy=max(worker.used for worker in workers) / seconds + costs.idle,
        redis_busy=redis.used / seconds + costs.redis_idle,
        median=cut[49],
        p99=cut[98],
        streams_a_batch=redis.counts.appends / max(1, redis.counts.batches),
        wakes=Rates(*(sum(process.wakes for process in group) / seconds for group in groups)),
        roused=Rates(*(sum(process.roused for process in group) / seconds for group in groups)),
    )


def _nothing() -> None:
    """A turn without a batch, a look without a chunk."""
