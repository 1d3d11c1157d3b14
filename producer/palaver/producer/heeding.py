"""Waiting so that a signal is heard.

Python runs what a signal is to do between two steps of the main thread, and a signal ends what that thread
waits for. One that comes behind the last step and before the wait does neither, nor does one that the system
gives to another thread: it would be heard when the wait is over. So the main thread waits in pieces.
"""

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final, TypeVar

__all__ = ["next_of", "wait_for"]

T = TypeVar("T")

HEED_SECONDS: Final = 0.5
"""After so long a signal is heard at the latest."""


def wait_for(come: Callable[[float], bool], seconds: float = math.inf) -> bool:
    """Whether something comes within `seconds`: `come` waits so long for it, and says whether it is there.

    Raises what a signal's handler raises, as `KeyboardInterrupt`.
    """
    in_main = threading.current_thread() is threading.main_thread()
    longest = HEED_SECONDS if in_main else threading.TIMEOUT_MAX
    end = time.monotonic() + seconds
    while not come(min(max(left := end - time.monotonic(), 0), longest)):
        if left <= longest:
            return False
    return True


def next_of(queue: SimpleQueue[T]) -> T:
    """The queue's next item, as soon as there is one.

    A handler of a signal may put it there: no other queue can bear that while somebody waits, and no Event.
    """
    while True:
        with suppress(Empty):
            return queue.get(timeout=HEED_SECONDS)
