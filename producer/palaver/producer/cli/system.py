"""The whole system as Prometheus is told it, read from ledger and broker; no worker is asked."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from palaver.producer.broker import Broker
from palaver.producer.cli.largest import Largest
from palaver.producer.cli.verdict import live, problems_of, stalled
from palaver.shared.batches import BatchStatus, BatchView
from palaver.shared.errors import ConfigurationError, LedgerUnavailableError, PalaverError
from palaver.shared.ledger import Announcement, Gate, SyncLedger, Vigil
from palaver.shared.ledger.operations import dead, write_nothing
from palaver.shared.ledger.operations.memory import Memory, memory
from palaver.shared.ledger.replies import CanaryState
from palaver.shared.ledger.sighting import Sight, Sighted
from palaver.shared.metrics import EXPORTER, OTHER, Family, Metric, MetricsAddress, ProfileNames, Sample
from palaver.shared.metrics import catalogue as metrics
from palaver.shared.names import QUEUES
from palaver.shared.settings import Settings

__all__ = ["System"]

log = logging.getLogger("palaver.exporter")

FRESH_SECONDS: Final = 1.0
"""Two scrapes within this time are told the same."""
EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - nothing is bound here
MOST_TENANTS: Final = 20
MOST_PROFILES: Final = 100

Labels = tuple[str, ...]

_QUEUES: Final = {queue.value: queue.rpartition(".")[2] for queue in QUEUES}


class System:
    """One system, asked when its page is."""

    def __init__(self, settings: Settings) -> None:
        self._lease = settings.lease_seconds
        self._ledger = SyncLedger(settings)
        self._broker = Broker.of(settings)
        self._tenants = Largest(MOST_TENANTS)
        self._told: set[Labels] = set()  # of their jobs
        self._profiles = ProfileNames(MOST_PROFILES)
        self._refused: set[str] = set()  # questions
        self._lock = threading.Lock()
        self._read = float("-inf")
        self._families: list[Family] = []

    def families(self) -> list[Family]:
        """All of `catalogue.EXPORTER`; what could not be asked has no values."""
        with self._lock:
            if time.monotonic() - self._read >= FRESH_SECONDS:
                found = dict.fromkeys(EXPORTER, ()) | dict(self._ask())
                self._families, self._read = list(found.items()), time.monotonic()
            return self._families

    def problems(self) -> list[str]:
        """Why ledger or broker cannot be asked, or take nothing."""
        found = []
        for service, check in (("ledger", self._write), ("broker", self._broker.check)):
            try:
                check()
            except PalaverError as error:
                found.append(f"{service}: {error}")
        return found

    def addresses(self) -> list[str]:
        """Where live workers serve their metrics. LedgerUnavailableError."""
        return sorted(filter(None, map(_address, self._ledger.workers())))

    def close(self) -> None:
        """Close the connections."""
        self._broker.close()
        self._ledger.close()

    def _ask(self) -> Iterator[Family]:
        """A service is up if it answers the first question, and a ledger if it takes writes. What it refuses
        of the others is absent, and says nothing of the rest: a managed Redis may know no INFO.
        """
        of_ledger = (self._of_jobs, self._of_gates, self._of_dead, self._of_batches, self._of_memory)
        up: list[Sample] = []
        for service, first, further in (
            ("ledger", self._of_workers, of_ledger),
            ("broker", self._of_messages, ()),
        ):
            try:
                yield from list(first())
            except PalaverError:
                up.append(Sample((service,), 0))
                continue
            up.append(Sample((service,), service != "ledger" or self._takes_writes()))
            yield from self._answered(further)
        yield metrics.UP, up

    def _answered(self, questions: Iterable[Callable[[], Iterator[Family]]]) -> Iterator[Family]:
        for question in questions:
            try:
                yield from list(question())
            except LedgerUnavailableError:  # each further one would wait as long
                return
            except PalaverError as error:
                self._tell(question.__name__.removeprefix("_"), error)

    def _takes_writes(self) -> bool:
        try:
            self._write()
        except PalaverError:
            return False
        return True

    def _write(self) -> None:
        """LedgerUnavailableError where it takes no writes. Who may not write here cannot know."""
        try:
            self._ledger.query(write_nothing(self._ledger.keys))
        except ConfigurationError as error:
            self._tell("write", error)

    def _tell(self, question: str, error: PalaverError) -> None:
        if question not in self._refused:  # once, however often it is scraped
            self._refused.add(question)
            log.warning("not all can be told (%s): %s", question, error)

    def _of_messages(self) -> Iterator[Family]:
        lengths = self._broker.queue_lengths()
        named = ((name.rpartition(".")[2], length) for name, length in lengths.items())
        yield metrics.QUEUE_MESSAGES, [Sample((name,), length) for name, length in named]

    def _of_workers(self) -> Iterator[Family]:
        workers, vigil = self._ledger.workers(), self._ledger.vigil()
        healthy = bool(live(workers)) and not problems_of(workers, vigil, lease=self._lease)
        yield metrics.HEALTHY, [Sample((), healthy)]
        yield metrics.LEASE, [Sample((), self._lease)]
        yield from _of_workers(workers)
        yield from _of_vigil(vigil, stalled(workers, vigil, lease=self._lease))

    def _of_jobs(self) -> Iterator[Family]:
        sight = self._ledger.sight()
        yield from _of_queues(sight)
        yield from self._of_tenants(sight)

    def _of_dead(self) -> Iterator[Family]:
        yield metrics.DEAD, [Sample((), self._ledger.query(dead.size(self._ledger.keys)))]

    def _of_batches(self) -> Iterator[Family]:
        return _of_batches(self._ledger.open_batches())

    def _of_memory(self) -> Iterator[Family]:
        return _of_memory(self._ledger.query(memory()))

    def _of_tenants(self, sight: Sight) -> Iterator[Family]:
        largest = self._tenants.look(Counter(job.tenant for job in sight.drawn))

        def labels(job: Sighted) -> tuple[str, str]:
            return job.tenant if job.tenant in largest else OTHER, _QUEUES.get(job.queue, OTHER)

        part = sight.total / len(sight.drawn) if sight.drawn else 0.0
        counts: Counter[Labels] = Counter((*labels(job), job.state) for job in sight.drawn)
        # What a draw misses this once is 0, and no gap.
        self._told = {told for told in self._told | counts.keys() if told[0] in largest | {OTHER}}
        jobs = {told: round(counts[told] * part) for told in sorted(self._told)}
        yield metrics.TENANT_JOBS, _samples(jobs)
        yield metrics.TENANT_AGE, _samples(_oldest(sight.time, _waiting(sight), labels))

    def _of_gates(self) -> Iterator[Family]:
        """Those of profiles that share a name are told as one: what waits and runs at them together."""
        named: dict[str, list[Gate]] = {}
        for gate in self._ledger.profile_gates():
            named.setdefault(self._profiles.of(gate.name), []).append(gate)
        told: tuple[tuple[Metric, Callable[[list[Gate]], float]], ...] = (
            (metrics.GATE_WAITING, lambda same: sum(gate.waiting for gate in same)),
            (metrics.GATE_RUNNING, lambda same: sum(gate.running for gate in same)),
            (metrics.GATE_CLOSED, lambda same: max(gate.closed_for for gate in same)),
            (metrics.GATE_PAUSED, lambda same: any(gate.paused is not None for gate in same)),
        )
        for metric, value in told:
            yield metric, [Sample((name,), value(same)) for name, same in named.items()]


def _address(worker: Announcement) -> str:
    """Where others reach its pages; '' if it has none. One that listens everywhere is told by its machine."""
    told = worker.data.get("metrics")
    if not isinstance(told, str):
        return ""
    address = MetricsAddress.parse(told)
    return str(replace(address, host=worker.data["host"]) if address.host in EVERYWHERE else address)


def _of_workers(workers: list[Announcement]) -> Iterator[Family]:
    taking = len(live(workers))
    yield metrics.WORKERS, [Sample(("live",), taking), Sample(("draining",), len(workers) - taking)]
    for metric, field in ((metrics.WORKER_SLOTS, "slots"), (metrics.WORKER_STREAMS, "running")):
        sums: Counter[str] = Counter()
        for worker in workers:
            sums[str(worker.data.get("name", worker.name))] += int(worker.data.get(field) or 0)
        yield metric, _samples({(name,): value for name, value in sums.items()})


def _of_vigil(vigil: Vigil, stalled: Collection[str]) -> Iterator[Family]:
    canaries = {queue: state for queue, state in vigil.canaries.items() if queue in _QUEUES}
    yield metrics.CANARY_AGE, _of_canaries(canaries, lambda _, state: state.waits_for)
    waited = {queue: state for queue, state in canaries.items() if state.waited is not None}
    yield metrics.CANARY_WAIT, _of_canaries(waited, lambda _, state: state.waited or 0.0)
    yield metrics.STALLED, _of_canaries(canaries, lambda queue, _: queue in stalled)
    if vigil.swept_ago is not None:
        yield metrics.SWEEP_AGE, [Sample((), vigil.swept_ago)]


def _of_canaries(
    canaries: Mapping[str, CanaryState], value: Callable[[str, CanaryState], float]
) -> list[Sample]:
    return [Sample((_QUEUES[queue],), value(queue, state)) for queue, state in canaries.items()]


def _of_queues(sight: Sight) -> Iterator[Family]:
    yield metrics.UNENDED, [Sample((), sight.total)]
    queued = [job for job in _waiting(sight) if job.sent is not None and job.queue in _QUEUES]
    ages = dict.fromkeys(((name,) for name in _QUEUES.values()), 0.0)
    yield metrics.QUEUE_AGE, _samples(ages | _oldest(sight.time, queued, lambda job: (_QUEUES[job.queue],)))


def _waiting(sight: Sight) -> list[Sighted]:
    return [job for job in (*sight.drawn, *sight.oldest) if job.state == "waiting"]


def _of_batches(batches: list[BatchView]) -> Iterator[Family]:
    yield metrics.OPEN_BATCHES, [Sample((), len(batches))]
    running = sum(batch.running for batch in batches)
    # Of one that is called off no further line begins.
    feeding = [batch for batch in batches if batch.status is not BatchStatus.CANCELLING]
    waiting = sum(batch.counts.total - batch.counts.done - batch.running for batch in feeding)
    yield metrics.BATCH_LINES, [Sample(("running",), running), Sample(("waiting",), waiting)]


def _of_memory(memory: Memory) -> Iterator[Family]:
    yield metrics.MEMORY, [Sample((), memory.used)]
    if memory.limit:
        yield metrics.MEMORY_LIMIT, [Sample((), memory.limit)]


def _oldest(now: float, jobs: Iterable[Sighted], labels: Callable[[Sighted], Labels]) -> dict[Labels, float]:
    ages: dict[Labels, float] = {}
    for job in jobs:
        age = max(0.0, now - job.waits_since)
        ages[labels(job)] = max(age, ages.get(labels(job), 0.0))
    return ages


def _samples(values: Mapping[Labels, float]) -> list[Sample]:
    return [Sample(labels, value) for labels, value in values.items()]
