"""Who comes to a gate waits there: a moment in its worker, and then parked, if it can be."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from palaver.shared.errors import CircuitOpenError
from palaver.shared.ledger import Dispatch, HandedOut, Keys, Visited, operations
from palaver.shared.ledger.subscriptions import Subscriptions
from palaver.workers.lent_slots import LentSlots
from palaver.workers.link import Link
from palaver.workers.stop import Park
from palaver.workers.visits import Share, Visit, Waits

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
            later=visit.later,
            ahead=visit.ahead,
            size=visit.size,
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
            visit.gate,
            visit.entry,
            token=visit.token,
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
        """What waits for longer than a moment at one gate has no place at the other; and one that it is given
        here counts as a request when it is taken.
        """
        while True:
            if not share.held:
                await self._wait_alone(replace(share.visit, waits=visit.waits, ahead=True))
                share.held = True
            share.works(visit.token)
            visited = await self._waited(visit, MOMENT_SECONDS)
            if visited.has_place:
                return
            with self._waits_on(visit, visited):
                if share.waits(visit.token):
                    self.leave(share.visit)
                await self._waited(replace(visit, later=True), math.inf)
            share.works(visit.token)
            if not share.held:
                share.held = (await self.visit(replace(share.visit, ahead=True))).has_place
            if not share.held:
                self.leave(visit)
                visit = replace(visit, ahead=True)

    async def _waited(self, visit: Visit, seconds: float) -> Visited:
        """Wait for a place, unless that would take longer; how it stands then. Raises CircuitOpenError at a
        closed gate for whom `may_move`.
        """
        visited, gives_up = await self.visit(visit), time.monotonic() + seconds
        if _is_over(visit, visited, gives_up):
            return visited
        async with self._subscriptions.listen(self._keys.gate_channel(visit.gate, *visit.entry)) as inbox:
            while not _is_over(visit, visited, gives_up):
                await inbox.receive(min(max(visited.seconds, 0.05), MOMENT_SECONDS))
                visited = await self.visit(visit)
        return visited

    @contextmanager
    def _waits_on(self, visit: Visit, visited: Visited) -> Iterator[None]:
        """While one waits here for longer than a moment. Raises AtGate for who may not."""
        lends = visit.waits in (Waits.LENT, Waits.KEPT) and self._lent_slots.lend(visit.place, visit.tenant)
        if visit.waits is Waits.PARKED or (visit.waits is Waits.LENT and not lends):
            shortest, longest = LOST_SECONDS
            waiting = replace(visit, apart=False) if visit.apart else visit
            raise AtGate(self, waiting, min(max(shortest, 2 * visited.seconds), longest))
        try:
            yield
        finally:
            if lends:
                self._lent_slots.take_back(visit.place, visit.tenant)

    def _send(self, dispatches: Sequence[Dispatch]) -> None:
        if dispatches:
            self.send(dispatches)


class AtGate(Park):
    """The job waits at the gate, parked."""

    def __init__(self, gates: Waiting, visit: Visit, seconds: float) -> None:
        super().__init__(seconds, gate=visit.gate)
        self._gates = gates
        self.visit = visit

    async def parked(self) -> bool:
        """See `Park.parked`: from now on who has a place for the job sends its message."""
        return (await self._gates.visit(self.visit, parked=True)).has_place


def _is_over(visit: Visit, visited: Visited, gives_up: float) -> bool:
    """Whether one waits no longer: it has a place, or would wait for too long."""
    if visited.has_place:
        return True
    if visit.may_move and visited.closed_for > MOMENT_SECONDS:
        told = f"{visit.gate} wants a pause; it is not asked for {visited.closed_for:.1f} s more"
        raise CircuitOpenError(told, provider=visit.gate, retry_after=visited.closed_for)
    return time.monotonic() + visited.seconds >= gives_up
