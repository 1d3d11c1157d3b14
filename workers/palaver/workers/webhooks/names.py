"""The names of receivers, looked up in threads of their own: those of the event loop are for the names of
providers, for files and for tools.

A lookup cannot be stopped. Who no longer waits for a slow name server leaves a thread to it, until the system
gives up as well. So each tenant has a few lookups at once, and its further names wait behind its own.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any, Final
from weakref import WeakValueDictionary

__all__ = ["AT_ONCE", "OF_ONE_TENANT", "Names"]

AT_ONCE: Final = 64
OF_ONE_TENANT: Final = 8


class Names:
    """Looks names up for one event loop."""

    def __init__(self) -> None:
        self._all = asyncio.Semaphore(AT_ONCE)
        self._of_tenants: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def look_up(self, tenant: str, *question: Any) -> list[Any]:
        """As `socket.getaddrinfo`, for the tenant's webhooks."""
        loop = asyncio.get_running_loop()
        of_tenant = self._of_tenants.setdefault(tenant, asyncio.Semaphore(OF_ONE_TENANT))
        with ExitStack() as places:
            for turns in (of_tenant, self._all):
                await turns.acquire()
                places.callback(turns.release)
            lookup = _begun(partial(socket.getaddrinfo, *question))
            # Kept by the thread, not by who waits for it.
            lookup.add_done_callback(partial(_later, loop, places.pop_all().close))
        return await asyncio.wrap_future(lookup)


def _begun(work: Callable[[], Any]) -> Future[Any]:
    """What the work comes to, in a thread that the end of the process does not wait for."""
    future: Future[Any] = Future()
    thread = threading.Thread(target=_do, args=(work, future), name="palaver-webhook-name", daemon=True)
    try:
        thread.start()
    except RuntimeError as problem:  # the system gives no more threads
        future.set_exception(OSError(str(problem)))
    return future


def _do(work: Callable[[], Any], future: Future[Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        found = work()
    except (OSError, ValueError) as problem:  # a name that is none is a ValueError
        future.set_exception(problem)
    else:
        future.set_result(found)


def _later(loop: asyncio.AbstractEventLoop, give_back: Callable[[], None], _lookup: Future[Any]) -> None:
    with suppress(RuntimeError):  # the loop is closed
        loop.call_soon_threadsafe(give_back)
