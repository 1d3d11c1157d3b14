"""Python's collector of garbage: when it looks, and at what."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

COLLECTIONS: Final = (50_000, 50, 100)


def collect_rarely() -> None:
    """What was loaded until now stays for good, and what lives long is next to never looked at.

    For a process with thousands of streams: a full collection walks over all that they hold, and each of them
    waits meanwhile. They leave next to no cycles behind: young objects are collected less often, and old ones
    rarely.
    """
    settle()
    gc.set_threshold(*COLLECTIONS)


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


def settle() -> None:
    """Have all that was made so far searched only when everything is: what a large document was made into
    lives on, and a search through it holds the interpreter for a tenth of a second and more.
    """
    if not gc.get_freeze_count():  # else the program keeps things out of all searches, which this would end
        gc.freeze()
        gc.unfreeze()  # into the oldest generation, without a look at any of it
