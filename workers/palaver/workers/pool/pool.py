"""A Celery worker pool around one event loop.

`worker_pool = "palaver.workers.pool:AsyncPool"`. Coroutine tasks run on the loop, hundreds or thousands at
once; the plain functions among a user's tasks run in threads beside it. Everything here that touches
Celery's state happens in Celery's own thread: it starts executions, and their ends come back to it through
the mailbox.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

from celery import signals
from celery.concurrency.base import BasePool
from celery.platforms import EX_FAILURE, EX_OK
from celery.utils import log as celery_log
from celery.worker import state

from palaver.shared.collector import collect_rarely
from palaver.shared.names import QUEUES
from palaver.workers.event_log import event_logger
from palaver.workers.loop import LoopThread
from palaver.workers.pool.bridge import bridge, is_async
from palaver.workers.pool.direct import run_direct
from palaver.workers.pool.execution import (
    CoroutineExecution,
    DirectExecution,
    Execution,
    Order,
    ThreadExecution,
)
from palaver.workers.pool.leaving import Leaving, bound_restarts
from palaver.workers.pool.mailbox import Mailbox
from palaver.workers.pool.queues import own_queue
from palaver.workers.pool.residents import Resident, Residents
from palaver.workers.pool.slots import Slots
from palaver.workers.pool.threads import Threads

__all__ = ["AsyncPool"]

logger = event_logger("palaver.workers.pool")

T = TypeVar("T")

COLD_SECONDS: Final = 5.0  # what a cold shutdown gives running tasks to write their end
TICK_SECONDS: Final = 0.5


class AsyncPool(BasePool):
    """See the module. `limit` is the number of slots; `app.conf.palaver_drain_seconds` bounds a warm shutdown
    (None: as long as it takes).
    """

    signal_safe = False
    body_can_be_buffer = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        conf = self.app.conf
        self.slots = Slots(self.limit or 0, conf.get("palaver_resume_slots"))
        self.on_resize: Callable[[int], object] = lambda _: None
        self._places = {own_queue(self.app, queue): place for place, queue in enumerate(QUEUES)}
        self._mailbox = Mailbox()
        self._loop = LoopThread(self._loop_lost)
        self._residents = Residents(self._loop)
        # the hub may sleep for a second yet; only the loop's thread may wake it from inside a signal handler
        drain_seconds = conf.get("palaver_drain_seconds")
        self._leaving = Leaving(drain_seconds, self._loop.call, self._told_to_leave, self._is_needed)
        self._threads = Threads("palaver-task")
        self._async: dict[str, bool] = {}
        self._stopped = False
        self._terminated = False

    # Life

    def on_start(self) -> None:
        bridge(self.app)
        collect_rarely()
        self._loop.start()
        self._loop.begin(self._hand_over_in_time())
        self._leaving.guard()
        bound_restarts(self._leaving)
        if self.options.get("threads"):
            self._mailbox.start_thread()
        # Celery sends this one inside its signal handlers, under a lock that a second signal may find held
        # by the first in the very same thread: with Celery's own lock the worker would hang for ever.
        signals.worker_shutting_down.lock = threading.RLock()  # type: ignore[attr-defined]
        signals.worker_shutting_down.connect(self._leaving.told)
        signals.worker_ready.connect(self._ready)

    def register_with_event_loop(self, hub: Any) -> None:
        """Called at each connection to the broker, always with the same hub."""
        self._mailbox.attach(hub)

    def add_resident(self, resident: Resident) -> None:
        """Start a resident on the loop. Raises what its `start` raises."""
        self._residents.add(resident)

    def run(self, coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Run a coroutine on the pool's loop and wait for it. From another thread."""
        return self._loop.run(coroutine, timeout)

    def leave(self) -> None:
        """Have the worker leave, as SIGTERM does. On the loop."""
        state.should_stop = EX_OK  # type: ignore[assignment]
        self._leaving.leave()

    def _told_to_leave(self) -> None:
        self._residents.leaving()
        self._mailbox.wake()

    def on_close(self) -> None:
        """Celery leaves, whoever told it: also the command of another process, after which the next step is
        one that a broker may hang in.
        """
        self._leaving.leave()
        self.flush()

    def flush(self) -> None:
        """Forget what has not begun: its messages have gone back, or will, with their connection."""
        self.slots.forget_waiting()

    def on_stop(self) -> None:
        """Wait for the running tasks; when the time to drain is over, hand over what can be handed over."""
        # A cold shutdown calls this inside its signal handler, which may have interrupted Celery while it
        # held a lock that the ends of tasks need. It terminates the pool after that anyway.
        if not vars(celery_log)["_in_sighandler"]:
            self._end()

    def on_terminate(self) -> None:
        """Hand over at once, and end the rest."""
        self._terminated = True
        self._end()

    def _end(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._mailbox.take_over()
        self._leaving.begin()
        self._drain()
        self._leaving.drained()
        for execution in list(self.slots.running):
            execution.hand_back()
        # Before the wait: what a resident could not hand over, with Redis away, it now leaves to its lease.
        self._residents.end()
        self._wait()
        self._close()

    def _close(self) -> None:
        signals.worker_shutting_down.disconnect(self._leaving.told)
        signals.worker_ready.disconnect(self._ready)
        self._loop.stop()
        self._threads.close()
        self._mailbox.run_posted()
        self._mailbox.forget_reads()
        self._leaving.ended()
        if self._terminated:  # of the end of that Celery says nothing
            self._leaving.close()
        else:
            signals.worker_shutdown.connect(self._leaving.close)
            receivers = signals.worker_shutdown.receivers
            receivers.insert(0, receivers.pop())  # before those of others, which may take their time

    def _drain(self) -> None:
        """Wait for running tasks. The time is read again in each turn, because a signal may end it."""
        while self._busy and not self._cold:
            left = self._leaving.left
            if left <= 0:
                return
            self._mailbox.pump(min(left, TICK_SECONDS))

    def _wait(self) -> None:
        """Wait for the ends that are left to write; in a cold shutdown not for ever."""
        given_up = math.inf
        while self._busy and time.monotonic() < given_up:
            if self._cold:
                given_up = min(given_up, time.monotonic() + COLD_SECONDS)
            self._mailbox.pump(TICK_SECONDS)

    @property
    def _cold(self) -> bool:
        return self._terminated or state.should_terminate not in (None, False)

    @property
    def _busy(self) -> bool:
        return bool(self.slots.running) and self._loop.alive

    def _is_needed(self) -> bool:
        """Whether something runs that nobody else would do. From any thread."""
        return not self._cold and self.slots.hold_only_copies

    async def _hand_over_in_time(self) -> None:
        """Not only when Celery's thread comes to end this pool: a broker that hangs holds it in the steps
        before.
        """
        await self._leaving.overdue()
        await self._residents.left()

    def _ready(self, **_: Any) -> None:
        self._residents.serve()

    def _loop_lost(self) -> None:
        """The loop is gone, and every stream with it."""
        self.fail()

    def fail(self) -> None:
        """Have the process end at once, with an exit code that says why: it cannot do its work any more, and
        must not go on looking healthy. From any thread.
        """
        state.should_stop = EX_FAILURE  # type: ignore[assignment]
        self._leaving.fail()
        self._mailbox.post(lambda: None)

    # Tasks

    def apply_async(
        self, target: Any, args: Any = None, kwargs: Any = None, **options: Any
    ) -> Execution | None:
        """As the base class, without its debug line: that has the message's body in it."""
        return self.on_apply(target, args or (), kwargs or {}, **options)

    def on_apply(  # type: ignore[override]
        self,
        target: Callable[..., Any],
        args: Any = (),
        kwargs: Any = None,
        *,
        callback: Callable[[Any], object] = lambda _: None,
        error_callback: Callable[[Any], object] | None = None,
        accept_callback: Callable[[int, float], object] | None = None,
        timeout_callback: Callable[[bool, float], object] | None = None,
        soft_timeout: float | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> Execution | None:
        """Run `target` as soon as a slot is free; the result is held weakly by Celery's request."""
        if self._stopped:
            return None
        # Celery's tracers have the task's name as their first argument.
        task = self.app.tasks.get(args[0]) if args and isinstance(args[0], str) else None
        direct = getattr(task, "direct", False)
        limits = {
            "soft_timeout": soft_timeout or self.options.get("soft_timeout"),
            "timeout": timeout or self.options.get("timeout"),
        }
        order = Order(
            run=partial(run_direct, task, *args[1:]) if direct else partial(target, *args, **(kwargs or {})),
            callback=callback,
            error_callback=error_callback,
            accept_callback=accept_callback,
            timeout_callback=timeout_callback,
            **(limits if getattr(task, "limited", True) else {}),
        )
        execution = self._execution(order, task)
        self.slots.put(execution, place=self._places.get(_routing_key(args), len(self._places)))
        return execution

    def _execution(self, order: Order, task: Any) -> Execution:
        # A resident's tasks are handed over by the resident; a message that was acknowledged early is gone,
        # which matters unless what it asks for is expendable.
        others = task is None or not getattr(task, "resident", False)
        dispensable = task is not None and (task.acks_late or getattr(task, "expendable", False))
        shared: dict[str, Any] = {
            "loop": self._loop,
            "post": self._mailbox.post,
            "on_end": self.slots.free,
            "hands_back": others and dispensable,
            "is_only_copy": others and not dispensable,
        }
        if getattr(task, "direct", False):
            return DirectExecution(order, **shared)
        if task is not None and self._is_async(task):
            return CoroutineExecution(order, **shared)
        return ThreadExecution(order, threads=self._threads, **shared)

    def _is_async(self, task: Any) -> bool:
        name: str = task.name
        if name not in self._async:
            self._async[name] = is_async(task)
        return self._async[name]

    def terminate_job(self, pid: int, signal: object = None) -> None:
        """Nothing to do: every task here has the same pid, and Celery terminates the execution as well."""

    # Size

    def grow(self, n: int = 1) -> None:
        """Add slots."""
        self._resize(n)

    def shrink(self, n: int = 1) -> None:
        """Take slots away; tasks that hold one go on. ValueError if there are not so many."""
        self._resize(-n)

    def lend(self, by: int) -> None:
        """Run so many tasks more, as others only wait; or less. From any thread."""
        self._mailbox.post(partial(self.slots.lend, by))

    def _resize(self, by: int) -> None:
        self.limit = self.slots.resize(by)  # Celery reads the limit
        self.on_resize(self.slots.count)

    def _get_info(self) -> dict[str, Any]:
        """What `inspect stats` and Flower show as `pool`."""
        return {
            **super()._get_info(),  # type: ignore[misc]
            "running": len(self.slots.running),
            "waiting": self.slots.waiting,
            "reserve": self.slots.reserve,
            "lent": self.slots.lent,
            "processes": [os.getpid()],
            "threads": threading.active_count(),
            "loop": self._loop.kind,
        }


def _routing_key(args: Any) -> Any:
    """The queue that Celery's arguments for its tracer (name, id, request, …) came from."""
    request = args[2] if len(args) > 2 else None
    delivery = request.get("delivery_info") if isinstance(request, dict) else None
    return delivery.get("routing_key") if isinstance(delivery, dict) else None
