"""A thread for what is done one after the other, as an event loop asks for it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["OneThread"]

T = TypeVar("T")


class OneThread:
    """It starts with its first call. A forked child has one of its own: its parent's is not there. Loops of
    several threads may ask, and close it.
    """

    _pool: ThreadPoolExecutor

    def __init__(self, name: str) -> None:
        self._name = name
        self._begin()

    async def run(self, call: Callable[[], T]) -> T:
        """What the call returns; it comes after those that were asked for before."""
        self._be_here()
        with self._lock:
            running = asyncio.get_running_loop().run_in_executor(self._pool, call)
        return await running

    def close(self) -> None:
        """Let it end after what was asked for; the next call starts another one."""
        self._be_here()
        with self._lock:
            ended, self._pool = self._pool, self._new_pool()
        ended.shutdown(wait=False)

    def _be_here(self) -> None:
        if self._pid != os.getpid():
            self._begin()

    def _begin(self) -> None:
        self._lock, self._pool = threading.Lock(), self._new_pool()
        self._pid = os.getpid()  # last: another thread that sees it takes the others

    def _new_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, self._name)
