"""The sink for Pusher Channels, and for servers that speak its protocol."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import ClassVar

import orjson

from palaver.shared.errors import PalaverError, error_for_status
from palaver.shared.events import AnyEvent
from palaver.shared.jobs import Timeouts
from palaver.workers.http import HttpClient, HttpRequest
from palaver.workers.sinks.base import Sink
from palaver.workers.sinks.pusher_events import KINDS, batches, messages_of, signed_query
from palaver.workers.sinks.pusher_settings import PusherSettings

__all__ = ["PusherSink"]

CONNECTIONS = 32
PAUSES = (0.2, 1.0)  # seconds before a request is sent again, after one that may have been bad luck
_TIMEOUTS = Timeouts(connect=5.0, read=10.0, total=15.0)
_ANSWER = 64 * 1024  # bytes of an answer, of which only the status counts


class PusherSink(Sink):
    """Tells starts, text, widgets and ends to the channel `conversation-session-ID`."""

    kinds: ClassVar[frozenset[str] | None] = KINDS

    def __init__(self, settings: PusherSettings) -> None:
        self._settings = settings
        self._path = f"/apps/{settings.app_id}/batch_events"
        self._http = HttpClient(max_connections=CONNECTIONS)
        # jobs, those among them that other workers have taken over
        self._streaming: dict[str, None] = {}

    async def publish(self, session_id: str, events: Sequence[AnyEvent]) -> None:
        """See `Sink.publish`."""
        for batch in batches(messages_of(session_id, events, self._streaming)):
            await self._send(orjson.dumps({"batch": batch}))

    async def aclose(self) -> None:
        """See `Sink.aclose`."""
        await self._http.aclose()

    async def _send(self, body: bytes) -> None:
        for pause in PAUSES:
            try:
                return await self._post(body)
            except PalaverError as error:
                if not error.retryable:
                    raise
            await asyncio.sleep(pause)
        return await self._post(body)

    async def _post(self, body: bytes) -> None:
        settings = self._settings
        query = signed_query(
            settings.key, settings.secret.get_secret_value(), self._path, body, int(time.time())
        )
        request = HttpRequest(
            method="POST",
            url=f"{settings.address}{self._path}?{query}",
            headers={"content-type": "application/json"},
            content=body,
            timeouts=_TIMEOUTS,
        )
        async with await self._http.send(request) as response:
            await response.read(_ANSWER)
            if response.status >= 400:
                raise error_for_status(response.status, "Pusher refused the events")
