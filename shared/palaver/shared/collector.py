"""Python's collector of garbage: when it looks, and at what."""

from __future__ import annotations

import atexit
import gc
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

COLLECTIONS: Final = (50_000, 10, 50)
"""New objects until the young are searched, and how often those until older ones are."""
GROWTH: Final = 1.25
"""Everything is searched once a process holds so many times the memory that it had need of."""
BETWEEN: Final = 50
"""Large documents, at least, between two such searches."""
KEPT_BY_PYTHON: Final = 1_000
"""Python 3.12 keeps some 375 objects of its own out of all searches; a program that does so keeps more."""
BELIEVED_SECONDS: Final = 1.0
"""So long a program that keeps things out of all searches is taken to go on with that."""


def collect_rarely() -> None:
    """What was loaded until now, and what lives long, is next to never looked at.

    For a process with thousands of streams: a full collection walks over all that they hold, and each of them
    waits meanwhile. They leave next to no cycles behind: young objects are collected less often, and old ones
    rarely.
    """
    settle()
    gc.set_threshold(*COLLECTIONS)
    end_unsearched()


def end_unsearched() -> None:
    """Have this process end without a search of all that it has loaded: Python makes two, a quarter of what
    it costs to start and end a worker, for what is gone in a moment. For whoever owns the process.
    """
    atexit.register(gc.freeze)


@contextmanager
def paused() -> Iterator[None]:
    """No search for cycles meanwhile, unless somebody else starts one.

    Of 20,000 jobs that are prepared and stored, a third of the CPU went into looking through them again and
    again, and all of them go by their reference counts. What the rest of the program leaves in cycles is
    found afterwards.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def settled() -> Iterator[None]:
    """No search for cycles meanwhile, and what is made lives on; see `settle`."""
    try:
        with paused():
            try:
                yield
            finally:
                settle()
    finally:
        _growth.search()


def settle() -> None:
    """Have all that was made so far searched only when everything is: what a large document was made into
    lives on, and a search through it holds the interpreter for a tenth of a second and more.

    With that Python's count of what is new begins anew, so that it never searches where this is done again
    and again: `settled` looks to it.
    """
    if not _settling.acquire(blocking=False):
        return  # another thread settles all this, which would look here like the program's wish
    try:
        if not _is_frozen():  # else this would end what the program wants
            gc.freeze()
            gc.unfreeze()  # into the oldest generation, without a look at any of it
    finally:
        _settling.release()


class _Growth:
    """Has everything searched when the process has grown. If less was found than documents were settled, it
    had need of what it held, and has no search again for as much.
    """

    def __init__(self) -> None:
        self._needed = 0
        self._settled = 0  # since the last search

    def search(self) -> None:
        """One more is settled: search, if that is due. Not for who wants no searches, or keeps things out."""
        self._settled += 1
        held = _held()
        self._needed = self._needed or held
        due = self._settled >= BETWEEN and held > self._needed * GROWTH
        if due and gc.isenabled() and not _settling.locked() and not _is_frozen():
            if gc.collect() < self._settled:
                self._needed = held
            self._settled = 0


_growth: Final = _Growth()


class _Frozen:
    """Whether the program keeps things out of all searches. Python counts them one by one, a million in some
    10 ms: who has kept something out is asked again only after a while.
    """

    def __init__(self) -> None:
        self._believed_until = 0.0  # monotonic seconds

    def __call__(self) -> bool:
        now = time.monotonic()
        if now >= self._believed_until and gc.get_freeze_count() > KEPT_BY_PYTHON:
            self._believed_until = now + BELIEVED_SECONDS
        return now < self._believed_until


_is_frozen: Final = _Frozen()
_settling: Final = threading.Lock()


def _held() -> int:
    """How much memory the process has: pages, or, where the system does not say, pieces."""
    try:
        with open("/proc/self/statm", "rb") as told:
            return int(told.read().split()[1])
    except OSError:
        return sys.getallocatedblocks()
