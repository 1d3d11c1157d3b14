"""Who comes to a gate: a request to its profile's, a run to its tenant's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from palaver.shared.ids import new_token
from palaver.shared.ledger import operations
from palaver.shared.ledger.replies import Place
from palaver.shared.profiles import Limits
from palaver.workers.token_counting import Counting

__all__ = ["Entry", "Share", "Terms", "Visit", "Waits"]


class Waits(Enum):
    """Where one waits that has no place within a moment."""

    PARKED = auto()  # in the ledger
    LENT = auto()  # in its worker, its slot lent; if too many do so, its job is parked and begins anew
    KEPT = auto()  # the same; but it cannot begin anew, and then keeps its slot
    HERE = auto()  # in its worker, without a slot of its own


@dataclass(frozen=True, slots=True)
class Terms:
    """On which one comes to a gate: its line, and what the gate's limits are."""

    line: operations.Line
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a gate is told: of one request at its profile's, or of one run at its tenant's."""

    gate: str
    place: Place  # under which it is known there: the job's, or its own beside another request of the job
    terms: Callable[[], Terms]  # of now: they may change while one waits
    token: str = field(default_factory=new_token)
    ahead: bool = False  # it goes on with something that has begun
    size: operations.Size = operations.NO_TOKENS

    @property
    def going_on(self) -> Entry:
        """The same, when something of it has begun."""
        return replace(self, ahead=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One who comes to a gate, and how it waits there."""

    entry: Entry
    job: Place
    tenant: str
    waits: Waits
    may_move: bool = False  # it need not wait for a gate that is closed
    share: Share | None = None  # of its run, if that waits here
    counting: Counting | None = None  # where tokens are limited


class Share:
    """A run's place at its tenant's gate. It is another's while the run does nothing but wait at gates of
    profiles, and holds no slot.
    """

    def __init__(self, visit: Visit) -> None:
        self.visit = visit  # at the tenant's gate
        self.held = True
        self._working: set[str] = set()  # tokens of requests
        self._waiting: set[str] = set()
        self.regaining: asyncio.Task[None] | None = None
        self._over = False

    @property
    def is_missing(self) -> bool:
        """Whether the run goes on without it: a request of it has given up waiting. One that ends after its
        run, as requests of an agent do, has nobody go on.
        """
        return not (self._over or self.held or self._waiting or self._working)

    def returning(self, waits: Waits) -> Visit:
        """What the run comes with when it goes on without its place."""
        return replace(self.visit, entry=self.visit.entry.going_on, waits=waits)

    def stop_regaining(self) -> None:
        """Somebody else sees to it, or the run is over."""
        if self.regaining is not None:
            self.regaining.cancel()
            self.regaining = None

    def end(self) -> None:
        """The run is over."""
        self._over = True
        self.stop_regaining()

    def works(self, token: str) -> None:
        """This request of the run is made, waits for no longer than a moment or for the place itself, or
        keeps the slot.
        """
        self._waiting.discard(token)
        self._working.add(token)

    def waits(self, token: str) -> bool:
        """This request waits for longer, and holds no slot. Whether the place is to be given back now."""
        self._working.discard(token)
        self._waiting.add(token)
        return self._is_left()

    def ends(self, token: str) -> bool:
        """This request is over. Whether the place is to be given back now: also one that it has asked for and
        was not told of any more.
        """
        self._working.discard(token)
        self._waiting.discard(token)
        return self._is_left()

    def _is_left(self) -> bool:
        left = not self._working and bool(self._waiting)
        self.held = self.held and not left
        return left
