"""Document 001's `ResponseCache`: the workers' cache, to look into from outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from palaver.producer.interfaces.clients import Clients
from palaver.producer.interfaces.options import job_fields
from palaver.producer.prepare import JobFields
from palaver.shared.responses import ChatResponse, Response


class ResponseCache:
    """Answers that have been given, in Redis: those of all jobs with `cache`, the 1,000 used last.

    An answer is that of a message, a `context` (the system prompt), a model and its parameters, all equal.
    `options` are those of the jobs: parameters (`temperature`), or fields such as `tenant`. What is kept, and
    for how long, is the workers' business. Each call is a job; `a…` are the same for event loops.
    """

    def __init__(self, *, model: str | None = None, clients: Clients | None = None, **options: Any) -> None:
        self._clients = clients or Clients.of_process()
        self._fields = job_fields({**options, "model": model})

    def get_cached_response(self, message: str, context: str = "") -> Response | None:
        """The answer that is kept; None if there is none now. No provider is asked."""
        return _kept(self._clients.blocking.submit(message, wait=True, **self._asking(context, only=True)))

    async def aget_cached_response(self, message: str, context: str = "") -> Response | None:
        """As `get_cached_response`."""
        return _kept(
            await self._clients.awaited.submit(message, wait=True, **self._asking(context, only=True))
        )

    def get_response(self, message: str, context: str = "") -> Response:
        """The answer that is kept, or the one that a model gives now, which is kept."""
        return Response.of(self._clients.blocking.submit(message, wait=True, **self._asking(context)))

    async def aget_response(self, message: str, context: str = "") -> Response:
        """As `get_response`."""
        return Response.of(await self._clients.awaited.submit(message, wait=True, **self._asking(context)))

    def _asking(self, context: str, *, only: bool = False) -> JobFields:
        cache: Mapping[str, Any] = {"only": True} if only else {}
        return {**self._fields, "system": context or None, "cache": cache}


def _kept(response: ChatResponse) -> Response | None:
    return None if response.metadata.get("cache") == "miss" else Response.of(response)
