"""The pages of a worker: /metrics, /startupz, /healthz and /readyz, made when somebody asks, from plain
values of the service. They are asked for in other threads than the service's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Final

from palaver.shared.metrics import Family, MetricsAddress, MetricsServer, Page, Sample, metrics_page
from palaver.shared.metrics import catalogue as metrics
from palaver.workers.event_log import event_logger
from palaver.workers.lease import LeaseKeeper
from palaver.workers.link import STALLS
from palaver.workers.metrics.counts import Counts
from palaver.workers.metrics.pulse import STILL_SECONDS, Pulse
from palaver.workers.policies import Breakers, State
from palaver.workers.publisher import Publisher
from palaver.workers.readiness import Problem, Readiness
from palaver.workers.run import Run

__all__ = ["Parts", "serve", "worker_families"]

logger = event_logger("palaver.workers.metrics")

MORE_PORTS: Final = 99
"""So many further ports are tried: several workers of one machine may have the same setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the pages are made of."""

    name: str
    counts: Counts
    pulse: Pulse
    breakers: Breakers
    leases: LeaseKeeper
    publisher: Publisher
    stalls: Callable[[], int]  # of its link to Redis, in a row
    runs: Callable[[], Iterable[Run]]
    slots: Callable[[], int]
    readiness: Readiness


def serve(address: str, parts: Parts) -> MetricsServer | None:
    """Serve the pages at an address as the setting has it; '' is nowhere. ConfigurationError as of
    MetricsServer and `metrics_page`.
    """
    if not address:
        return None
    pages = {
        "/metrics": metrics_page(lambda: worker_families(parts)),
        "/startupz": lambda: _verdict(parts.readiness.starting()),
        "/healthz": lambda: _verdict(_dead(parts)),
        "/readyz": lambda: _verdict(_problems(parts)),
    }
    server = MetricsServer(MetricsAddress.parse(address), pages, further=MORE_PORTS)
    logger.info("worker.metrics", worker=parts.name, address=str(server.address))
    return server


def worker_families(parts: Parts) -> Iterator[Family]:
    """Everything of `catalogue.WORKER`."""
    problems = _problems(parts)
    profiles = Counter({"": 0})
    profiles.update(parts.counts.profile(run.ref.profile) if run.ref else "" for run in list(parts.runs()))
    publisher = parts.publisher
    yield metrics.INFO, [Sample((parts.name, _version()), 1)]
    yield metrics.READY, [Sample((), not problems)]
    yield metrics.NOT_READY, [Sample((problem.reason,), 1) for problem in problems]
    yield metrics.LIVE, [Sample((name,), count) for name, count in profiles.items()]
    yield metrics.SLOTS, [Sample((), parts.slots())]
    yield from parts.counts.families()
    yield metrics.BREAKER, _states(parts)
    yield metrics.LEASES, [Sample((), len(parts.leases))]
    yield metrics.BATCHES, [Sample((), publisher.batches)]
    yield metrics.APPENDS, [Sample((), publisher.appends)]
    yield metrics.LOOP_LAG, [Sample((), parts.pulse.lag)]


def _dead(parts: Parts) -> list[Problem]:
    """What only a new process mends. A Redis that is away is none of it: it greets nobody."""
    found = []
    if (still := parts.pulse.still) >= STILL_SECONDS:
        found.append(Problem("loop", f"the stream loop has not turned for {still:.0f} seconds"))
    if (stalls := parts.stalls()) >= STALLS:
        told = f"Redis has greeted it {stalls} times in a row, and answered nothing that streams asked"
        found.append(Problem("link", told))
    return found


def _problems(parts: Parts) -> list[Problem]:
    return [*_dead(parts), *parts.readiness.problems()]


def _states(parts: Parts) -> list[Sample]:
    """Several breakers under one name, sealed or other, may be in several states."""
    states = {(parts.counts.profile(name), state) for name, state in parts.breakers.states.items()}
    names = dict.fromkeys(name for name, _ in sorted(states))
    return [Sample((name, str(state)), (name, state) in states) for name in names for state in State]


def _verdict(problems: list[Problem]) -> Page:
    if not problems:
        return Page(b"ok\n")
    lines = "".join(f"{problem.reason}: {problem.told}\n" for problem in problems)
    return Page(lines.encode(), 503)


@cache
def _version() -> str:
    return version("palaver")
