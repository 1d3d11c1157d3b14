"""Python's collector of garbage, while much is made that is none."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
