"""Who comes to a gate waits there: a moment in its worker, and then parked, if it can be."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Final

from palaver.shared.errors import CircuitOpenError, PalaverError
from palaver.shared.ledger import Dispatch, HandedOut, Keys, Visited, operations
from palaver.shared.ledger.subscriptions import Subscriptions
from palaver.workers.lent_slots import LentSlots
from palaver.workers.link import Link
from palaver.workers.stop import Park
from palaver.workers.visits import Entry, Share, Visit, Waits

__all__ = ["MOMENT_SECONDS", "AtGate", "Waiting"]

MOMENT_SECONDS: Final = 1.0
"""Waited for in the worker; who is to wait longer waits in the ledger, and holds no slot."""
LOST_SECONDS: Final = (30.0, 300.0)
"""A parked job of which nobody has heard comes again after a time between these."""


class Waiting:
    """Comes to gates and leaves them, for all in this process. A place ends `lease` seconds after it was
    renewed last.
    """

    def __init__(
        self, link: Link, keys: Keys, subscriptions: Subscriptions, *, lease: float, lent: LentSlots
    ) -> None:
        self._link = link
        self._keys = keys
        self._subscriptions = subscriptions
        self._lease = lease
        self._lent_slots = lent
        self.send: Callable[[Sequence[Dispatch]], object] = len
        """Has the messages of jobs that were given a place sent. What nobody sends is found again."""

    async def place(self, visit: Visit) -> None:
        """Return with a place; and with that of the run at its tenant's gate, which comes first.

        Raises AtGate for who is to wait parked, CircuitOpenError at a closed gate for whom `may_move`.
        """
        if visit.share is None:
            await self._wait_alone(visit)
        else:
            await self._wait_with(visit.share, visit)

    async def regain(self, share: Share) -> None:
        """Have a run that goes on be one of its tenant's again."""
        with suppress(PalaverError):  # its next request comes here before anything else
            await self._wait_alone(share.returning(Waits.HERE))
            share.held = True

    async def ask(self, entry: Entry, *, parked: bool = False, later: bool = False) -> Visited:
        """Ask how it stands with it. One that is `parked` has nobody who could take its place now; one that
        comes `later` takes none yet: what it is given is kept for it a while.
        """
        terms = entry.terms()
        entering = operations.enter_gate(
            self._keys,
            entry.gate,
            entry.place,
            token=entry.token,
            line=terms.line,
            limits=terms.limits,
            lease=self._lease,
            parked=parked,
            later=later,
            ahead=entry.ahead,
            size=entry.size,
        )
        visited = await self._link.run(entering)
        self._send(visited.dispatches)
        return visited

    def leave(self, visit: Visit, *, whole: bool = False, asked: bool = True) -> None:
        """Give its place back, or its place in the line. `whole` and `asked`: see `leave_gate`."""
        used = visit.counting.used(whole=whole) if visit.counting is not None else None
        total, answer = used or (None, None)
        leaving = operations.leave_gate(
            self._keys,
            visit.entry.gate,
            visit.entry.place,
            token=visit.entry.token,
            tokens=total,
            answer_tokens=answer,
            whole=whole,
            asked=asked,
        )
        self._link.post(leaving, self.handed_out)

    def handed_out(self, handed: HandedOut) -> None:
        """Some were given places."""
        self._send(handed.dispatches)

    async def _wait_alone(self, visit: Visit) -> None:
        visited = await self._waited(visit, MOMENT_SECONDS)
        if not visited.has_place:
            with self._waits_on(visit, visited):
                await self._waited(visit, math.inf)

    async def _wait_with(self, share: Share, visit: Visit) -> None:
        """What waits for longer than a moment for its profile has no place at its tenant's gate, unless it
        keeps its slot: so a tenant has no more slots than places. Nobody has a profile's place and waits for
        the tenant's. A place that is given here counts as a request when it is taken.
        """
        token = visit.entry.token
        share.stop_regaining()
        while True:
            # Now already: another request of the run that has the place meanwhile keeps it.
            share.works(token)
            if not share.held:
                await self._wait_alone(share.returning(visit.waits))
                share.held = True
            visited = await self._waited(visit, MOMENT_SECONDS)
            if visited.has_place:
                return
            with self._waits_on(visit, visited) as without_slot:
                if without_slot and share.waits(token):
                    self.leave(share.visit)
                await self._waited(visit, math.inf, later=True)
            share.works(token)
            if not share.held:
                share.held = (await self.ask(share.visit.entry.going_on)).has_place
            if not share.held:
                self.leave(visit)
                visit = replace(visit, entry=visit.entry.going_on)

    async def _waited(self, visit: Visit, seconds: float, *, later: bool = False) -> Visited:
        """Wait for a place, unless that would take longer; how it stands then. Raises CircuitOpenError at a
        closed gate for whom `may_move`.
        """
        entry = visit.entry
        visited, gives_up = await self.ask(entry, later=later), time.monotonic() + seconds
        if _is_over(visit, visited, gives_up):
            return visited
        async with self._subscriptions.listen(self._keys.gate_channel(entry.gate, *entry.place)) as inbox:
            while not _is_over(visit, visited, gives_up):
                await inbox.receive(min(max(visited.seconds, 0.05), MOMENT_SECONDS))
                visited = await self.ask(entry, later=later)
        return visited

    @contextmanager
    def _waits_on(self, visit: Visit, visited: Visited) -> Iterator[bool]:
        """While one waits here for longer than a moment: whether others have its slot meanwhile, if it has
        one. Raises AtGate for who may not.
        """
        lends = visit.waits in (Waits.LENT, Waits.KEPT) and self._lent_slots.lend(visit.job, visit.tenant)
        if visit.waits is Waits.PARKED or (visit.waits is Waits.LENT and not lends):
            shortest, longest = LOST_SECONDS
            waiting = replace(visit.entry, place=visit.job)
            raise AtGate(self, waiting, min(max(shortest, 2 * visited.seconds), longest))
        try:
            yield lends or visit.waits is Waits.HERE
        finally:
            if lends:
                self._lent_slots.take_back(visit.job, visit.tenant)

    def _send(self, dispatches: Sequence[Dispatch]) -> None:
        if dispatches:
            self.send(dispatches)


class AtGate(Park):
    """The job waits at the gate, parked."""

    def __init__(self, gates: Waiting, entry: Entry, seconds: float) -> None:
        super().__init__(seconds, gate=entry.gate)
        self._gates = gates
        self.entry = entry

    async def parked(self) -> bool:
        """See `Park.parked`: from now on who has a place for the job sends its message."""
        return (await self._gates.ask(self.entry, parked=True)).has_place


def _is_over(visit: Visit, visited: Visited, gives_up: float) -> bool:
    """Whether one waits no longer: it has a place, or would wait for too long."""
    if visited.has_place:
        return True
    if visit.may_move and visited.closed_for > MOMENT_SECONDS:
        gate = visit.entry.gate
        told = f"{gate} wants a pause; it is not asked for {visited.closed_for:.1f} s more"
        raise CircuitOpenError(told, provider=gate, retry_after=visited.closed_for)
    return time.monotonic() + visited.seconds >= gives_up
