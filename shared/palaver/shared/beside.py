"""Work on large documents beside the event loop, whose other tasks go on meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from palaver.shared import collector
from palaver.shared.one_thread import OneThread
from palaver.shared.plain import counted

LARGE_BYTES: Final = 64 * 1024
"""A document of JSON text from here on is read beside the loop."""
_LARGE_VALUES: Final = 2_000
_THREAD: Final = OneThread("palaver-documents")
"""One: what large documents take while they are read is taken once, however many come together."""

whose: Final[ContextVar[str]] = ContextVar("palaver_whose_documents", default="")
"""For whom this task reads documents: who brings many together waits for each before the next, so that others
wait for one of them. Nobody waits for anybody's but the thread's, whose name is empty.
"""
_turns: Final[dict[tuple[asyncio.AbstractEventLoop, str], _Turn]] = {}

T = TypeVar("T")


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    wanted: int = 0


def is_large(document: Any) -> bool:
    """Whether to read it takes longer than others should wait: text by its length, else by its values. A
    model counts as what it holds.
    """
    if isinstance(document, str | bytes):
        return len(document) >= LARGE_BYTES
    return counted(document, _LARGE_VALUES) > _LARGE_VALUES


async def beside(call: Callable[[], T], document: Any) -> T:
    """What the call makes of this document; a large one is left to a thread."""
    return await in_thread(call) if is_large(document) else call()


async def in_thread(call: Callable[[], T]) -> T:
    """The same of a document that is known to be large."""
    async with _turn_of(whose.get()):
        return await _THREAD.run(partial(_settled, call))


@asynccontextmanager
async def _turn_of(name: str) -> AsyncIterator[None]:
    if not name:
        yield
        return
    place = asyncio.get_running_loop(), name
    turn = _turns.setdefault(place, _Turn())
    turn.wanted += 1
    try:
        async with turn.lock:
            yield
    finally:
        turn.wanted -= 1
        if not turn.wanted:
            del _turns[place]


def _settled(call: Callable[[], T]) -> T:
    with collector.settled():
        return call()
