"""Workers, a broker's queues and jobs of tenants, in simulated time, over the real scripts."""

import heapq
import random
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import Keys, exchange, operations
from palaver.shared.ledger.operations.readying import wait_for_worker
from palaver.shared.names import Queue
from tests.faults.ledger_servers import Server, run

BACKLOG_MS: Final = 100


@dataclass(slots=True)
class Wanted:
    """One job: whose it is, and how long it lasts (ms)."""

    name: str
    tenant: str | None
    user: str | None
    lasts: int

    def job(self) -> ChatJob:
        return ChatJob(messages="hi", session_id=self.name, tenant=self.tenant, user=self.user)


@dataclass(slots=True)
class Floor:
    """So many slots of all workers, whose replies from the ledger take up to `latency` ms."""

    server: Server
    chance: random.Random
    slots: int
    latency: int = 0
    weights: dict[str, int] = field(default_factory=dict)
    keys: Keys = field(default_factory=Keys)
    begun: list[str] = field(default_factory=list)  # names, in order
    jobs: dict[str, tuple[Wanted, ChatJob]] = field(default_factory=dict)
    messages: Counter[str] = field(default_factory=Counter)
    _normal: deque[tuple[int, str]] = field(default_factory=deque)
    _resume: deque[str] = field(default_factory=deque)
    _events: list[tuple[int, int, str, Sequence[str]]] = field(default_factory=list)
    _busy: int = 0
    _calls: int = 0

    def submit(self, wanted: Wanted) -> None:
        job = wanted.job()
        self.jobs[wanted.name] = wanted, job
        commands = wait_for_worker(self.keys, wanted.name, job, Queue.NORMAL)
        self.server.send([command.words for command in commands])
        self._normal.append((self.server.now, wanted.name))
        self.messages[wanted.name] += 1
        self._fill()

    def until(self, ms: int) -> None:
        """Let everything happen that happens by then."""
        while self._events and self._events[0][0] <= ms:
            when, _, kind, names = heapq.heappop(self._events)
            self.server.advance(max(0, when - self.server.now))
            if kind == "end":
                self._busy -= 1
            else:
                self._resume.extend(names)
                self.messages.update(names)
            self._fill()
        self.server.advance(max(0, ms - self.server.now))

    def run_out(self) -> None:
        """Until nothing is left to do."""
        while self._events:
            self.until(self._events[0][0])

    def _fill(self) -> None:
        while self._busy < self.slots and (self._resume or self._normal):
            sent, name = (0, self._resume.popleft()) if self._resume else self._normal.popleft()
            if name not in self.begun:
                self._begin(name, self.server.now - sent if sent else 0)

    def _begin(self, name: str, waited: int) -> None:
        wanted, job = self.jobs[name]
        self.begun.append(name)
        self._busy += 1
        self._after(wanted.lasts, "end", ())
        start = operations.Start(
            place=(name, job.job_id),
            job=job,
            queue=Queue.NORMAL,
            weight=self.weights.get(wanted.tenant or "", 1),
        )
        self._calls += 1
        backlog = waited >= BACKLOG_MS or self._busy == self.slots
        noting = operations.note_begun(
            self.keys, [start], worker="w", token=f"t{self._calls}", are_waiting=backlog
        )
        told = run(self.server, exchange.run(noting))
        names = [dispatch.session_id for dispatch in told.dispatches]  # type: ignore[union-attr] # no verdict
        if names:
            self._after(self.chance.randint(0, self.latency), "sent", names)

    def _after(self, ms: int, kind: str, names: Sequence[str]) -> None:
        self._calls += 1
        heapq.heappush(self._events, (self.server.now + ms, self._calls, kind, names))
