"""The test stand: a Redis, a provider over HTTP, several worker processes, many jobs; faults; and the books.

    stand = Stand(processes, redis)           # settings of a system in a hurry: leases of four seconds
    workers = stand.workers(2)
    jobs = stand.submit(50, words=40, rate=20)
    stand.streaming(jobs)                     # every one of them has said something
    victim = stand.busiest(workers, jobs)     # whoever is ready a moment sooner may have taken all of them
    fault = stand.kill(victim)                # SIGKILL
    books = stand.settle(jobs)                # waits for all ends, then checks what must always hold
    books.recoveries(jobs, fault)                # seconds from the fault to the next sign of life of each job

What `settle` checks of every job: it completed; exactly one `stream_end`, and nothing of it after that; its
text, by the rule of offsets, is what the provider's script says, no word lost or repeated, and the response
says the same; the session's log has no gap. And of the ledger: no lease, no dead `active`, nothing due, and
no key without a time to live.
"""

import json
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

import orjson
from kombu import Connection

from palaver.producer import Client, JobHandle
from palaver.shared.accumulator import Accumulator
from palaver.shared.broker_url import BrokerURL
from palaver.shared.errors import JobNotFoundError
from palaver.shared.events import parse_event
from palaver.shared.jobs import Status
from palaver.shared.ledger import SyncLedger
from palaver.shared.names import Queue
from palaver.shared.settings import Settings
from palaver.workers.pool.lanes import PREFETCH
from tests.model_server import start_model_server
from tests.processes import WORKER, Processes, Running
from tests.servers import RedisServer, eventually

LEASE = 4.0
HURRIED = {"PALAVER_LEASE_SECONDS": str(LEASE), "PALAVER_RENEW_SECONDS": "0.5", "PALAVER_DRAIN_SECONDS": "1"}
"""For tests that wait for leases: everything that is timed by them happens sooner than by default. A worker
that stands still for two seconds keeps its jobs: tests count what was asked for, and by whom.
"""
UNHURRIED = {"PALAVER_LEASE_SECONDS": "10", "PALAVER_RENEW_SECONDS": "3", "PALAVER_DRAIN_SECONDS": "30"}
"""The defaults."""

BUSY = 2 * (os.cpu_count() or 1)
"""A load at which seconds say nothing of us: so many want to run for each that can."""
PROFILES = ("prefix", "restart", "prompt", "auto")
"""One for each `resume`; all are the same provider."""


@dataclass(frozen=True)
class Job:
    """A submitted job and what its answer must be."""

    handle: JobHandle
    text: str

    @property
    def id(self) -> str:
        return self.handle.job_id

    @property
    def session(self) -> str:
        return self.handle.session_id


@dataclass
class Books:
    """All events of some jobs, as the logs have them."""

    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)  # by job id

    def of(self, job: Job, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events[job.id] if event["type"] == kind]

    def recoveries(self, jobs: Iterable[Job], fault: float) -> list[float]:
        """Seconds from the fault to the first event of the next attempt, for each job that changed hands."""
        found = []
        for job in jobs:
            events = self.events[job.id]
            before = max((event["attempt"] for event in events if event["time"] <= fault), default=0)
            later = [event["time"] for event in events if event["attempt"] > before and event["time"] > fault]
            if before and later:
                found.append(min(later) - fault)
        return found

    def attempts(self, job: Job) -> list[int]:
        """The attempts that wrote something, in order."""
        return sorted({event["attempt"] for event in self.events[job.id] if event["attempt"]})

    def gap(self, job: Job) -> float:
        """The longest time between the last event of an attempt and the first one of the next, in seconds."""
        events = [event for event in self.events[job.id] if event["attempt"]]
        pairs = pairwise(events)
        return max((b["time"] - a["time"] for a, b in pairs if b["attempt"] > a["attempt"]), default=0.0)

    def offsets(self, job: Job) -> list[int]:
        """Where each of its streams began."""
        return [event["data"]["offset"] for event in self.of(job, "stream_start")]


class Stand:
    """See the module. Everything it starts belongs to `processes`, and ends with them."""

    def __init__(
        self,
        processes: Processes,
        redis: RedisServer,
        *,
        broker_url: str = "",
        settings: dict[str, str] | None = None,
    ) -> None:
        self.processes = processes
        self.redis = redis
        self.provider = start_model_server(processes)
        self.config = processes.folder / "palaver.toml"
        self.config.write_text(_configuration(self.provider.openai_url))
        self.environment = {
            "PALAVER_REDIS_URL": redis.url,
            "PALAVER_BROKER_URL": broker_url,
            "PALAVER_CONFIG": str(self.config),
            **(HURRIED if settings is None else settings),
        }
        self.settings = Settings.model_validate(
            {name.removeprefix("PALAVER_").lower(): value for name, value in self.environment.items()}
        )
        self.lease = self.settings.lease_seconds
        self.client = Client(self.settings)
        self.ledger = SyncLedger(self.settings)
        self.raw = redis.client()
        self._started = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.ledger.close()
        self.raw.close()

    def configure(self, more: str) -> None:
        """Add to palaver.toml, before workers read it; a client that has read it is made anew."""
        self.config.write_text(self.config.read_text() + more)
        self.client.close()
        self.client = Client(self.settings)

    # Workers and what befalls them

    def start_worker(self, *, slots: int = 100, env: dict[str, str] | None = None) -> Running:
        """Start a worker; it may not be ready yet."""
        self._started += 1
        name = f"w{self._started}@stand"
        words = (*WORKER, "--hostname", name, "--concurrency", str(slots), "--without-mingle")
        return self.processes.start(words, name=f"w{self._started}", env={**self.environment, **(env or {})})

    def workers(self, count: int, *, slots: int = 100, env: dict[str, str] | None = None) -> list[Running]:
        """Start so many and wait until all of them consume."""
        started = [self.start_worker(slots=slots, env=env) for _ in range(count)]
        for worker in started:
            ready(worker)
        return started

    def kill(self, worker: Running) -> float:
        """SIGKILL; the time of it."""
        at = time.time()
        worker.kill()
        return at

    @property
    def unnoticed(self) -> float:
        """Seconds until the messages that a broker gave to a worker that hangs are sent again."""
        return 6.0 if self.prefetched else 0.0

    @property
    def prefetched(self) -> int:
        """So many messages of a queue may wait in a worker that has no slot for them."""
        return 0 if BrokerURL.parse(self.settings.broker_url).redis else PREFETCH

    def waiting(self, queue: str = Queue.NORMAL) -> int:
        """How many messages are in a queue."""
        return self.client.broker.queue_lengths()[queue]

    def lose(self, count: int, queue: str = Queue.NORMAL) -> None:
        """Take messages out of a queue, the first ones, as many as are there."""
        with Connection(BrokerURL.parse(self.settings.broker_url).url) as connection:
            channel: Any = connection.default_channel
            for _ in range(min(count, self.waiting(queue))):
                channel.basic_get(queue, no_ack=True)

    @staticmethod
    def let_pass(seconds: float, *, since: float) -> None:
        """Wait until so much time has passed since then: for what must not happen, however long it takes."""
        time.sleep(max(0.0, since + seconds - time.time()))

    @contextmanager
    def stopped(self, running: Running) -> Any:
        """SIGSTOP for the length of the block."""
        running.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            running.signal(signal.SIGCONT)

    # Jobs

    def submit(
        self,
        count: int,
        *,
        words: int = 40,
        rate: float = 20,
        model: str | list[str] = "prefix/m",
        **fields: Any,
    ) -> list[Job]:
        """Submit numbered jobs, each in a session of its own unless `fields` say otherwise."""
        script = {"n": words, "rate": rate, **fields.pop("script", {})}
        text = "".join(f" w{number}" for number in range(words))
        jobs = [{"messages": json.dumps(script), "model": model, **fields} for _ in range(count)]
        return [Job(handle, text) for handle in self.client.submit_many(jobs)]

    def knows(self, job_id: str) -> bool:
        """Whether the ledger has a job of this id."""
        try:
            self.client.job(job_id)
        except JobNotFoundError:
            return False
        return True

    def busiest(self, workers: Sequence[Running], jobs: Sequence[Job]) -> Running:
        """The worker that holds most of these."""
        return max(workers, key=lambda worker: len(self.held(jobs, worker)))

    def held(self, jobs: Sequence[Job], worker: Running) -> list[Job]:
        """Those of the jobs that this worker runs, or ran when it was killed, until its leases are over."""
        name = worker.name.partition("-")[0].encode() + b"@"
        with self.raw.pipeline() as pipeline:
            for job in jobs:
                pipeline.hget(self.ledger.keys.job(job.session, job.id), "worker")
            holders = pipeline.execute()
        return [job for job, holder in zip(jobs, holders, strict=True) if (holder or b"").startswith(name)]

    def progress(self, jobs: Sequence[Job]) -> None:
        """Wait until every job says more than it has said."""
        for job in jobs:
            said = len(job.handle.view().text)
            until(lambda job=job, said=said: len(job.handle.view().text) > said, f"{job.id} says no more")  # type: ignore[misc]

    def streaming(self, jobs: Sequence[Job], *, seconds: float = 30) -> None:
        """Wait until every job has said something (or is already through)."""
        keys = self.ledger.keys

        def all_speak() -> bool:
            with self.raw.pipeline(transaction=False) as pipeline:
                for job in jobs:
                    pipeline.strlen(keys.text(job.session, job.id))
                    pipeline.hget(keys.job(job.session, job.id), "status")
                replies = pipeline.execute()
            pairs = zip(replies[::2], replies[1::2], strict=True)
            return all(length or status not in (b"queued", b"running") for length, status in pairs)

        assert eventually(all_speak, seconds=seconds), "some jobs never began"

    def settle(
        self,
        jobs: Sequence[Job],
        *,
        seconds: float = 60,
        status: Status = Status.COMPLETED,
        ledger: bool = True,
    ) -> Books:
        """Wait for the end of all jobs and check everything that must hold after any fault."""
        left = list(jobs)

        def through() -> bool:
            nonlocal left
            left = [job for job in left if not job.handle.view().status.ended]
            return not left

        assert eventually(through, seconds=seconds), f"never ended: {self.unended(left)[:5]}"
        books = Books()
        for session in {job.session for job in jobs}:
            self._read(session, books)
        for job in jobs:
            self._check(job, books.events[job.id], status)
        if ledger:
            self._check_ledger(jobs)
        return books

    def unended(self, jobs: Sequence[Job]) -> list[tuple[str, str, int]]:
        """Those that go on: id, status, attempt."""
        views = ((job.id, job.handle.view()) for job in jobs)
        return [(job_id, str(view.status), view.attempt) for job_id, view in views if not view.status.ended]

    # The books

    def _read(self, session: str, books: Books) -> None:
        """The whole log of a session: dense from 1 on."""
        after = 0
        while page := self.ledger.events(session, after=after):
            for raw in page:
                event = orjson.loads(raw)
                assert event["seq"] == after + 1, f"{session}: {event['seq']} follows {after}"
                after = event["seq"]
                books.events.setdefault(event["job_id"], []).append(event)

    def _check(self, job: Job, events: list[dict[str, Any]], status: Status) -> None:
        ends = [place for place, event in enumerate(events) if event["type"] == "stream_end"]
        assert ends == [len(events) - 1], f"{job.id}: stream_end at {ends} of {len(events)}"
        accumulator = Accumulator(job.id)
        for event in events:
            if event["type"] == "stream_start":
                assert event["data"]["offset"] in (0, len(accumulator.text)), f"{job.id}: {event}"
            accumulator.feed(parse_event(event))
        assert accumulator.status is status, f"{job.id}: {events[-1]['data']}"
        if status is Status.COMPLETED:
            assert accumulator.text == job.text, f"{job.id}: {_difference(accumulator.text, job.text)}"
            assert job.handle.result(timeout=5).content == job.text
        attempts = [event["attempt"] for event in events if event["attempt"]]
        assert attempts == sorted(attempts), f"{job.id}: an older attempt wrote after a newer one"

    def _check_ledger(self, jobs: Sequence[Job]) -> None:
        keys = self.ledger.keys
        for job in jobs:
            left = self.raw.hmget(keys.job(job.session, job.id), "holder", "lease", "token")
            assert left == [None, None, None], f"{job.id}: a lease is left"
        assert eventually(lambda: not self._dead_turns(jobs), seconds=10), self._dead_turns(jobs)
        ours = {f"{job.session}/{job.id}".encode() for job in jobs}
        assert eventually(lambda: not ours & set(self.raw.zrange(keys.due, 0, -1)), seconds=10), "still due"
        immortal = [key for key in self.raw.scan_iter("palaver:*", count=1000) if self.raw.pttl(key) == -1]
        assert not immortal, f"without a time to live: {immortal[:5]}"

    def _dead_turns(self, jobs: Sequence[Job]) -> list[str]:
        """Sessions whose turn belongs to a job that is over."""
        keys, dead = self.ledger.keys, []
        for session in {job.session for job in jobs}:
            active: Any = self.raw.hget(keys.session(session), "active")
            if active is not None:
                status = self.raw.hget(keys.job(session, active.decode()), "status")
                if status not in (b"queued", b"running"):
                    dead.append(session)
        return dead


def ready(worker: Running) -> None:
    """Wait until a worker consumes."""
    worker.wait_for(r"\bready\b", seconds=60)


def in_time(bound: float, seconds: Sequence[float], what: str) -> None:
    """Print how long something took, and hold it to its bound unless this machine has too much else to do."""
    load = os.getloadavg()[0]
    print(f"{what}: at worst {max(seconds):.2f} s of {bound:g}, load {load:.1f}")
    assert max(seconds) <= bound or load > BUSY, f"{what}: {sorted(seconds)}"


def until(condition: Callable[[], object], what: str, *, seconds: float = 30) -> None:
    """Wait for a condition that nothing announces."""
    assert eventually(condition, seconds=seconds), what


def _configuration(url: str) -> str:
    tables = [
        f'[providers.{name}]\nkind = "openai"\nbase_url = "{url}"\nresume = "{name}"\n' for name in PROFILES
    ]
    return "\n".join(tables)


def _difference(got: str, want: str) -> str:
    words, wanted = got.split(), want.split()
    place = next((n for n, (a, b) in enumerate(zip(words, wanted, strict=False)) if a != b), len(words))
    return f"{len(words)} words, not {len(wanted)}; they differ at {place}: {words[place - 1 : place + 3]}"
