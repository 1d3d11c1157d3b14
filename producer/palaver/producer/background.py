"""One event loop in a thread of its own, for readers in programs that have none.

All synchronous readers of a process share it. It starts with its first use, belongs to the process that
started it (a forked child makes its own), and is closed at exit.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import math
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from concurrent.futures import CancelledError, Future
from typing import Any, Final, TypeVar

from palaver.producer.heeding import wait_for

T = TypeVar("T")

CLOSING_SECONDS: Final = 2.0


class Background:
    """A running event loop in a daemon thread."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._exiting = False
        self._closers: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._thread = threading.Thread(target=self._main, name="palaver-reader", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run it on the loop and wait for it; what interrupts the waiting cancels it.

        Raises: `TimeoutError` after `timeout` seconds, `KeyboardInterrupt`, and what the coroutine raises. In
        a daemon thread it does not return any more once the process exits.
        """
        try:
            future: Future[T] = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        except RuntimeError:  # the loop is closed
            coroutine.close()
            self._stay()
            raise
        try:
            return _result_of(future, timeout)
        except BaseException:
            future.cancel()
            self._stay()
            raise

    def drain(self, source: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """What it gives, one by one; it is closed with the loop over them."""

        async def step() -> tuple[T] | None:
            try:
                return (await anext(source),)
            except StopAsyncIteration:
                return None

        try:
            while (given := self.run(step())) is not None:
                yield given[0]
        finally:
            self.spawn(source.aclose())

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run it on the loop without waiting; on a loop that has ended it is dropped."""
        if self.pid != os.getpid():
            coroutine.close()
            return
        try:
            asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        except RuntimeError:  # the loop is closed
            coroutine.close()

    def at_close(self, closer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have something awaited before the loop ends."""
        self._closers.append(closer)

    def close(self, *, exiting: bool = False) -> None:
        """End everything that runs on the loop, then the loop and its thread."""
        self._exiting = exiting
        if self.pid != os.getpid() or self.loop.is_closed():
            return
        with contextlib.suppress(TimeoutError, CancelledError):
            self.run(self._wind_down(), CLOSING_SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(CLOSING_SECONDS)

    @property
    def usable(self) -> bool:
        """Whether this thread may still call `run`; one that is not to come back from it may."""
        return self._keeps_this_thread or not self.loop.is_closed()

    @property
    def _keeps_this_thread(self) -> bool:
        return self._exiting and threading.current_thread().daemon

    def _stay(self) -> None:
        # The interpreter stops daemon threads in a moment. An end of its loop would be taken for the job's,
        # an error would be a traceback of a program that is fine.
        if self._keeps_this_thread:
            threading.Event().wait()

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    async def _wind_down(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for closer in self._closers:
            await closer()
        await self.loop.shutdown_asyncgens()


_lock = threading.Lock()
_current: Background | None = None
# A parent's loop lives on in a forked child, never used and never closed: closing it there would change the
# parent's poll set.
_inherited: list[Background] = []


def background() -> Background:
    """The process's loop; started by the first call."""
    global _current
    with _lock:
        if _current is None or not _current.usable:
            _current = Background()
        return _current


def _result_of(future: Future[T], timeout: float | None) -> T:
    """As `future.result`, which may answer an interrupt by a RuntimeError of its lock."""
    done = threading.Lock()
    done.acquire()
    future.add_done_callback(lambda _: done.release())
    if not wait_for(lambda seconds: done.acquire(timeout=seconds), math.inf if timeout is None else timeout):
        raise TimeoutError
    return future.result()


def _after_fork() -> None:
    global _current, _lock
    _lock = threading.Lock()
    if _current is not None:
        _inherited.append(_current)
        _current = None


def _at_exit() -> None:
    if _current is not None:
        _current.close(exiting=True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
