"""Celery's synchronous tracer on an event loop, without a thread.

Celery runs a task inside one long synchronous function, its tracer: signals, request stack, the body, the
result, callbacks. Here that function runs in a greenlet inside an asyncio task. When the body is a
coroutine, the tracer steps it and hands every future that it waits for out to the asyncio task around it;
so the loop goes on, and neither the tracer nor the body notices that they were set aside.

Why this and not a parked thread for each running task: a thousand waiting streams took 84 MB so, and 174 MB
with threads. What makes it sound: Celery keys its request stack by the current greenlet, so `self.request`
is right in the body; `asyncio.current_task()` is the task around it, so timeouts and task groups work; a
cancellation arrives in the body as the same exception. What it does not do: a task that the body *creates*
runs outside the greenlet and sees no Celery request.
"""

import contextvars
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, Generic, TypeVar

from greenlet import GreenletExit, getcurrent, greenlet  # type: ignore[import-untyped]

__all__ = ["Tracer", "in_tracer", "wait_for"]

T = TypeVar("T")
Translate = Callable[[BaseException], BaseException]


class _Greenlet(greenlet):  # type: ignore[misc]
    translate: Translate


class Tracer(Generic[T]):
    """Awaitable: runs a synchronous function that may `wait_for` coroutines, and gives what it returns.

    `translate` sees every exception that is about to be thrown into the waiting coroutine (a cancellation
    above all) and may put another one in its place.
    """

    def __init__(self, function: Callable[[], T], translate: Translate = lambda error: error) -> None:
        self._function = function
        self._translate = translate

    def __await__(self) -> Generator[Any, Any, T]:
        # made here, because its parent is the greenlet that makes it: the loop's own
        inner = _Greenlet(self._function)
        inner.translate = self._translate
        # a greenlet begins with an empty context; a copy, because an entered context has one owner
        inner.gr_context = contextvars.copy_context()
        given = inner.switch()
        while not inner.dead:
            try:
                sent = yield given
            except GeneratorExit:
                # the loop drops this task for good: unwind what it held
                inner.throw(GreenletExit)
                raise
            except BaseException as error:  # noqa: BLE001 - handed on, not handled
                given = inner.throw(error)
            else:
                given = inner.switch(sent)
        result: T = given
        return result


def in_tracer() -> bool:
    """Whether the caller runs inside a tracer, and so may `wait_for`."""
    return isinstance(getcurrent(), _Greenlet)


def wait_for(coroutine: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result; the loop goes on meanwhile. Only inside a tracer."""
    here = getcurrent()
    assert isinstance(here, _Greenlet)  # noqa: S101 - callers ask `in_tracer` first
    assert here.parent is not None  # noqa: S101 - it was made in one
    step: Callable[[], Any] = partial(coroutine.send, None)
    try:
        while True:
            try:
                future = step()
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                step = partial(coroutine.send, here.parent.switch(future))
            except GreenletExit:
                raise
            except BaseException as error:  # noqa: BLE001 - thrown into the coroutine, which decides
                step = partial(coroutine.throw, here.translate(error))
    finally:
        del step  # it may have an error that knows this frame
        coroutine.close()
