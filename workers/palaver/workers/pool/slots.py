"""Which tasks run, and which wait for a slot.

Slots are counted, not made: growing and shrinking moves a limit, and a shrunk pool lets what runs end by
itself. What waits is begun in the order of its queues. Resumed jobs go first, and have a few slots of their
own beside the others.
"""

import threading
import time
from heapq import heappop, heappush
from itertools import count as numbers
from typing import Final

from palaver.workers.pool.execution import Execution

__all__ = ["Slots"]

SHARE: Final = 10  # one slot for resumed jobs beside so many others


class Slots:
    """`count` slots, and `reserve` further ones for resumed jobs; None: a tenth of them, at least one."""

    def __init__(self, count: int, reserve: int | None = None) -> None:
        self.count = count
        self.lent = 0  # held by what only waits, and free for others
        self.running: set[Execution] = set()
        self.roomy_since = time.monotonic()  # if there is room for a new job
        self._reserve = reserve
        self._waiting: list[tuple[int, int, Execution]] = []  # a heap: place of the queue, number
        self._number = numbers()
        # held for a moment each: under a transport without an event loop two threads come here
        self._lock = threading.RLock()

    @property
    def reserve(self) -> int:
        """How many resumed jobs may run beside the others when all slots are taken."""
        return max(1, self.count // SHARE) if self._reserve is None else self._reserve

    @property
    def hold_only_copies(self) -> bool:
        """Whether something runs that nobody else would do. From any thread, also while Celery's, which frees
        slots, is held by a broker that hangs.
        """
        return any(execution.is_only_copy and not execution.ended for execution in list(self.running))

    @property
    def waiting(self) -> int:
        """How many tasks wait for a slot."""
        return len(self._waiting)

    @property
    def room(self) -> int:
        """How many new jobs would get a slot."""
        return max(0, self.count + self.lent - len(self.running) - self.waiting)

    @property
    def room_to_resume(self) -> int:
        """How many resumed jobs would get one."""
        return max(0, self.count + self.lent + self.reserve - len(self.running) - self.waiting)

    def put(self, execution: Execution, *, place: int) -> None:
        """Start it as soon as there is a slot for it; `place` is its queue's, and 0 that of resumed jobs."""
        with self._lock:
            heappush(self._waiting, (place, next(self._number), execution))
            self._fill()

    def free(self, execution: Execution) -> None:
        """It has ended, and its slot is the next one's."""
        with self._lock:
            self._note_room()
            self.running.discard(execution)
            self._fill()

    def resize(self, by: int) -> int:
        """Add slots, or take some away; what holds one goes on. Returns how many there are now.

        ValueError if there are not so many.
        """
        with self._lock:
            if self.count + by < 0:
                raise ValueError(f"cannot take {-by} slots from a pool of {self.count}")
            self._note_room()
            self.count += by
            self._fill()
        return self.count

    def lend(self, by: int) -> None:
        """What holds so many slots only waits, and others have them meanwhile; or it goes on, beside what has
        one then.
        """
        with self._lock:
            self._note_room()
            self.lent += by
            self._fill()

    def forget_waiting(self) -> None:
        """What has not begun will not: its messages go back to the broker."""
        self._note_room()
        self._waiting.clear()

    def _note_room(self) -> None:
        """There is about to be more room."""
        if not self.room:
            self.roomy_since = time.monotonic()

    def _fill(self) -> None:
        while self._waiting:
            place, _, execution = self._waiting[0]
            if len(self.running) >= self.count + self.lent + (0 if place else self.reserve):
                return
            heappop(self._waiting)
            self.running.add(execution)
            execution.start()
