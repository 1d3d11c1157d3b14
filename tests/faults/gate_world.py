"""Workers at a gate, in simulated time: the real scripts, and jobs that come, wait, run and die. Each worker
is a caller of its own, that knows what its calls have told it and nothing else.
"""

import heapq
import json
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from palaver.shared.ledger import HandedOut, Keys, Operation, Visited, exchange, operations
from palaver.shared.ledger.pumping import pump
from palaver.shared.profiles import Limits
from tests.faults.ledger_servers import Server, run

PROFILE: Final = "p"
GUESS: Final = 4096
LEASE: Final = 10.0
RENEWAL_MS: Final = 3_000
SWEEP_MS: Final = 500


@dataclass(slots=True)
class Request:
    """One job's only request. How long the answer is nobody knows before it has ended."""

    job_id: str
    tenant: str
    lasts: int  # ms
    prompt: int = 0
    answer: int = 0
    most: int | None = None  # tokens of the answer, if it is bounded
    of_batch: bool = False
    cut: bool = False  # its answer does not end well
    model: str = "m"
    token: str = ""
    worker: "Worker | None" = None
    counted: int = 0  # tokens, when it began
    came: int = 0
    began: int | None = None
    ended: int | None = None

    @property
    def place(self) -> tuple[str, str]:
        return f"s-{self.job_id}", self.job_id

    @property
    def tokens(self) -> int:
        return self.prompt + self.answer


@dataclass(slots=True, eq=False)
class Worker:
    """One of several callers."""

    name: str
    running: dict[str, Request] = field(default_factory=dict)
    calls: int = 0

    def token(self) -> str:
        self.calls += 1
        return f"{self.name}-{self.calls}"


@dataclass(slots=True)
class World:
    """A profile's gate, and a clock on which everything happens in order."""

    server: Server
    limits: Limits
    chance: random.Random
    repeats: float = 0.0  # chance that a call is made twice
    deaths: float = 0.0  # chance that a request's worker dies
    most_of_line: int | None = None  # places of one tenant
    sweep_ms: int = SWEEP_MS
    weights: dict[str, int] = field(default_factory=dict)
    keys: Keys = field(default_factory=Keys)
    workers: list[Worker] = field(default_factory=lambda: [Worker("w0")])
    requests: dict[str, Request] = field(default_factory=dict)
    running: dict[str, Request] = field(default_factory=dict)
    starts: list[Request] = field(default_factory=list)
    most_running: int = 0
    most_of_one: int = 0  # tenant, running
    when_done: Callable[[Request], None] = lambda _request: None
    _events: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)
    _number: int = 0

    def start(self) -> None:
        """Workers renew and sweep from now on, each in its own time."""
        self._every(self.sweep_ms, self._sweep)
        for worker in self.workers:
            self._renews(worker)

    def kill(self, worker: Worker) -> None:
        """It renews nothing any more. Another one comes; its jobs go on when their leases have run out."""
        self.workers.remove(worker)
        self.workers.append(Worker(f"after-{worker.name}"))
        self._renews(self.workers[-1])
        for request in list(worker.running.values()):
            self._die(request)

    def come(self, request: Request) -> None:
        """A job asks for its place."""
        request.came = self.server.now
        self.requests[request.job_id] = request
        self._enter(request)

    def after(self, ms: int, act: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.server.now + max(0, ms), self._number, act))

    def until(self, ms: int) -> None:
        """Let everything happen that happens by then (ms since the beginning of the run)."""
        while self._events and self._events[0][0] <= ms:
            when, _, act = heapq.heappop(self._events)
            if when > self.server.now:
                self.server.advance(when - self.server.now)
            act()
        self.server.advance(ms - self.server.now)

    def call(self, operation: Operation[Any]) -> Any:
        """Carry it out; twice perhaps, and then the answer is the same."""
        answer = run(self.server, exchange.run(operation))
        if self.chance.random() < self.repeats:
            again = run(self.server, exchange.run(operation))
            assert told(again) == told(answer), operation.script.name
        return answer

    def _enter(self, request: Request, *, parked: bool = False) -> None:
        if not parked:
            request.worker = self.chance.choice(self.workers)
            request.token = request.worker.token()
        visited = self.call(self._entering(request, parked=parked))
        self._send(visited.dispatches)
        if visited.has_place:
            if parked:
                self._deliver(request.job_id)
            else:
                self._begin(request)
        elif not parked:
            self._enter(request, parked=True)

    def ask_again(self, request: Request) -> None:
        """How it stands with one that waits."""
        self._send(self.call(self._entering(request, parked=True)).dispatches)

    def _entering(self, request: Request, *, parked: bool) -> Operation[Visited]:
        size = operations.Size(prompt=request.prompt, most=request.most, guess=GUESS, model=request.model)
        return operations.enter_gate(
            self.keys,
            PROFILE,
            request.place,
            token=request.token,
            line=self._line(request),
            limits=self.limits,
            lease=LEASE,
            parked=parked,
            size=size,
        )

    def _line(self, request: Request) -> operations.Line:
        tenant = request.tenant
        return operations.Line(
            name=tenant,
            of_batch=request.of_batch,
            weight=self.weights.get(tenant, 1),
            most=self.most_of_line,
        )

    def _begin(self, request: Request) -> None:
        assert request.job_id not in self.running
        assert request.worker is not None
        request.began, request.counted = self.server.now, self._counted(request)
        self.running[request.job_id] = request.worker.running[request.job_id] = request
        self.starts.append(replace(request))
        self.most_running = max(self.most_running, len(self.running))
        if request.tenant:
            of_one = sum(other.tenant == request.tenant for other in self.running.values())
            self.most_of_one = max(self.most_of_one, of_one)
        dies, token = self.chance.random() < self.deaths, request.token
        self.after(request.lasts, lambda: self._end(request, token, dies=dies))

    def _counted(self, request: Request) -> int:
        """With how many tokens the gate counts it."""
        records = f"{self.keys.gate(PROFILE)}:records"
        (record,) = self.server.send([("HGET", records, "/".join(request.place))])
        return int(json.loads(record)["size"])

    def _end(self, request: Request, token: str, *, dies: bool) -> None:
        if token != request.token or request.job_id not in self.running:
            return  # it has died with its worker
        if dies:
            self._die(request)
        else:
            self._leave(request)

    def _take_away(self, request: Request) -> None:
        assert request.worker is not None
        del self.running[request.job_id], request.worker.running[request.job_id]

    def _die(self, request: Request) -> None:
        """Its worker is gone; another one goes on with the job when the lease has run out."""
        self._take_away(request)
        self.after(int(LEASE * 1000) + 700, lambda: self._enter(request))

    def _leave(self, request: Request) -> None:
        self._take_away(request)
        request.ended = self.server.now
        leaving = operations.leave_gate(
            self.keys,
            PROFILE,
            request.place,
            token=request.token,
            tokens=request.tokens,
            answer_tokens=request.answer,
            whole=not request.cut,
        )
        self._send(self.call(leaving).dispatches)
        self.when_done(request)

    def _send(self, dispatches: list[Any]) -> None:
        for dispatch in dispatches:
            self.after(self.chance.randint(1, 300), partial(self._deliver, dispatch.job_id))

    def _deliver(self, job_id: str) -> None:
        request = self.requests[job_id]
        if job_id not in self.running and request.ended is None:
            self._enter(request)

    def _sweep(self) -> None:
        self._send(run(self.server, pump(self.keys, time=self.server.now / 1000, limit=500)))  # type: ignore[arg-type]

    def _renews(self, worker: Worker) -> None:
        def renew() -> None:
            held = {request.place: request.token for request in worker.running.values()}
            if held:
                used = {each.place: self._used(each) for each in worker.running.values()}
                self.call(operations.keep_places(self.keys, PROFILE, held, lease=LEASE, used=used))
            if worker in self.workers:
                self.after(RENEWAL_MS, renew)

        self.after(self.chance.randint(1, RENEWAL_MS), renew)

    def _used(self, request: Request) -> tuple[int, int]:
        """Tokens by now: an answer comes steadily."""
        part = (self.server.now - (request.began or 0)) / max(1, request.lasts)
        said = int(request.answer * min(1.0, part))
        return request.prompt + said, said

    def _every(self, ms: int, act: Callable[[], None]) -> None:
        def again() -> None:
            act()
            self.after(ms, again)

        self.after(ms, again)


def told(answer: Any) -> Any:
    """What must be the same when a call is repeated: estimates, and when to look, may have moved."""
    match answer:
        case Visited():
            return answer.has_place, sorted(dispatch.job_id for dispatch in answer.dispatches)
        case HandedOut():
            return sorted(dispatch.job_id for dispatch in answer.dispatches)
    return answer


def most_in_a_window(starts: list[Request], ms: int, size: Callable[[Request], int]) -> int:
    """The most of anything that began within so many ms, wherever they begin."""
    most = now = 0
    inside: deque[Request] = deque()
    for request in starts:
        inside.append(request)
        now += size(request)
        while (inside[0].began or 0) <= (request.began or 0) - ms:
            now -= size(inside.popleft())
        most = max(most, now)
    return most
