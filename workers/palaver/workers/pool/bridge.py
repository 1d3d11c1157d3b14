"""Makes the tasks of a Celery app runnable here: bodies that are coroutines, and results that go to a
backend.
"""

import asyncio
import functools
import inspect
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, Final, TypeVar

from celery import Celery
from celery.backends.base import Backend, DisabledBackend

from palaver.workers.pool.threads import Threads
from palaver.workers.pool.tracer import in_tracer, wait_for

__all__ = ["bridge", "is_async"]

T = TypeVar("T")

WRITERS: Final = 4  # threads

CLEANUP: Final = "process_cleanup"
WRITES: Final = frozenset({"store_result", "mark_as_done", "mark_as_failure", "mark_as_retry", CLEANUP})
"""What the tracer calls on a result backend. Of Celery's own none has anything to clean up."""


def is_async(task: Any) -> bool:
    """Whether the task's body is a coroutine function, below whatever decorators wrapped it."""
    return inspect.iscoroutinefunction(inspect.unwrap(_body(task)))


def bridge(app: Celery) -> None:
    """Prepare the app's coroutine tasks, once: their body waits inside a tracer, their results leave the
    loop alone.
    """
    # What keeps no result waits for no backend that hangs under the results of others.
    writers = {ignores: _Writers() for ignores in (False, True)}
    tasks: list[Any] = list(app.tasks.values())
    for task in tasks:
        if not is_async(task) or getattr(task, "_palaver_bridged", False):
            continue
        # `autoretry_for` keeps the body here and wraps it in a plain function, which must see the exceptions
        setattr(task, "_orig_run" if hasattr(task, "_orig_run") else "run", _waiting(_body(task)))
        if not isinstance(task.backend, DisabledBackend):
            task.backend = _OffLoop(task, writers[bool(task.ignore_result)])
        task._palaver_bridged = True  # noqa: SLF001 - our own mark on a foreign object


def _body(task: Any) -> Callable[..., Any]:
    body: Callable[..., Any] = getattr(task, "_orig_run", task.run)
    return body


def _waiting(body: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(body)
    def run(*args: Any, **kwargs: Any) -> Any:
        result = body(*args, **kwargs)
        # called by another coroutine, and not by Celery, it stays what it was
        return wait_for(result) if inspect.iscoroutine(result) and in_tracer() else result

    return run


class _Writers(Executor):
    """A few threads, for which Python does not wait at its end."""

    def __init__(self) -> None:
        self._threads = Threads("palaver-results", most=WRITERS)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future = Future[T]()
        self._threads.submit(functools.partial(_settle, future, functools.partial(fn, *args, **kwargs)))
        return future


def _settle(future: Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(call())
    except BaseException as error:  # noqa: BLE001 - it is that of who waits
        future.set_exception(error)
        del future, call  # it knows this frame


class _OffLoop:
    """A result backend whose writes happen in a thread while the tracer waits: a slow or absent backend
    must not stop the other streams of the loop.
    """

    def __init__(self, task: Any, writers: Executor) -> None:
        # Celery keeps a backend for each thread, so a task without its own asks for the writing thread's
        own, usual = task.backend, task.app.backend
        self._cleans_up = getattr(type(own), CLEANUP, None) is not getattr(Backend, CLEANUP)
        self._find: Callable[[], Any] = lambda: task.app.backend if own is usual else own
        self._writers = writers

    def __getattr__(self, name: str) -> Any:
        if name == CLEANUP and not self._cleans_up:
            return _nothing  # for that a backend of this thread would be made, which may connect at once
        if name not in WRITES or not in_tracer():
            return getattr(self._find(), name)

        def write(*args: Any, **kwargs: Any) -> Any:
            call = functools.partial(self._write, name, args, kwargs)
            return wait_for(_awaited(asyncio.get_running_loop().run_in_executor(self._writers, call)))

        return write

    def _write(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return getattr(self._find(), name)(*args, **kwargs)


def _nothing() -> None:
    """What most backends clean up."""


async def _awaited(future: asyncio.Future[Any]) -> Any:
    return await future
