"""Several workers' real gates, at profiles and at tenants, in simulated time: jobs, agents and lines of
batches come, wait in their slots or parked, make requests one after the other or at once, are cut off and
cancelled.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, cast

from palaver.shared.errors import ProviderError, RateLimitError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import Dispatch, Keys, Operation, exchange
from palaver.shared.ledger.pumping import pump
from palaver.shared.messages import Message, Role
from palaver.shared.profiles import Profile
from palaver.shared.tenants import Tenants
from palaver.workers.gates import Gates
from palaver.workers.lent_slots import LentSlots
from palaver.workers.metrics import Counts
from palaver.workers.providers import Asker, GenerationRequest
from palaver.workers.shares import Shares
from palaver.workers.stop import Park
from tests.faults.ledger_servers import Server, run

LEASE: Final = 10.0
RENEWAL_SECONDS: Final = 3.0
SWEEP_SECONDS: Final = 0.5
REPLY_SECONDS: Final = 0.02  # so late one hears at most what the ledger says


@dataclass(slots=True, eq=False)
class Work:
    """A job, an agent (`in_code`) or a line of a batch, and what it asks: `rounds` of requests, each the
    profiles that are asked at once.
    """

    job: ChatJob
    rounds: list[list[str]]
    is_line: bool = False
    in_code: bool = False
    cancelled_after: float | None = None  # seconds since it came
    attempt: int = 0
    gate: str = ""
    done: int = 0  # rounds
    made: int = 0  # requests
    running: "asyncio.Task[None] | None" = None
    ended: bool = False

    @property
    def place(self) -> tuple[str, str]:
        return self.job.session_id or "", self.job.job_id


class Slots:
    """Those of one worker."""

    def __init__(self, count: int) -> None:
        self.count, self.lent, self._taken = count, 0, 0

    def lend(self, by: int) -> None:
        self.lent += by

    @asynccontextmanager
    async def one(self) -> AsyncIterator[None]:
        while self._taken >= self.count + self.lent:  # noqa: ASYNC110 - simulated
            await asyncio.sleep(0.05)
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


class Link:
    """Operations reach the ledger in their order; what it says comes a little later."""

    def __init__(self, server: Server, chance: random.Random) -> None:
        self._server, self._chance = server, chance

    async def run(self, operation: Operation[Any]) -> Any:
        answer = run(self._server, exchange.run(operation))
        await asyncio.sleep(self._chance.uniform(0, REPLY_SECONDS))
        return answer

    def post(self, operation: Operation[Any], then: Callable[[Any], object] | None = None) -> None:
        answer = run(self._server, exchange.run(operation))
        if then is not None:
            asyncio.get_running_loop().call_soon(then, answer)


class Silence:
    """Subscriptions of which every message is lost: who waits looks again."""

    @asynccontextmanager
    async def listen(self, _channel: str) -> AsyncIterator[Any]:
        yield self

    async def receive(self, timeout: float) -> None:  # noqa: ASYNC109 - as `Inbox`
        await asyncio.sleep(timeout)


@dataclass(slots=True)
class Worker:
    """Its slots and gates."""

    slots: Slots
    gates: Gates
    shares: Shares


@dataclass(slots=True)
class World:
    """The workers, and the provider behind all profiles, which sees who asks it."""

    server: Server
    profiles: dict[str, Profile]
    tenants: Tenants
    chance: random.Random
    keys: Keys = field(default_factory=Keys)
    workers: list[Worker] = field(default_factory=list)
    open: Counter[str] = field(default_factory=Counter)  # requests of each profile
    working: dict[str, Counter[str]] = field(default_factory=dict)  # by tenant, of each job
    asked: dict[str, list[float]] = field(default_factory=dict)  # when, by profile
    works: dict[str, Work] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)  # what must not be
    _tasks: "list[asyncio.Task[None]]" = field(default_factory=list)

    def begin(self, *, workers: int, slots: int) -> None:
        """On the loop."""
        self.workers = [self._worker(slots) for _ in range(workers)]
        self._tasks = [asyncio.create_task(self._sweep())]
        self._tasks += [asyncio.create_task(self._renew(worker)) for worker in self.workers]

    def come(self, work: Work) -> None:
        self.works[work.job.job_id] = work
        self._start(work)
        if work.cancelled_after is not None:
            asyncio.get_running_loop().call_later(work.cancelled_after, self._cancel, work)

    async def all_ended(self, *, within: float) -> None:
        """Of simulated seconds."""
        async with asyncio.timeout(within):
            while not all(work.ended for work in self.works.values()):  # noqa: ASYNC110 - simulated
                await asyncio.sleep(0.1)

    def _worker(self, slots: int) -> Worker:
        held = Slots(slots)
        link, silence = cast("Any", Link(self.server, self.chance)), cast("Any", Silence())
        tenancy = cast("Any", self.tenants)
        lent = LentSlots(lambda: slots, held.lend)
        gates = Gates(link, self.keys, silence, tenancy, lease=LEASE, lent=lent, counts=Counts())
        gates.send_by(self._deliver)
        return Worker(held, gates, Shares(gates, tenancy))

    def _deliver(self, dispatches: Sequence[Dispatch]) -> None:
        for dispatch in dispatches:
            later = self.chance.uniform(0, 0.3)
            asyncio.get_running_loop().call_later(later, self._start, self.works[dispatch.job_id])

    def _start(self, work: Work) -> None:
        if work.running is None and not work.ended:
            work.running = asyncio.create_task(self._run(work, self.chance.choice(self.workers)))

    def _cancel(self, work: Work) -> None:
        if work.ended:
            return
        if work.running is not None:
            work.running.cancel()
        else:
            self._end(work, self.workers[0])

    def _end(self, work: Work, worker: Worker) -> None:
        work.ended = True
        if work.gate:
            worker.gates.give_up(work.gate, *work.place)

    async def _run(self, work: Work, worker: Worker) -> None:
        parked: Park | None = None
        try:
            if work.is_line:
                await self._attempt(work, worker)
            else:
                async with worker.slots.one():
                    await self._attempt(work, worker)
        except Park as reason:
            parked = reason
        except (asyncio.CancelledError, ProviderError):
            pass
        if parked is None:
            work.running = None
            self._end(work, worker)
            return
        work.gate = parked.gate
        sent = await parked.parked()
        work.running = None
        asyncio.get_running_loop().call_later(0 if sent else parked.seconds, self._start, work)

    async def _attempt(self, work: Work, worker: Worker) -> None:
        work.attempt += 1
        if work.in_code and work.made:
            self.wrong.append(f"an agent begins anew that has made {work.made} requests")
        claimed = cast("Any", _Claim(*work.place, work.attempt, work.gate))
        await worker.shares.within(claimed, work.job, lambda: self._ask(work, worker), is_line=work.is_line)

    async def _ask(self, work: Work, worker: Worker) -> None:
        while work.done < len(work.rounds):
            requests = [
                self._request(work, worker, self.profiles[profile]) for profile in work.rounds[work.done]
            ]
            if len(requests) == 1:
                await requests[0]
            else:
                await self._at_once(requests)
            work.done += 1

    async def _at_once(self, requests: Sequence[Coroutine[Any, Any, None]]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for request in requests:
                    group.create_task(request)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _request(self, work: Work, worker: Worker, profile: Profile) -> None:
        session_id, job_id = work.place
        begun = bool(work.made) or (work.in_code and len(work.rounds[work.done]) > 1)
        request = GenerationRequest(
            model="m",
            messages=[Message(role=Role.USER, content="Hi")],
            asker=Asker(
                session_id=session_id,
                job_id=job_id,
                tenant=work.job.tenant or "",
                is_line=work.is_line,
                in_code=work.in_code,
                goes_on=begun,
            ),
        )

        async def ask(_provider: Any, _request: Any, _sink: Any) -> None:
            await self._answer(work, profile)

        await worker.gates(ask, cast("Any", _Provider(profile)), request, cast("Any", None))

    async def _answer(self, work: Work, profile: Profile) -> None:
        jobs = self.working.setdefault(work.job.tenant or "", Counter())
        work.made += 1
        self.open[profile.name] += 1
        jobs[work.job.job_id] += 1
        self.asked.setdefault(profile.name, []).append(self.server.now)
        most, running = profile.limits.concurrent, self.tenants.of(work.job.tenant).running
        if most is not None and self.open[profile.name] > most:
            self.wrong.append(f"{profile.name} is asked by {self.open[profile.name]}")
        if running is not None and len(+jobs) > running:
            self.wrong.append(f"{len(+jobs)} of {work.job.tenant} run")
        try:
            await asyncio.sleep(self.chance.uniform(0.05, 4))
            match self.chance.randint(1, 20):
                case 1:
                    raise ProviderError(provider=profile.name)
                case 2:
                    raise RateLimitError(provider=profile.name, retry_after=self.chance.uniform(1, 30))
        finally:
            self.open[profile.name] -= 1
            jobs[work.job.job_id] -= 1

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            found = run(self.server, pump(self.keys, time=self.server.now / 1000, limit=500))
            self._deliver(cast("Any", found))

    async def _renew(self, worker: Worker) -> None:
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            for renewal in worker.gates.renewals():
                run(self.server, exchange.run(renewal))

    async def close(self) -> None:
        tasks = [*self._tasks, *(work.running for work in self.works.values() if work.running is not None)]
        for task in tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Claim:
    """What is known of a claim at the gates; see `Claimed`."""

    session_id: str
    job_id: str
    attempt: int
    gate: str


@dataclass(frozen=True, slots=True)
class _Provider:
    profile: Profile
