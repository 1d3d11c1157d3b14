"""Tasks that run on the loop as the coroutines that they are, without Celery's tracer around them.

The tracer costs a greenlet for as long as the body runs (see `tracer.py`), which is a fifth of what a live
stream holds. A task with `direct = True` does without it: Celery's controls, events and task signals are as
for any other, but its body has `current_request` instead of `self.request`, and there is no result backend,
`retry()`, link or chord, and no line of log when it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

from billiard.einfo import ExceptionInfo
from celery import signals, states
from kombu.serialization import loads

from palaver.workers.frames import forget_frames

__all__ = ["Driven", "current_request", "run_direct"]

T = TypeVar("T")

current_request: ContextVar[Mapping[str, Any]] = ContextVar("current_request")
"""What Celery knows of the task whose body asks: `id`, `delivery_info` and so on."""


async def run_direct(
    task: Any, task_id: str, request: dict[str, Any], body: Any, content_type: str, encoding: str
) -> tuple[int, Any, float]:
    """Run a task's body; the arguments are those of Celery's tracer, the task in the place of its name.

    Returns what the tracer would: 1 and the `ExceptionInfo` of a failure, or 0 and the result as text, and
    the seconds that it took.
    """
    if content_type:
        body = loads(body, content_type, encoding, accept={content_type})
    args, kwargs = body[:2]
    del body  # what comes with them would be kept for as long as the task runs
    current_request.set(request)
    began = time.monotonic()
    signals.task_prerun.send(sender=task, task=task, task_id=task_id, args=args, kwargs=kwargs)
    # What is cancelled is neither done nor has it failed: its worker leaves, or an operator has revoked it.
    state, retval, answer = states.REVOKED, None, (0, None)  # type: tuple[str, Any, tuple[int, Any]]
    try:
        retval = await task.run(*args, **kwargs)
        state, answer = states.SUCCESS, (0, repr(retval))
        signals.task_success.send(sender=task, result=retval)
    except Exception as error:  # noqa: BLE001 - what a task raises is its result
        info = ExceptionInfo()
        info.exception = error  # and not what billiard wraps around it for another process
        state, retval, answer = states.FAILURE, error, (1, info)
        # In no variable: it has the traceback, which has this frame.
        signals.task_failure.send(
            sender=task, task_id=task_id, args=args, kwargs=kwargs, **_raised(error, info)
        )
    finally:
        ended: dict[str, Any] = {"retval": retval, "state": state}
        signals.task_postrun.send(sender=task, task=task, task_id=task_id, args=args, kwargs=kwargs, **ended)
    if state == states.FAILURE:
        forget_frames(retval)  # this one is among them; who asks later has what `info` says
    return (*answer, time.monotonic() - began)


def _raised(error: Exception, info: ExceptionInfo) -> dict[str, Any]:
    return {"exception": error, "traceback": error.__traceback__, "einfo": info}


class Driven(Generic[T]):
    """Awaitable: a coroutine, into which exceptions are thrown as `translate` says."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, T], translate: Callable[[BaseException], BaseException]
    ) -> None:
        self._coroutine = coroutine
        self._translate = translate

    def __await__(self) -> Generator[Any, Any, T]:
        value, raised = None, None
        try:
            while True:
                try:
                    future = self._coroutine.send(value) if raised is None else self._coroutine.throw(raised)
                except StopIteration as end:
                    result: T = end.value
                    return result
                value, raised = None, None
                try:
                    value = yield future
                except GeneratorExit:
                    raise
                except BaseException as error:  # noqa: BLE001 - thrown into the coroutine, which decides
                    raised = self._translate(error)
        finally:
            raised = None  # it knows this frame
            self._coroutine.close()
