"""The whole system as Prometheus is told it, read from ledger and broker; no worker is asked."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from palaver.producer.broker import Broker
from palaver.producer.cli.verdict import live, problems_of
from palaver.shared.batches import BatchStatus, BatchView
from palaver.shared.errors import PalaverError
from palaver.shared.ledger import Announcement, Gate, SyncLedger, Vigil
from palaver.shared.ledger.operations import dead
from palaver.shared.ledger.operations.memory import Memory, memory
from palaver.shared.ledger.sighting import Sight, Sighted
from palaver.shared.metrics import EXPORTER, OTHER, Family, Sample
from palaver.shared.metrics import catalogue as metrics
from palaver.shared.names import QUEUES
from palaver.shared.settings import Settings

__all__ = ["System"]

FRESH_SECONDS: Final = 1.0
"""Two scrapes within this time are told the same."""
MOST_TENANTS: Final = 20

_QUEUES: Final = {queue.value: queue.rpartition(".")[2] for queue in QUEUES}


class System:
    """One system, asked when its page is."""

    def __init__(self, settings: Settings) -> None:
        self._lease = settings.lease_seconds
        self._ledger = SyncLedger(settings)
        self._broker = Broker.of(settings)
        self._lock = threading.Lock()
        self._read = float("-inf")
        self._families: list[Family] = []
        self.problems: list[str] = []  # why ledger or broker could not be asked last

    def families(self) -> list[Family]:
        """All of `catalogue.EXPORTER`; what could not be asked has no values."""
        with self._lock:
            if time.monotonic() - self._read >= FRESH_SECONDS:
                found = dict.fromkeys(EXPORTER, ()) | dict(self._ask())
                self._families, self._read = list(found.items()), time.monotonic()
            return self._families

    def addresses(self) -> list[str]:
        """Where live workers serve their metrics. LedgerUnavailableError."""
        told = (worker.data.get("metrics") for worker in self._ledger.workers())
        return sorted(address for address in told if isinstance(address, str))

    def close(self) -> None:
        """Close the connections."""
        self._broker.close()
        self._ledger.close()

    def _ask(self) -> Iterator[Family]:
        self.problems = []
        up: list[Sample] = []
        for service, ask in (("ledger", self._ask_ledger), ("broker", self._ask_broker)):
            try:
                yield from list(ask())
            except PalaverError as error:
                self.problems.append(f"{service}: {error}")
                up.append(Sample((service,), 0))
            else:
                up.append(Sample((service,), 1))
        yield metrics.UP, up

    def _ask_broker(self) -> Iterator[Family]:
        lengths = self._broker.queue_lengths()
        named = ((name.rpartition(".")[2], length) for name, length in lengths.items())
        yield metrics.QUEUE_MESSAGES, [Sample((name,), length) for name, length in named]

    def _ask_ledger(self) -> Iterator[Family]:
        ledger = self._ledger
        workers, vigil, sight = ledger.workers(), ledger.vigil(), ledger.sight()
        healthy = bool(live(workers)) and not problems_of(workers, vigil, lease=self._lease)
        yield metrics.HEALTHY, [Sample((), healthy)]
        yield from _of_workers(workers)
        yield from _of_vigil(vigil)
        yield from _of_jobs(sight)
        yield from _of_gates(ledger.gates())
        yield metrics.DEAD, [Sample((), ledger.query(dead.size(ledger.keys)))]
        yield from _of_batches(ledger.open_batches())
        yield from _of_memory(ledger.query(memory()))


def _of_workers(workers: list[Announcement]) -> Iterator[Family]:
    taking = len(live(workers))
    yield metrics.WORKERS, [Sample(("live",), taking), Sample(("draining",), len(workers) - taking)]
    for metric, field in ((metrics.WORKER_SLOTS, "slots"), (metrics.WORKER_STREAMS, "running")):
        sums: Counter[str] = Counter()
        for worker in workers:
            sums[str(worker.data.get("name", worker.name))] += int(worker.data.get(field) or 0)
        yield metric, _samples({(name,): value for name, value in sums.items()})


def _of_vigil(vigil: Vigil) -> Iterator[Family]:
    canaries = {(_QUEUES[queue],): state for queue, state in vigil.canaries.items() if queue in _QUEUES}
    yield metrics.CANARY_AGE, [Sample(queue, state.waits_for) for queue, state in canaries.items()]
    waited = {queue: state.waited for queue, state in canaries.items()}
    yield metrics.CANARY_WAIT, [Sample(queue, wait) for queue, wait in waited.items() if wait is not None]
    if vigil.swept_ago is not None:
        yield metrics.SWEEP_AGE, [Sample((), vigil.swept_ago)]


def _of_jobs(sight: Sight) -> Iterator[Family]:
    yield metrics.UNENDED, [Sample((), sight.total)]
    waiting = [job for job in (*sight.drawn, *sight.oldest) if job.state == "waiting"]
    queued = [job for job in waiting if job.sent is not None and job.queue in _QUEUES]
    ages = dict.fromkeys(((name,) for name in _QUEUES.values()), 0.0)
    yield metrics.QUEUE_AGE, _samples(ages | _oldest(sight.time, queued, lambda job: (_QUEUES[job.queue],)))

    part = sight.total / len(sight.drawn) if sight.drawn else 0.0
    jobs = Counter(job.tenant for job in sight.drawn)
    largest = {tenant for tenant, _ in jobs.most_common(MOST_TENANTS)}

    def tenant(job: Sighted) -> str:
        return job.tenant if job.tenant in largest else OTHER

    def queue(job: Sighted) -> str:
        return _QUEUES.get(job.queue, OTHER)

    counts = Counter((tenant(job), queue(job), job.state) for job in sight.drawn)
    yield metrics.TENANT_JOBS, _samples({labels: round(count * part) for labels, count in counts.items()})
    yield metrics.TENANT_AGE, _samples(_oldest(sight.time, waiting, lambda job: (tenant(job), queue(job))))


def _of_gates(gates: list[Gate]) -> Iterator[Family]:
    found = [gate for gate in gates if "/" not in gate.profile]  # the others are of tenants
    yield metrics.GATE_WAITING, [Sample((gate.profile,), gate.waiting) for gate in found]
    yield metrics.GATE_RUNNING, [Sample((gate.profile,), gate.running) for gate in found]
    yield metrics.GATE_CLOSED, [Sample((gate.profile,), gate.closed_for) for gate in found]
    yield metrics.GATE_PAUSED, [Sample((gate.profile,), int(gate.paused is not None)) for gate in found]


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


def _oldest(
    now: float, jobs: Iterable[Sighted], labels: Callable[[Sighted], tuple[str, ...]]
) -> dict[tuple[str, ...], float]:
    ages: dict[tuple[str, ...], float] = {}
    for job in jobs:
        age = max(0.0, now - job.waits_since)
        ages[labels(job)] = max(age, ages.get(labels(job), 0.0))
    return ages


def _samples(values: Mapping[tuple[str, ...], float]) -> list[Sample]:
    return [Sample(labels, value) for labels, value in values.items()]
