"""Streams go on for hours: those who read them may lose their right to meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from typing import Final

from palaver.producer.gateway.access.caller import Caller
from palaver.producer.gateway.access.owning import lost_sessions
from palaver.producer.gateway.access.table import FRESH_SECONDS
from palaver.producer.gateway.state import Gateway
from palaver.producer.gateway.stream import ByteStream
from palaver.shared.errors import PalaverError, UnauthorizedError
from palaver.shared.frames import frames
from palaver.shared.sessions import unknown_session

log = logging.getLogger("palaver.gateway")

_AT_ONCE: Final = 200
"""Sessions that are asked for in one go: other streams do not wait for more."""


async def watch(gateway: Gateway) -> None:
    """End, every few seconds and for ever, the streams of keys that were revoked, and those of sessions that
    were erased or are another's by now. (That a key or a token ends, its streams know.)
    """
    while True:
        await asyncio.sleep(FRESH_SECONDS)
        await look(gateway)


async def look(gateway: Gateway) -> None:
    """Once. What fails for some streams is told, and keeps it from no others."""
    streams = list(gateway.streams)
    await _try(gateway, _end_revoked(gateway, streams))
    of_sessions = [stream for stream in streams if stream.session_id is not None]
    for start in range(0, len(of_sessions), _AT_ONCE):
        await _try(gateway, _end_lost(gateway, of_sessions[start : start + _AT_ONCE]))


async def _try(gateway: Gateway, looking: Awaitable[None]) -> None:
    try:
        await looking
        return
    except PalaverError as error:  # without the ledger nobody is told anything either
        log.warning("streams_not_looked_at code=%s", error.code)
    except Exception as error:  # noqa: BLE001 - whatever it is: who watches goes on
        log.error("streams_not_looked_at error=%s\n%s", type(error).__name__, frames(error))
    gateway.counts.add_unwatched()


async def _end_revoked(gateway: Gateway, streams: Sequence[ByteStream]) -> None:
    await gateway.keys.learn({stream.caller.key.id for stream in streams if stream.caller.key is not None})
    for stream in streams:
        if not await _may_ask(gateway, stream.caller):
            stream.end(UnauthorizedError())


async def _may_ask(gateway: Gateway, caller: Caller) -> bool:
    if caller.key is not None:
        return await gateway.keys.still_takes(caller.key)
    return caller.reads is not None or await gateway.keys.is_open()


async def _end_lost(gateway: Gateway, streams: Sequence[ByteStream]) -> None:
    asked = [(stream.caller, stream.session_id or "") for stream in streams]
    lost = await lost_sessions(gateway, asked)
    for stream, (_, session_id), is_lost in zip(streams, asked, lost, strict=True):
        if is_lost:
            stream.end(unknown_session(session_id))
