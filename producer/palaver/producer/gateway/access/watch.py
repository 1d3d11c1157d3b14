"""Streams go on for hours: those who read them may lose their right to meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from palaver.producer.gateway.access.caller import Caller
from palaver.producer.gateway.access.owning import lost_sessions, unknown_session
from palaver.producer.gateway.access.table import FRESH_SECONDS
from palaver.producer.gateway.state import Gateway
from palaver.producer.gateway.stream import ByteStream
from palaver.shared.errors import PalaverError, UnauthorizedError

log = logging.getLogger("palaver.gateway")

_AT_ONCE: Final = 200
"""Sessions that are asked for in one go: other streams do not wait for more."""


def begin(gateway: Gateway) -> asyncio.Task[None]:
    """Watch over the gateway's streams until the task is cancelled."""
    task = asyncio.create_task(watch(gateway), name="palaver-watch")
    task.add_done_callback(_tell_crash)
    return task


def _tell_crash(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        log.critical("streams_are_watched_no_more", exc_info=task.exception())


async def watch(gateway: Gateway) -> None:
    """End, every few seconds and for ever, the streams of keys that were revoked, and those of sessions that
    were erased or are another's by now. (That a key or a token ends, its streams know.)
    """
    while True:
        await asyncio.sleep(FRESH_SECONDS)
        try:
            await look(gateway)
        except PalaverError as error:  # without the ledger nobody is told anything either
            log.warning("streams_not_looked_at code=%s", error.code)


async def look(gateway: Gateway) -> None:
    """Once."""
    streams = list(gateway.streams)
    for stream in streams:
        if not await _may_ask(gateway, stream.caller):
            stream.end(UnauthorizedError())
    for start in range(0, len(streams), _AT_ONCE):
        await _end_lost(gateway, streams[start : start + _AT_ONCE])


async def _may_ask(gateway: Gateway, caller: Caller) -> bool:
    if caller.key is not None:
        return await gateway.keys.still_takes(caller.key)
    return caller.reads is not None or await gateway.keys.is_open()


async def _end_lost(gateway: Gateway, streams: Sequence[ByteStream]) -> None:
    lost = await lost_sessions(gateway, [(stream.caller, stream.session_id) for stream in streams])
    for stream, is_lost in zip(streams, lost, strict=True):
        if is_lost:
            stream.end(unknown_session(stream.session_id))
