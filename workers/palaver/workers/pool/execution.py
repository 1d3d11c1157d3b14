"""One task in the pool: on the loop when its body is a coroutine, else in a thread.

Three clocks may end it early, and Celery's operator: each says so by a `Stop`, and the first one counts.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Final

from billiard.einfo import ExceptionInfo
from celery.exceptions import SoftTimeLimitExceeded, WorkerLostError

from palaver.workers.frames import forget_frames
from palaver.workers.loop import LoopThread
from palaver.workers.pool.direct import Driven
from palaver.workers.pool.threads import Threads
from palaver.workers.pool.tracer import Tracer

__all__ = ["CoroutineExecution", "DirectExecution", "Execution", "Order", "Stop", "ThreadExecution"]


class Stop(Enum):
    """Why an execution was ended from outside."""

    HARD_LIMIT = "hard limit"
    TERMINATED = "terminated"
    HANDED_BACK = "handed back"


@dataclass(slots=True, kw_only=True)
class Order:
    """What Celery asks a pool to run, once, and whom to tell."""

    run: Callable[[], Any]
    callback: Callable[[Any], object]
    error_callback: Callable[[ExceptionInfo], object] | None = None
    accept_callback: Callable[[int, float], object] | None = None
    timeout_callback: Callable[[bool, float], object] | None = None
    soft_timeout: float | None = None  # seconds
    timeout: float | None = None  # seconds

    def begin(self) -> Any:
        """Run it. What it was given is not kept for as long as that lasts."""
        run, self.run = self.run, _nothing
        return run()


class Execution(ABC):
    """An order that is being carried out. Celery holds it weakly and calls `terminate`.

    `post` brings a call to Celery's thread; `on_end` is called there, once, when the work has really stopped.
    """

    def __init__(
        self,
        order: Order,
        *,
        loop: LoopThread,
        post: Callable[[Callable[[], object]], None],
        on_end: Callable[[Execution], None],
        hands_back: bool,
        is_only_copy: bool,
    ) -> None:
        self.order = order
        self.stop: Stop | None = None
        self.is_only_copy = is_only_copy  # what is not done here nobody does
        self._loop = loop
        self._post = post
        self._on_end = on_end
        self._hands_back = hands_back
        self._timers: list[asyncio.TimerHandle] = []
        self.ended = False  # the body is through; Celery may not know yet
        # reentrant: a signal handler may stop this execution while its own thread is in here
        self._verdict = threading.RLock()

    # In Celery's thread

    def start(self) -> None:
        """Tell Celery that the task begins, and begin it."""
        if self.order.accept_callback is not None:
            # may terminate this execution at once, if the task was revoked while it waited for a slot
            self.order.accept_callback(os.getpid(), time.monotonic())
        if self.stop is None:
            if self.order.soft_timeout or self.order.timeout:
                self._loop.call(self._arm)
            self._begin()
        else:
            self._settle(None, _Ended())

    def terminate(self, signal: object = None) -> None:
        """End it for good; Celery has told everybody already. The signal's number says nothing here."""
        self._stop(Stop.TERMINATED)

    def hand_back(self) -> None:
        """End it without an answer, so that its message goes back to the queue, if it is still there to go
        back.
        """
        if self._hands_back:
            self._stop(Stop.HANDED_BACK)

    def _end(self, answer: Any, error: BaseException | None) -> None:
        """The work has stopped: give the slot back, and tell Celery how it went, if it does not know."""
        try:
            self._tell(answer, error)
        finally:
            self._on_end(self)

    def _tell(self, answer: Any, error: BaseException | None) -> None:
        """What Celery was told of a limit or a revoke stands; nothing is told twice."""
        if self.stop in (Stop.HARD_LIMIT, Stop.TERMINATED) or isinstance(error, _Ended):
            return
        if error is None:
            self.order.callback(answer)
        elif self.order.error_callback is not None:
            self.order.error_callback(_einfo(error))

    # On the loop

    def _arm(self) -> None:
        order = self.order
        if order.soft_timeout and not self.ended:
            self._timers.append(self._loop.loop.call_later(order.soft_timeout, self._soft_limit))
        if order.timeout and not self.ended:
            self._timers.append(self._loop.loop.call_later(order.timeout, self._hard_limit))

    def _disarm(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def _soft_limit(self) -> None:
        if self.stop is None and not self.ended:
            self._tell_limit(True, self.order.soft_timeout)
            self._interrupt_softly()

    def _hard_limit(self) -> None:
        if self._stop(Stop.HARD_LIMIT):
            self._tell_limit(False, self.order.timeout)

    def _tell_limit(self, soft: bool, seconds: float | None) -> None:
        if self.order.timeout_callback is not None and seconds is not None:
            self._post(partial(self.order.timeout_callback, soft, seconds))

    # From any thread

    def _stop(self, reason: Stop) -> bool:
        """Interrupt the body; False if it was through already, or was ended for another reason."""
        with self._verdict:
            if self.ended:
                return False
            first = self.stop is None
            if first:
                self.stop = reason
        self._interrupt()
        return first

    def _settle(self, answer: Any, error: BaseException | None) -> None:
        """The body is through, and from here on nothing changes how it went."""
        with self._verdict:
            self.ended = True
        if self._timers:
            self._loop.call(self._disarm)
        self._post(partial(self._end, answer, error))

    @abstractmethod
    def _begin(self) -> None: ...

    @abstractmethod
    def _interrupt(self) -> None: ...

    @abstractmethod
    def _interrupt_softly(self) -> None: ...


class CoroutineExecution(Execution):
    """Runs Celery's tracer in a greenlet on the loop."""

    _task: asyncio.Task[Any] | None = None
    _soft_due = False

    def _begin(self) -> None:
        self._loop.call(self._launch)

    def _launch(self) -> None:
        if self.stop is not None:
            return self._settle(None, _Ended())
        if self._soft_due:
            return self._settle(None, SoftTimeLimitExceeded(self.order.soft_timeout))
        self._task = self._loop.loop.create_task(self._main())
        # A callback and not the end of _main: a task cancelled before its first step never enters _main.
        self._task.add_done_callback(self._done)
        return None

    async def _main(self) -> Any:
        try:
            return await self._work()
        except (SystemExit, KeyboardInterrupt) as error:
            # would end the loop, and every other task with it
            raise WorkerLostError(repr(error)) from error

    def _work(self) -> Awaitable[Any]:
        return Tracer(self.order.begin, self._translate)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._task = None
        if not task.cancelled():
            error = task.exception()
            return self._settle(None if error else task.result(), error)
        if self.stop is not None:
            return self._settle(None, _Ended())
        if self._soft_due:  # before its first step: nobody was there to translate it
            return self._settle(None, SoftTimeLimitExceeded(self.order.soft_timeout))
        return self._settle(None, RuntimeError("the task's coroutine was cancelled from within"))

    def _translate(self, error: BaseException) -> BaseException:
        if self._soft_due and isinstance(error, asyncio.CancelledError):
            self._soft_due = False
            if self._task is not None and self.stop is None:
                # not cancelled in the end: what the body awaits from now on must not see a cancellation
                self._task.uncancel()
                return SoftTimeLimitExceeded(self.order.soft_timeout)
        return error

    def _interrupt(self) -> None:
        self._loop.call(self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _interrupt_softly(self) -> None:
        self._soft_due = True
        self._cancel()


class DirectExecution(CoroutineExecution):
    """Runs a coroutine that needs no tracer: the order's `run` makes it."""

    def _work(self) -> Awaitable[Any]:
        return Driven(self.order.begin(), self._translate)


class ThreadExecution(Execution):
    """Runs the tracer in a thread. It ends early as soon as its Python code takes the next step: a thread
    that waits inside C code (a long sleep, a query) notices only after it.
    """

    def __init__(self, order: Order, *, threads: Threads, **shared: Any) -> None:
        super().__init__(order, **shared)
        self._threads = threads
        self._guard = threading.Lock()  # held to raise in the thread, so that it cannot hit its next task
        self._thread: int | None = None
        self._soft_due = False  # before it has begun

    def _begin(self) -> None:
        try:
            self._threads.submit(self._main)
        except RuntimeError as error:  # the system has no thread for it
            self._settle(None, error)

    def _main(self) -> None:
        answer: Any = None
        error: BaseException | None = None
        try:
            try:
                with self._guard:
                    self._thread = threading.get_ident()
                if self.stop is not None:
                    raise _Ended
                if self._soft_due:
                    raise SoftTimeLimitExceeded(self.order.soft_timeout)
                answer = self.order.begin()
            finally:
                with self._guard:
                    _raise_in(self._thread, None)
                    self._thread = None
        except _Ended as stopped:
            error = stopped
        except Exception as failure:  # noqa: BLE001 - the tracer's own way to say "rejected" or "broken"
            error = failure
        except BaseException as fatal:  # noqa: BLE001 - SystemExit in a body ends that task, not the thread
            error = WorkerLostError(repr(fatal))
        self._settle(answer, error)
        del error  # it knows this frame

    def _interrupt(self) -> None:
        with self._guard:
            _raise_in(self._thread, _Ended)

    def _interrupt_softly(self) -> None:
        with self._guard:
            self._soft_due = self._thread is None
            _raise_in(self._thread, SoftTimeLimitExceeded)


class _Ended(BaseException):
    """The body was stopped from outside."""


_set_async_exception: Final = ctypes.pythonapi.PyThreadState_SetAsyncExc


def _raise_in(thread: int | None, kind: type[BaseException] | None) -> None:
    """Raise an exception in another thread, or take back one that was not raised yet."""
    if thread is not None:
        target = ctypes.py_object(kind) if kind is not None else None
        _set_async_exception(ctypes.c_ulong(thread), target)


def _nothing() -> None:
    """What is left to run of an order that has begun."""


def _einfo(error: BaseException) -> ExceptionInfo:
    try:
        raise error  # Celery wants a traceback, also of an error that was never raised
    except BaseException:  # noqa: BLE001 - only described
        return ExceptionInfo()
    finally:
        forget_frames(error)  # Celery has a copy of them
