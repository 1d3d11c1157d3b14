"""Holds the requests of all workers to the limits of their profiles: a policy, and the places that this
process has at the gates, at those of tenants too. The gates themselves are the ledger's.

A request that has no place waits a moment. If that would not do, its job is parked: it keeps its place in the
line, and is sent by whoever has a place for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final

from palaver.shared.errors import CircuitOpenError, RateLimitError, SpendLimitError
from palaver.shared.ids import new_token
from palaver.shared.ledger import Dispatch, Keys, Operation, operations
from palaver.shared.ledger.replies import Place
from palaver.shared.ledger.subscriptions import Subscriptions
from palaver.shared.profiles import Limits, Profile
from palaver.workers.event_log import event_logger
from palaver.workers.given import Given
from palaver.workers.lent_slots import LentSlots
from palaver.workers.link import Link
from palaver.workers.metrics import Counts
from palaver.workers.policies import Ask
from palaver.workers.providers import Asker, GenerationRequest, Provider, Sink
from palaver.workers.stop import Unasked
from palaver.workers.tenancy import Tenancy
from palaver.workers.token_counting import Counting, size_of
from palaver.workers.visits import Entry, Share, Terms, Visit, Waits
from palaver.workers.waiting import AtGate, Waiting

__all__ = ["Gates"]

logger = event_logger("palaver.workers.gates")

LINGER_SECONDS: Final = 60.0
"""So long after it was closed the gate of a profile without limits is still asked: some may wait there."""

UNASKED: Final = (CircuitOpenError, SpendLimitError, Unasked)
"""Raised for requests before their providers are asked."""


class Gates:
    """See the module; a `Policy`. A place that is held ends `lease` seconds
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
        lent: LentSlots,
        counts: Counts,
        paused: Container[str] = frozenset(),
        limits_of: Callable[[Profile], Limits] = attrgetter("limits"),
    ) -> None:
        self._link = link
        self._counts = counts
        self._tenancy = tenancy
        self._keys = keys
        self._lease = lease
        self._paused = paused  # profiles that an operator has paused: all are asked in turn, and have to wait
        self._limits_of = limits_of  # now: they may change while one waits
        self._waiting = Waiting(link, keys, subscriptions, lease=lease, lent=lent)
        self._visits: dict[str, dict[Place, Visit]] = {}  # of each gate, by their places there
        self._shares: dict[Place, Share] = {}  # of runs
        self.given = Given(self.give_up)
        self._closed: dict[str, float] = {}  # profiles that were closed lately, until a monotonic time

    async def __call__(self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink) -> None:
        """See `Policy`. Raises Park for a job that is to wait for longer than a moment."""
        profile, asker = provider.profile, request.asker
        try:
            if asker is None:
                await ask(provider, request, sink)
            elif self._is_visited(profile, asker):
                self.given.hand_on((asker.session_id, asker.job_id), but=profile.name)
                await self._ask_in_turn(ask, provider, request, asker, sink)
            else:
                self.given.hand_on((asker.session_id, asker.job_id))
                await ask(provider, request, sink)
        except RateLimitError as error:
            if error.retry_after:
                self._close(profile.name, error.retry_after)
            raise

    def renewals(self) -> list[Operation[Any]]:
        """What renews the places that are held, to be sent with the leases of their jobs."""
        return [
            operations.keep_places(self._keys, gate, _tokens(visits), lease=self._lease, used=_used(visits))
            for gate, visits in self._visits.items()
        ]

    def send_by(self, send: Callable[[Sequence[Dispatch]], object]) -> None:
        """Have the messages of jobs that were given a place sent. What nobody sends is found again."""
        self._waiting.send = send

    def heed(self, profile: str, seconds: float) -> None:
        """The profile was closed, by any worker."""
        until = (now := time.monotonic()) + seconds + LINGER_SECONDS
        self._closed = {name: known for name, known in self._closed.items() if known > now}
        self._closed[profile] = max(until, self._closed.get(profile, until))

    def resumed(self, profile: str) -> None:
        """The profile's pause is over: who waits for it goes on."""
        self.heed(profile, 0)
        self._link.post(operations.pump_gate(self._keys, profile), self._waiting.handed_out)

    def give_up(self, gate: str, place: Place) -> None:
        """What there is at a gate for a job is another one's: the job has ended, or it goes elsewhere."""
        self._link.post(operations.pump_gate(self._keys, gate, ended=place), self._waiting.handed_out)

    async def share(self, visit: Visit, work: Callable[[], Awaitable[None]]) -> None:
        """As `within`, for a run at its tenant's gate: no place is its own while it waits elsewhere."""
        self.given.take(visit.job, visit.entry.gate)
        self._shares[visit.job] = Share(visit)
        try:
            await self.within(visit, work)
        finally:
            self._shares.pop(visit.job).end()

    async def within(self, visit: Visit, work: Callable[[], Awaitable[None]]) -> None:
        """Do it with a place, which is given back after it. Raises AtGate while there
        is no place, CircuitOpenError at a closed gate for whom `may_move`, and whatever the work raises.
        """
        entry = visit.entry
        visits = self._visits.setdefault(entry.gate, {})
        visits[entry.place] = visit
        try:
            await self._waiting.place(visit)
            await work()
        except AtGate as parked:
            if parked.entry.token != entry.token:  # it waits elsewhere
                self._waiting.leave(visit)
            raise
        except UNASKED:
            self._waiting.leave(visit, asked=False)
            raise
        except BaseException:
            self._waiting.leave(visit)
            raise
        else:
            self._waiting.leave(visit, whole=True)
        finally:
            if visit.share is not None:
                self._end_in(visit.share, visit)
            visits.pop(entry.place, None)
            if not visits and self._visits.get(entry.gate) is visits:
                del self._visits[entry.gate]

    def _end_in(self, share: Share, visit: Visit) -> None:
        """A request of the run is over: one that gave up waiting has left the run without a place."""
        if share.ends(visit.entry.token):
            self._waiting.leave(share.visit)
        elif share.is_missing and share.regaining is None:
            share.regaining = asyncio.create_task(self._waiting.regain(share))

    async def _ask_in_turn(
        self, ask: Ask, provider: Provider, request: GenerationRequest, asker: Asker, sink: Sink
    ) -> None:
        visit, came = self._visit_of(provider.profile, request, asker, sink), time.monotonic()

        async def work() -> None:
            self._counts.passed_gate(provider.profile.name, time.monotonic() - came)
            await ask(provider, request, visit.counting or sink)

        try:
            await self.within(visit, work)
        except AtGate:
            self._counts.parked_at_gate(provider.profile.name)
            raise

    def _visit_of(self, profile: Profile, request: GenerationRequest, asker: Asker, sink: Sink) -> Visit:
        job, token = (asker.session_id, asker.job_id), new_token()
        apart = asker.in_code and job in self._visits.get(profile.name, ())
        size = size_of(profile, request)
        entry = Entry(
            gate=profile.name,
            place=(asker.session_id, f"{asker.job_id}.{token}") if apart else job,
            terms=partial(self._terms, profile, asker),
            token=token,
            ahead=asker.goes_on,
            size=size,
        )
        return Visit(
            entry=entry,
            job=job,
            tenant=asker.tenant,
            waits=_waits_of(asker),
            may_move=asker.may_move,
            share=None if asker.may_park else self._shares.get(job),
            counting=Counting(sink, size) if profile.limits.tokens_per_minute is not None else None,
        )

    def _terms(self, profile: Profile, asker: Asker) -> Terms:
        weight = self._tenancy.of(asker.tenant).weight
        line = operations.Line(name=asker.tenant, of_batch=asker.is_line, weight=weight)
        return Terms(line, self._limits_of(profile))

    def _close(self, profile: str, seconds: float) -> None:
        logger.warning("gate.closed", profile=profile, seconds=seconds)
        self.heed(profile, seconds)
        self._link.post(operations.close_gate(self._keys, profile, seconds))

    def _is_visited(self, profile: Profile, asker: Asker) -> bool:
        """Whether it is asked in turn. An agent's run is to be known to work at one profile while another
        request of it waits at a gate: so all that it asks are visited, if its tenant has a bound.
        """
        shares = asker.in_code and (asker.session_id, asker.job_id) in self._shares
        return shares or not profile.limits.none or self._is_guarded(profile.name)

    def _is_guarded(self, profile: str) -> bool:
        """Whether a profile without limits is asked in turn all the same."""
        until = self._closed.get(profile)
        if until is not None and until <= time.monotonic():
            del self._closed[profile]
        return profile in self._closed or profile in self._paused


def _waits_of(asker: Asker) -> Waits:
    if asker.is_line:
        return Waits.HERE
    if not asker.in_code:
        return Waits.PARKED
    # An agent that has made a request would make it again.
    return Waits.KEPT if asker.goes_on else Waits.LENT


def _tokens(visits: Mapping[Place, Visit]) -> dict[Place, str]:
    return {place: visit.entry.token for place, visit in visits.items()}


def _used(visits: Mapping[Place, Visit]) -> dict[Place, tuple[int, int]]:
    """Tokens, and those of the answer, of requests of whose answers something has come."""
    counted = ((place, visit.counting) for place, visit in visits.items())
    found = ((place, counting.used(whole=False)) for place, counting in counted if counting is not None)
    return {place: used for place, used in found if used is not None}
