"""Who comes to a gate: a request to its profile's, a run to its tenant's."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from palaver.shared.ids import new_token
from palaver.shared.ledger import operations
from palaver.shared.ledger.replies import Place
from palaver.shared.profiles import Limits
from palaver.workers.token_counting import Counting

__all__ = ["Share", "Visit", "Waits"]


class Waits(Enum):
    """Where one waits that has no place within a moment."""

    PARKED = auto()  # in the ledger
    LENT = auto()  # in its worker, its slot lent; if too many do so, its job is parked and begins anew
    KEPT = auto()  # the same; but it cannot begin anew, and then keeps its slot
    HERE = auto()  # in its worker, without a slot of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request's at its profile's gate, or one run's at its tenant's."""

    gate: str
    place: Place  # the job's
    tenant: str
    line: operations.Line
    limits: Limits
    token: str = field(default_factory=new_token)
    apart: bool = False  # beside another request of the job
    waits: Waits = Waits.PARKED
    may_move: bool = False  # it need not wait for a gate that is closed
    ahead: bool = False  # it goes on with something that has begun
    later: bool = False  # it takes no place yet: one that it is given is kept for it a while
    size: operations.Size = operations.NO_TOKENS
    counting: Counting | None = None  # where tokens are limited
    share: Share | None = None  # of its run, if that waits here

    @property
    def entry(self) -> Place:
        """Under which it is known at the gate."""
        session_id, job_id = self.place
        return (session_id, f"{job_id}.{self.token}") if self.apart else self.place


class Share:
    """A run's place at its tenant's gate. It is another's while the run does nothing but wait at gates of
    profiles: nobody has one place and waits for the other.
    """

    def __init__(self, visit: Visit) -> None:
        self.visit = visit  # at the tenant's gate
        self.held = True
        self._working: set[str] = set()  # tokens of requests
        self._waiting: set[str] = set()

    def works(self, token: str) -> None:
        """This request of the run is made, or waits for no longer than a moment."""
        self._waiting.discard(token)
        self._working.add(token)

    def waits(self, token: str) -> bool:
        """This request waits for longer. Whether the place is to be given back now."""
        self._working.discard(token)
        self._waiting.add(token)
        return self._is_left()

    def ends(self, token: str) -> bool:
        """This request is over. Whether the place is to be given back now."""
        self._working.discard(token)
        self._waiting.discard(token)
        return self._is_left()

    def _is_left(self) -> bool:
        left = self.held and not self._working and bool(self._waiting)
        self.held = self.held and not left
        return left
