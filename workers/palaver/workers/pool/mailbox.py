"""Calls from the loop and its threads to the one thread that owns Celery's state.

Celery's callbacks acknowledge messages and send events over the broker's connection, and no AMQP connection
may be used by two threads; a stream loop must not wait for a broker either. So every callback is posted
here and runs in Celery's own thread: woken through kombu's hub, or, under a transport without one, in a
thread of the mailbox.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from celery.concurrency import prefork

from palaver.workers.event_log import event_logger
from palaver.workers.frames import frames

__all__ = ["Mailbox"]

logger = event_logger("palaver.workers.pool")

Call = Callable[[], object]

READS = {"_read", "_quick_drain"}  # kombu's and Celery's, of what an AMQP connection brings

# What the prefork pool does while it waits for its last tasks; celery-types does not know it.
run_acknowledgements: Callable[[Any], None] = vars(prefork)["_run_ready_callbacks"]


class Mailbox:
    """A queue of calls and the thread that runs them, in order."""

    def __init__(self) -> None:
        # SimpleQueue, because a signal handler may post while this very thread is inside get()
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._hub: Any = None
        self._thread: threading.Thread | None = None

    def attach(self, hub: Any) -> None:
        """Run calls on kombu's event loop from now on: at each connection to the broker. Those first that it
        forgot with the one before: an error ends its turn, with all that was to be called in it.
        """
        self._hub = hub
        self.forget_reads()
        self.wake()

    def forget_reads(self) -> None:
        """Of a connection that is gone: what kombu reads there would be taken for the loss of the next one,
        or be logged with a traceback as the hub closes.
        """
        if self._hub is None:
            return
        for callback in self._hub._pop_ready():  # noqa: SLF001 - as Celery's own pools do
            if getattr(getattr(callback, "fun", None), "__name__", None) not in READS:
                self._hub.call_soon(callback)

    def start_thread(self) -> None:
        """Run calls in a thread of our own: this broker transport has no event loop."""
        self._thread = threading.Thread(target=self._serve, name="palaver-mailbox", daemon=True)
        self._thread.start()

    def post(self, call: Call) -> None:
        """Have Celery's thread run this soon. From any thread."""
        self._calls.put(call)
        self.wake()

    def wake(self) -> None:
        if self._hub is not None:
            self._hub.call_soon(self.run_posted)

    def run_posted(self) -> None:
        """Run what has been posted. Only in the thread that owns Celery's state."""
        with suppress(Empty):
            while True:
                _run(self._calls.get_nowait())

    def pump(self, seconds: float) -> None:
        """Wait up to so long for a call, run it, and what else is due in a worker that is stopping.

        Nothing turns the hub any more then, so acknowledgements and heartbeats would wait for the last task.
        """
        with suppress(Empty):
            _run(self._calls.get(timeout=max(seconds, 0.001)))
            self.run_posted()
        if self._hub is not None:
            run_acknowledgements(self._hub)
            self._hub.fire_timers()

    def take_over(self) -> None:
        """End the thread: the caller will `pump` from now on."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._calls.put(None)
            self._thread.join()
        self._thread = None

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            _run(call)


def _run(call: Call | None) -> None:
    if call is None:
        return
    began = time.monotonic()
    try:
        call()
    except Exception as error:  # noqa: BLE001 - a user's app's signal handler, or its backend
        # A faulty one must not take the worker's other streams down; its text may quote what it was given.
        facts = {"error": type(error).__name__, "seconds": time.monotonic() - began}
        logger.error(f"pool.callback_failed\n{frames(error)}", **facts)
