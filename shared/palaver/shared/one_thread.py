"""A thread for what is done one after the other, as an event loop asks for it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["OneThread"]

T = TypeVar("T")


class OneThread:
    """It starts with its first call. A forked child has one of its own: its parent's is not there."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._begin()

    async def run(self, call: Callable[[], T]) -> T:
        """What the call returns; it comes after those that were asked for before."""
        if self._pid != os.getpid():
            self._begin()
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Let it end after what was asked for; the next call starts another one."""
        self._pool.shutdown(wait=False)
        self._begin()

    def _begin(self) -> None:
        self._pool, self._pid = ThreadPoolExecutor(1, self._name), os.getpid()
