"""Threads for plain functions, and for what is written to result backends. Python's own executors have it
wait at its end for all that runs in theirs; a function that waits in C, which nothing can stop, would hold a
process that was told to end at once.
"""

import math
import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["Threads"]


class Threads:
    """As many as are needed at once, or `most`, and kept for what comes next. They end with the process."""

    def __init__(self, name: str, most: float = math.inf) -> None:
        self._name = name
        self._left = most  # threads that there may be yet
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)

    def submit(self, call: Callable[[], object]) -> None:
        """Run it in a thread, at once or as soon as there is one. It must not raise. From one thread.

        Raises RuntimeError if the system has no thread for it; then it is not run later either.
        """
        if not self._idle.acquire(blocking=False) and self._left:
            threading.Thread(target=self._serve, name=self._name, daemon=True).start()
            self._left -= 1
        self._calls.put(call)

    def close(self) -> None:
        """Let each thread end after what it runs."""
        self._calls.put(None)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # nothing of it is kept while there is nothing to do
            self._idle.release()
        self._calls.put(None)  # for the next one
