"""How many of a worker's slots may be held by what only waits."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["HeldSlots"]

PART = 2
"""Every second slot, and not the only one: what waits elsewhere is never what all wait for."""


class HeldSlots:
    """The slots of one worker that are held by agents whose code has to wait for long. Other jobs are parked,
    and hold none.
    """

    def __init__(self, slots: Callable[[], int]) -> None:
        self._slots = slots
        self._held: set[str] = set()

    def hold(self, token: str) -> bool:
        """Whether it may wait with its slot; until `release`, if it may."""
        if len(self._held | {token}) > self._slots() // PART:
            return False
        self._held.add(token)
        return True

    def release(self, token: str) -> None:
        """It waits no more."""
        self._held.discard(token)
