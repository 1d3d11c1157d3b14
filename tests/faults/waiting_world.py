"""Several workers' real gates, at profiles and at tenants, in simulated time: jobs, agents and lines of
batches come, wait in their slots or parked, make requests one after the other or at once, are cut off,
refused by breakers and cancelled, workers die, and the ledger stands still.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, Final, cast

from palaver.shared.errors import CircuitOpenError, ProviderError, RateLimitError, ServerError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import Dispatch, Keys, Operation, exchange
from palaver.shared.ledger.pumping import pump
from palaver.shared.messages import Message, Role
from palaver.shared.profiles import Profile
from palaver.shared.tenants import Tenants
from palaver.workers.gates import Gates
from palaver.workers.lent_slots import LentSlots
from palaver.workers.metrics import Counts
from palaver.workers.policies import Ask, Breakers, State, wrapped
from palaver.workers.providers import Asker, GenerationRequest, Provider, Sink
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
    patience: float | None = None  # seconds that its code waits for a request, and then goes on without it
    lasts: float = 0.0  # seconds that its code takes after its requests
    attempt: int = 0
    gate: str = ""
    done: int = 0  # rounds
    made: int = 0  # requests
    running: "asyncio.Task[float | None] | None" = None
    worker: "Worker | None" = None
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
    """Operations reach the ledger in their order, when it does not stand still; what it says comes a little
    later. A dead worker's say nothing.
    """

    def __init__(self, server: Server, chance: random.Random) -> None:
        self._server, self._chance = server, chance
        self.is_dead = self.stands_still = False
        self.reply_seconds = REPLY_SECONDS
        self.unsent: deque[tuple[Operation[Any], Callable[[Any], object] | None]] = deque()

    async def run(self, operation: Operation[Any]) -> Any:
        answer: asyncio.Future[Any] = asyncio.Future()

        def tell(said: Any) -> None:
            if not answer.done():
                answer.set_result(said)

        self.post(operation, tell)
        said = await answer
        await asyncio.sleep(self._chance.uniform(0, self.reply_seconds))
        return said

    def post(self, operation: Operation[Any], then: Callable[[Any], object] | None = None) -> None:
        if self.is_dead:
            return
        self.unsent.append((operation, then))
        if not self.stands_still:
            self.send_one()

    def send_one(self) -> None:
        """The first of those that were not sent."""
        operation, then = self.unsent.popleft()
        answer = run(self._server, exchange.run(operation))
        if then is not None:
            asyncio.get_running_loop().call_soon(then, answer)


class NoMessages:
    """Subscriptions of which every message is lost: who waits looks again."""

    @asynccontextmanager
    async def listen(self, _channel: str) -> AsyncIterator[Any]:
        yield self

    async def receive(self, timeout: float) -> None:  # noqa: ASYNC109 - as `Inbox`
        await asyncio.sleep(timeout)


@dataclass(slots=True)
class Worker:
    """Its slots, gates and breakers."""

    link: Link
    slots: Slots
    gates: Gates
    shares: Shares
    breakers: Breakers
    asking: Counter[str] = field(default_factory=Counter)  # requests of each profile


@dataclass(slots=True)
class World:
    """The workers, and the provider behind all profiles, which sees who asks it."""

    server: Server
    profiles: dict[str, Profile]
    tenants: Tenants
    chance: random.Random
    longest: float = 4.0  # seconds that an answer takes
    keys: Keys = field(default_factory=Keys)
    workers: list[Worker] = field(default_factory=list)
    open: Counter[str] = field(default_factory=Counter)  # requests of each profile
    working: dict[str, Counter[str]] = field(default_factory=dict)  # by tenant, of each job
    asked: dict[str, list[float]] = field(default_factory=dict)  # when (seconds of the loop), by profile
    works: dict[str, Work] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)  # what must not be
    stands_still: bool = False
    _tasks: "list[asyncio.Task[None]]" = field(default_factory=list)

    def begin(self, *, workers: int, slots: int) -> None:
        """On the loop."""
        self.workers = [self._worker(slots) for _ in range(workers)]
        self._tasks = [asyncio.create_task(self._sweep())]
        self._tasks += [asyncio.create_task(self._renew(worker)) for worker in self.workers]

    def kill(self, worker: Worker) -> list[Work]:
        """It says nothing any more, and another one comes. Returns what it worked on, which goes on when
        leases have ended.
        """
        worker.link.is_dead = True
        self.workers[self.workers.index(worker)] = another = self._worker(worker.slots.count)
        self._tasks.append(asyncio.create_task(self._renew(another)))
        cut = []
        for work in self.works.values():
            if work.worker is worker and work.running is not None:
                work.running.cancel()
                cut.append(work)
        return cut

    async def stand_still(self, seconds: float) -> None:
        """The ledger hears nobody; what is said meanwhile reaches it after that, a worker's in its order."""
        self.stands_still = True
        for worker in self.workers:
            worker.link.stands_still = True
        await asyncio.sleep(seconds)
        self.stands_still = False
        links = [worker.link for worker in self.workers]
        for link in links:
            link.stands_still = False
        while unsent := [link for link in links if link.unsent]:
            self.chance.choice(unsent).send_one()

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
        link, inbox = Link(self.server, self.chance), cast("Any", NoMessages())
        link.stands_still = self.stands_still
        tenancy = cast("Any", self.tenants)
        lent = LentSlots(lambda: slots, held.lend)
        gates = Gates(cast("Any", link), self.keys, inbox, tenancy, lease=LEASE, lent=lent, counts=Counts())
        gates.send_by(self._deliver)
        breakers = Breakers(asyncio.get_running_loop().time)
        return Worker(link, held, gates, Shares(gates, tenancy), breakers)

    def _deliver(self, dispatches: Sequence[Dispatch]) -> None:
        for dispatch in dispatches:
            later = self.chance.uniform(0, 0.3)
            asyncio.get_running_loop().call_later(later, self._start, self.works[dispatch.job_id])

    def _start(self, work: Work) -> None:
        if work.running is None and not work.ended:
            work.worker = worker = self.chance.choice(self.workers)
            work.running = asyncio.create_task(self._run(work, worker))
            work.running.add_done_callback(lambda running: self._after_run(work, worker, running))

    def _after_run(self, work: Work, worker: Worker, running: "asyncio.Task[float | None]") -> None:
        work.running = None
        again = None if running.cancelled() else running.result()
        if worker.link.is_dead:
            again = LEASE
            if work.in_code:
                work.done = work.made = 0  # it begins anew
        if again is None:
            self._end(work, worker)
        else:
            asyncio.get_running_loop().call_later(again, self._start, work)

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
            worker.gates.give_up(work.gate, work.place)

    async def _run(self, work: Work, worker: Worker) -> float | None:
        """Run it; in how many seconds it comes again, if it does."""
        try:
            async with nullcontext() if work.is_line else worker.slots.one():
                await self._attempt(work, worker)
        except Park as parked:
            work.gate = parked.gate
            return 0 if await parked.parked() else parked.seconds
        except ProviderError:
            pass
        return None

    async def _attempt(self, work: Work, worker: Worker) -> None:
        work.attempt += 1
        if work.in_code and work.made:
            self.wrong.append(f"an agent begins anew that has made {work.made} requests")
        claimed = cast("Any", _Claim(*work.place, work.attempt, work.gate))
        with worker.gates.given.to(work.place, work.gate):
            await worker.shares.within(
                claimed, work.job, lambda: self._ask(work, worker), is_line=work.is_line
            )

    async def _ask(self, work: Work, worker: Worker) -> None:
        while work.done < len(work.rounds):
            requests = [
                self._request(work, worker, self.profiles[profile]) for profile in work.rounds[work.done]
            ]
            with suppress(TimeoutError):
                async with asyncio.timeout(work.patience):
                    await self._at_once(requests)
            work.done += 1
        await asyncio.sleep(work.lasts)

    async def _at_once(self, requests: Sequence[Coroutine[Any, Any, None]]) -> None:
        if len(requests) == 1:
            return await requests[0]
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

        async def answer(ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink) -> None:
            await self._answer(work, worker, profile)

        breakers, provider = worker.breakers, cast("Any", _Provider(profile))
        ask = wrapped([breakers.look, worker.gates, breakers.admit, answer])
        while True:
            try:
                return await ask(provider, request, cast("Any", _Sink()))
            except CircuitOpenError as refused:
                self._look_at_refusal(worker, profile.name)
                await asyncio.sleep(refused.retry_after or 0)

    def _look_at_refusal(self, worker: Worker, profile: str) -> None:
        """Who is refused while somebody finds out is refused by somebody who is asking the provider."""
        if worker.breakers.states[profile] is State.HALF_OPEN and not worker.asking[profile]:
            self.wrong.append(f"{profile} refuses, and nobody asks it")

    async def _answer(self, work: Work, worker: Worker, profile: Profile) -> None:
        jobs = self.working.setdefault(work.job.tenant or "", Counter())
        counts = (self.open, worker.asking)
        work.made += 1
        for count in counts:
            count[profile.name] += 1
        jobs[work.job.job_id] += 1
        self.asked.setdefault(profile.name, []).append(asyncio.get_running_loop().time())
        most, running = profile.limits.concurrent, self.tenants.of(work.job.tenant).running
        if most is not None and self.open[profile.name] > most:
            self.wrong.append(f"{profile.name} is asked by {self.open[profile.name]}")
        if running is not None and len(+jobs) > running:
            self.wrong.append(f"{len(+jobs)} of {work.job.tenant} run")
        try:
            await asyncio.sleep(self.chance.uniform(0.05, self.longest))
            match self.chance.randint(1, 20):
                case 1:
                    raise ServerError(provider=profile.name)
                case 2:
                    raise RateLimitError(provider=profile.name, retry_after=self.chance.uniform(1, 30))
        finally:
            for count in counts:
                count[profile.name] -= 1
            jobs[work.job.job_id] -= 1

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            if self.stands_still:
                continue
            found = run(self.server, pump(self.keys, time=self.server.now / 1000, limit=500))
            self._deliver(cast("Any", found))

    async def _renew(self, worker: Worker) -> None:
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            for renewal in worker.gates.renewals():
                worker.link.post(renewal)

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


@dataclass(frozen=True, slots=True)
class _Sink:
    room: None = None
