"""Code that is not ours runs here, never on the loop of the streams: coroutines on a loop of their own, plain
functions in threads of their own.

Who waits may be cancelled at any moment, and then waits no longer. The coroutine is cancelled too; a thread
cannot be, and goes on alone.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from palaver.workers.event_log import event_logger
from palaver.workers.loop import LoopThread

__all__ = ["Escaped", "UserCode", "contained"]

logger = event_logger("palaver.workers.tools")

T = TypeVar("T")

CLOSE_SECONDS = 1.0  # for coroutines that were cancelled to end


class Escaped(Exception):  # noqa: N818 - it says what has escaped from user code
    """User code raised what is meant for the interpreter or a loop, such as SystemExit: no loop may see
    that. `kind` is its class; the lines of code that it has passed are this error's own.
    """

    def __init__(self, error: BaseException) -> None:
        self.kind = type(error).__name__
        super().__init__(self.kind)
        self.with_traceback(error.__traceback__)


class UserCode:
    """Runs user code for the stream loop on which it is used. At most `threads` plain functions run at
    once, those that nobody waits for any more among them; further ones wait for their turn. The loop
    and the threads are named after `name`.
    """

    def __init__(self, threads: int, name: str = "tool") -> None:
        self._name = f"palaver-{name}"
        self._free = asyncio.Semaphore(threads)
        self._loop: LoopThread | None = None

    async def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """What the function returns, or its coroutine; raises what it raises, or Escaped."""
        if inspect.iscoroutinefunction(function):
            return await self._on_loop(function, *args)
        return await self._in_thread(function, *args)

    async def aclose(self) -> None:
        """Cancel the coroutines that still run."""
        if self._loop is not None:
            await asyncio.to_thread(self._loop.stop, CLOSE_SECONDS)

    async def _on_loop(self, function: Callable[..., Any], *args: Any) -> Any:
        if self._loop is None or not self._loop.alive:
            self._loop = LoopThread(_lost, name=f"{self._name}s")
            self._loop.start()
        future = asyncio.run_coroutine_threadsafe(contained(function, *args), self._loop.loop)
        return await asyncio.wrap_future(future)

    async def _in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        await self._free.acquire()
        loop, future = asyncio.get_running_loop(), Future[Any]()
        call = partial(contextvars.copy_context().run, function, *args)

        def ended() -> None:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(self._free.release)

        # A daemon: a worker that ends does not wait for a function that never returns, as an executor would.
        thread = threading.Thread(target=_work, args=(call, future, ended), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more
            ended()
            raise
        return await asyncio.wrap_future(future)


async def contained(function: Callable[..., Awaitable[T]], *args: Any) -> T:
    """What a coroutine function returns; raises what it raises, or Escaped. A cancellation that nobody asked
    for is one of something that it has awaited.
    """
    try:
        return await function(*args)
    except Exception:
        raise
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError) and _is_cancelled():
            raise
        raise Escaped(error) from None


def _is_cancelled() -> bool:
    """Whether somebody asked for it. The task knows the lines that its error has passed: none of them may
    know the task.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _work(call: Callable[[], Any], future: Future[Any], ended: Callable[[], None]) -> None:
    """The whole life of a thread."""
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - whatever it raises is its result
        awaitable = isinstance(error, Exception) and not isinstance(error, StopIteration)
        outcome = partial(future.set_exception, error if awaitable else Escaped(error))
    else:
        outcome = partial(future.set_result, result)
    with suppress(InvalidStateError):  # cancelled: nobody waits any more
        outcome()
    del outcome  # it may have an error that knows this frame
    ended()


def _lost() -> None:
    logger.critical("tools.loop_lost")
