"""How often a process with thousands of streams looks for garbage."""

import gc
from typing import Final

COLLECTIONS: Final = (50_000, 50, 100)


def collect_rarely() -> None:
    """What was loaded until now stays for good, and what lives long is rarely looked at.

    A full collection walks over all that thousands of streams hold, and each of them waits meanwhile. They
    leave next to no cycles behind: young objects are collected less often, and old ones rarely.
    """
    gc.freeze()
    gc.set_threshold(*COLLECTIONS)
