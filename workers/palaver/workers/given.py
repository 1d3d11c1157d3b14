"""What gates have given to jobs that were parked there, until it is taken: who goes elsewhere has it handed
on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from palaver.shared.ledger.replies import Place

__all__ = ["Given"]


class Given:
    """Of the jobs that run in this process. `hand_on` is called with a gate, and the job whose place, or
    place in the line, is another one's.
    """

    def __init__(self, hand_on: Callable[[str, Place], None]) -> None:
        self._gates: dict[Place, str] = {}
        self._hand_on = hand_on

    @contextmanager
    def to(self, place: Place, gate: str) -> Iterator[None]:
        """While a job runs that has waited at this gate ("": at none)."""
        if gate:
            self._gates[place] = gate
        try:
            yield
        finally:
            self.hand_on(place)

    def take(self, place: Place, gate: str) -> None:
        """The job comes to this gate: what it was given there it sees to itself."""
        if self._gates.get(place) == gate:
            del self._gates[place]

    def hand_on(self, place: Place, *, but: str = "") -> None:
        """The job goes elsewhere, or has ended. What it was given at the gate `but` it takes."""
        gate = self._gates.pop(place, "")
        if gate not in ("", but):
            self._hand_on(gate, place)
