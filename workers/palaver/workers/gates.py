"""Holds the requests of all workers to the limits of their profiles: a policy, and the places that this
process has at the gates, at those of tenants too. The gates themselves are the ledger's.

A request that has no place waits a moment. If that would not do, its job is parked: it keeps its place in the
line, and is sent by whoever has a place for it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, Final

from palaver.shared.errors import CircuitOpenError, RateLimitError
from palaver.shared.ids import new_token
from palaver.shared.ledger import Dispatch, HandedOut, Keys, Operation, Visited, operations
from palaver.shared.ledger.replies import Place
from palaver.shared.ledger.subscriptions import Subscriptions
from palaver.shared.profiles import Limits, Profile
from palaver.shared.responses import Usage
from palaver.shared.token_estimate import BYTES_A_TOKEN, tokens_of
from palaver.workers.event_log import event_logger
from palaver.workers.link import Link
from palaver.workers.metrics import Counts
from palaver.workers.policies import Ask, answer_tokens
from palaver.workers.providers import (
    Asker,
    GenerationRequest,
    Part,
    Provider,
    ReasoningDelta,
    Sink,
    TextDelta,
    UsagePart,
)
from palaver.workers.stop import Park
from palaver.workers.tenancy import Tenancy
from palaver.workers.waiting import HeldSlots

__all__ = ["AtGate", "Gates", "Visit", "Waits"]

logger = event_logger("palaver.workers.gates")

MOMENT_SECONDS: Final = 1.0
"""Waited for in the worker; who is to wait longer waits in the ledger, and holds no slot."""
LOST_SECONDS: Final = (30.0, 300.0)
"""A parked job of which nobody has heard comes again after a time between these."""
LINGER_SECONDS: Final = 60.0
"""So long after it was closed the gate of a profile without limits is still asked: some may wait there."""


class Waits(Enum):
    """Where one waits that has no place within a moment."""

    PARKED = auto()  # in the ledger
    HELD = auto()  # in its worker's slot, while few others are; else its job is parked, and begins anew
    HERE = auto()  # in its worker, where it holds no slot of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request's at its profile's gate, or one run's at its tenant's."""

    gate: str
    place: Place  # the job's
    line: operations.Line
    limits: Limits
    token: str = field(default_factory=new_token)
    apart: bool = False  # beside another request of the job
    waits: Waits = Waits.PARKED
    may_move: bool = False  # it need not wait for a gate that is closed
    ahead: bool = False  # it goes on with something that has begun
    size: operations.Size = operations.NO_TOKENS
    beside: Visit | None = None  # at its tenant's gate, where it has a place that is another's while it waits

    @property
    def entry(self) -> Place:
        """Under which it is known at the gate."""
        session_id, job_id = self.place
        return (session_id, f"{job_id}.{self.token}") if self.apart else self.place


class Gates:
    """See the module; a `Policy`, the one next to the provider. A place that is held ends `lease` seconds
    after it was renewed last.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys,
        subscriptions: Subscriptions,
        tenancy: Tenancy,
        *,
        lease: float,
        held: HeldSlots,
        counts: Counts,
        paused: Container[str] = frozenset(),
    ) -> None:
        self._link = link
        self._counts = counts
        self._tenancy = tenancy
        self._keys = keys
        self._subscriptions = subscriptions
        self._lease = lease
        self._paused = paused  # profiles that an operator has paused: all are asked in turn, and have to wait
        self._held_slots = held
        self._visits: dict[str, dict[Place, Visit]] = {}  # of each gate, by their entries
        self._closed: dict[str, float] = {}  # profiles that were closed lately, until a monotonic time
        self.send: Callable[[Sequence[Dispatch]], object] = len
        """Has the messages of jobs that were given a place sent. What nobody sends is found again."""

    async def __call__(self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink) -> None:
        """See `Policy`. Raises Park for a job that is to wait for longer than a moment."""
        profile, asker = provider.profile, request.asker
        try:
            if asker is None or (profile.limits.none and not self._is_guarded(profile.name)):
                await ask(provider, request, sink)
            else:
                await self._ask_in_turn(ask, provider, request, asker, sink)
        except RateLimitError as error:
            if error.retry_after:
                self._close(profile.name, error.retry_after)
            raise

    def renewals(self) -> list[Operation[Any]]:
        """What renews the places that are held, to be sent with the leases of their jobs."""
        return [
            operations.keep_places(self._keys, gate, _tokens(visits), lease=self._lease)
            for gate, visits in self._visits.items()
        ]

    def heed(self, profile: str, seconds: float) -> None:
        """The profile was closed, by any worker."""
        until = time.monotonic() + seconds + LINGER_SECONDS
        self._closed[profile] = max(until, self._closed.get(profile, until))

    def resumed(self, profile: str) -> None:
        """The profile's pause is over: who waits for it goes on."""
        self.heed(profile, 0)
        self._link.post(operations.pump_gate(self._keys, profile), self._handed_out)

    def give_up(self, gate: str, session_id: str, job_id: str) -> None:
        """What there is at a gate for a job is another one's: the job has ended, or it waits elsewhere."""
        pumping = operations.pump_gate(self._keys, gate, ended=(session_id, job_id))
        self._link.post(pumping, self._handed_out)

    async def within(self, visit: Visit, work: Callable[[], Awaitable[Usage | None]]) -> None:
        """Do it with a place, which is given back after it; it says what was used. Raises AtGate while there
        is no place, CircuitOpenError at a closed gate for whom `may_move`, and whatever the work raises.
        """
        visits = self._visits.setdefault(visit.gate, {})
        visits[visit.entry] = visit
        used = None
        try:
            await self._wait(visit)
            used = await work()
        except AtGate as parked:
            if parked.visit is not visit:  # it waits elsewhere
                self._leave(visit, None)
            raise
        except BaseException:
            self._leave(visit, None)
            raise
        else:
            self._leave(visit, used)
        finally:
            visits.pop(visit.entry, None)
            if not visits and self._visits.get(visit.gate) is visits:
                del self._visits[visit.gate]

    async def _ask_in_turn(
        self, ask: Ask, provider: Provider, request: GenerationRequest, asker: Asker, sink: Sink
    ) -> None:
        counts = provider.profile.limits.tokens_per_minute is not None
        visit, came = self._visit_of(provider.profile, request, asker), time.monotonic()
        counting = _Counting(sink)

        async def work() -> Usage | None:
            self._counts.passed_gate(provider.profile.name, time.monotonic() - came)
            await ask(provider, request, counting if counts else sink)
            return counting.used(visit.size) if counts else None

        try:
            await self.within(visit, work)
        except AtGate:
            self._counts.parked_at_gate(provider.profile.name)
            raise

    def _visit_of(self, profile: Profile, request: GenerationRequest, asker: Asker) -> Visit:
        place = (asker.session_id, asker.job_id)
        waits = Waits.HERE if asker.is_line else Waits.HELD if asker.in_code else Waits.PARKED
        weight = self._tenancy.of(asker.tenant).weight
        return Visit(
            gate=profile.name,
            place=place,
            line=operations.Line(name=asker.tenant, of_batch=asker.is_line, weight=weight),
            limits=profile.limits,
            apart=asker.in_code and place in self._visits.get(profile.name, ()),
            waits=waits,
            beside=self._of_line(asker) if asker.is_line else None,
            may_move=asker.may_move,
            ahead=asker.goes_on,
            size=_size_of(profile, request),
        )

    def _of_line(self, asker: Asker) -> Visit | None:
        """The visit of a batch's line at its tenant's gate, if that has one."""
        visits = self._visits.get(operations.tenant_gate(asker.tenant), {})
        return visits.get((asker.session_id, asker.job_id))

    async def _wait(self, visit: Visit) -> None:
        """Return with a place; and with the one beside it, which is nobody's who waits for longer than a
        moment.
        """
        if await self._waited(visit) and visit.beside is not None:
            await self._wait(replace(visit.beside, ahead=True))

    async def _waited(self, visit: Visit) -> bool:
        """Return with a place; whether that took longer than a moment."""
        visited, long = await self.visit(visit), False
        if visited.has_place:
            return long
        gives_up = time.monotonic() + MOMENT_SECONDS
        self._stop_waiting(visit, visited, gives_up)
        channel = self._keys.gate_channel(visit.gate, *visit.entry)
        try:
            async with self._subscriptions.listen(channel) as inbox:
                while not visited.has_place:
                    self._stop_waiting(visit, visited, gives_up)
                    if not long and time.monotonic() >= gives_up:
                        long = True
                        if visit.beside is not None:
                            self._leave(visit.beside, None)
                    await inbox.receive(min(max(visited.seconds, 0.05), MOMENT_SECONDS))
                    visited = await self.visit(visit)
        finally:
            self._held_slots.release(visit.token)
        return long

    def _stop_waiting(self, visit: Visit, visited: Visited, gives_up: float) -> None:
        """Raise what sends on who would wait here for longer than a moment, and may not."""
        if visit.may_move and visited.closed_for > MOMENT_SECONDS:
            told = f"{visit.gate} wants a pause; it is not asked for {visited.closed_for:.1f} s more"
            raise CircuitOpenError(told, provider=visit.gate, retry_after=visited.closed_for)
        seconds = visited.seconds
        if time.monotonic() + seconds < gives_up or visit.waits is Waits.HERE:
            return
        if visit.waits is Waits.HELD and self._held_slots.hold(visit.token):
            return
        shortest, longest = LOST_SECONDS
        waiting = replace(visit, apart=False) if visit.apart else visit
        raise AtGate(self, waiting, min(max(shortest, 2 * seconds), longest))

    async def visit(self, visit: Visit, *, parked: bool = False) -> Visited:
        """Ask how it stands with it. One that is `parked` has nobody who could take its place now."""
        entering = operations.enter_gate(
            self._keys,
            visit.gate,
            visit.entry,
            token=visit.token,
            line=visit.line,
            limits=visit.limits,
            lease=self._lease,
            parked=parked,
            ahead=visit.ahead,
            size=visit.size,
        )
        visited = await self._link.run(entering)
        self._send(visited.dispatches)
        return visited

    def _leave(self, visit: Visit, usage: Usage | None) -> None:
        asked, answered = (usage.input_tokens, usage.output_tokens) if usage is not None else (None, None)
        leaving = operations.leave_gate(
            self._keys,
            visit.gate,
            visit.entry,
            token=visit.token,
            tokens=None if asked is None or answered is None else asked + answered,
            answer_tokens=answered,
        )
        self._link.post(leaving, self._handed_out)

    def _handed_out(self, handed: HandedOut) -> None:
        self._send(handed.dispatches)

    def _send(self, dispatches: Sequence[Dispatch]) -> None:
        if dispatches:
            self.send(dispatches)

    def _close(self, profile: str, seconds: float) -> None:
        logger.warning("gate.closed", profile=profile, seconds=seconds)
        self.heed(profile, seconds)
        self._link.post(operations.close_gate(self._keys, profile, seconds))

    def _is_guarded(self, profile: str) -> bool:
        """Whether a profile without limits is asked in turn all the same."""
        until = self._closed.get(profile)
        if until is not None and until <= time.monotonic():
            del self._closed[profile]
        return profile in self._closed or profile in self._paused


class AtGate(Park):
    """The job waits at the gate, parked."""

    def __init__(self, gates: Gates, visit: Visit, seconds: float) -> None:
        super().__init__(seconds, gate=visit.gate)
        self._gates = gates
        self.visit = visit

    async def parked(self) -> bool:
        """See `Park.parked`: from now on who has a place for the job sends its message."""
        return (await self._gates.visit(self.visit, parked=True)).has_place


def _tokens(visits: Mapping[Place, Visit]) -> dict[Place, str]:
    return {entry: visit.token for entry, visit in visits.items()}


def _size_of(profile: Profile, request: GenerationRequest) -> operations.Size:
    """What is known of the tokens of a request, where these are limited."""
    if profile.limits.tokens_per_minute is None:
        return operations.NO_TOKENS
    choices, context = request.params.n or 1, profile.context_of(request.model)
    most = request.params.max_tokens
    if most is not None and context is not None:
        most = min(most, context)
    return operations.Size(
        prompt=tokens_of(request.messages, request.tools or ()),
        most=None if most is None else most * choices,
        guess=answer_tokens(None, context) * choices,
        model=request.model,
    )


class _Counting:
    """A sink that sees how many tokens were used."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._told = Usage()
        self._said = 0  # bytes
        self.room = sink.room

    def take(self, parts: list[Part]) -> bool:
        """See `Sink.take`."""
        for part in parts:
            if isinstance(part, UsagePart):
                self._told = part.usage
            elif isinstance(part, TextDelta | ReasoningDelta):
                self._said += len(part.text.encode())
        return self._sink.take(parts)

    def used(self, size: operations.Size) -> Usage:
        """By a whole answer to a request of this size: what the provider tells, and else an estimate."""
        asked, answered = self._told.input_tokens, self._told.output_tokens
        return Usage(
            input_tokens=size.prompt if asked is None else asked,
            output_tokens=-(-self._said // BYTES_A_TOKEN) if answered is None else answered,
        )
