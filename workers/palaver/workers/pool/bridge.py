"""Makes the tasks of a Celery app runnable here: bodies that are coroutines, and results that go to a
backend.
"""

import asyncio
import functools
import inspect
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Final

from celery import Celery
from celery.backends.base import DisabledBackend

from palaver.workers.pool.tracer import in_tracer, wait_for

__all__ = ["bridge", "is_async"]

WRITES: Final = ("store_result", "mark_as_done", "mark_as_failure", "mark_as_retry", "process_cleanup")
"""What the tracer calls on a result backend."""


def is_async(task: Any) -> bool:
    """Whether the task's body is a coroutine function, below whatever decorators wrapped it."""
    return inspect.iscoroutinefunction(inspect.unwrap(_body(task)))


def bridge(app: Celery) -> None:
    """Prepare the app's coroutine tasks, once: their body waits inside a tracer, their results leave the
    loop alone.
    """
    writers: Executor | None = None
    tasks: list[Any] = list(app.tasks.values())
    for task in tasks:
        if not is_async(task) or getattr(task, "_palaver_bridged", False):
            continue
        # `autoretry_for` keeps the body here and wraps it in a plain function, which must see the exceptions
        setattr(task, "_orig_run" if hasattr(task, "_orig_run") else "run", _waiting(_body(task)))
        if not isinstance(task.backend, DisabledBackend):
            writers = writers or ThreadPoolExecutor(4, thread_name_prefix="palaver-results")
            task.backend = _OffLoop(task, writers)
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


class _OffLoop:
    """A result backend whose writes happen in a thread while the tracer waits: a slow or absent backend
    must not stop the other streams of the loop.
    """

    def __init__(self, task: Any, writers: Executor) -> None:
        # Celery keeps a backend for each thread, so a task without its own asks for the writing thread's
        own, usual = task.backend, task.app.backend
        self._find: Callable[[], Any] = lambda: task.app.backend if own is usual else own
        self._writers = writers

    def __getattr__(self, name: str) -> Any:
        if name not in WRITES or not in_tracer():
            return getattr(self._find(), name)

        def write(*args: Any, **kwargs: Any) -> Any:
            call = functools.partial(self._write, name, args, kwargs)
            return wait_for(_awaited(asyncio.get_running_loop().run_in_executor(self._writers, call)))

        return write

    def _write(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return getattr(self._find(), name)(*args, **kwargs)


async def _awaited(future: asyncio.Future[Any]) -> Any:
    return await future
