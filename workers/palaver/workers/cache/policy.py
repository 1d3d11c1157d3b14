"""The cache as a policy: what was asked and answered before is not asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from palaver.shared.ledger import operations
from palaver.workers.cache.answers import Recording, digest_of, parts_of
from palaver.workers.cache.flights import Flights, Lead
from palaver.workers.policies import Ask
from palaver.workers.providers import Caching, GenerationRequest, Part, Provider, Sink

__all__ = ["Cache"]


class Cache:
    """Answers the requests that allow it. Answers are kept for `ttl` seconds where the job does not say how
    long, and up to a size of `answer_bytes`.
    """

    def __init__(self, flights: Flights, *, ttl: float, answer_bytes: int) -> None:
        self._flights = flights
        self._ttl = ttl
        self._answer_bytes = answer_bytes

    async def __call__(self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink) -> None:
        """See `Policy`."""
        # What goes on with a partial answer is nobody else's.
        if request.cache is None or request.prefix is not None:
            await ask(provider, request, sink)
            return
        digest = digest_of(provider.profile, request)
        found = await self._flights.enter(digest)
        if isinstance(found, Lead):
            recording = Recording(sink, self._answer_bytes)
            with found.kept():
                await ask(provider, request, recording)
                self._store(digest, found, recording.answer(), request.cache)
            return
        parts = parts_of(found) if found is not None else None
        if parts is None:
            await ask(provider, request, sink)
            return
        self._flights.used(digest)
        await _say(parts, sink)

    def _store(self, digest: str, lead: Lead, answer: bytes | None, caching: Caching) -> None:
        if answer is None:
            lead.leave(operations.ALONE)
            return
        lead.leave(operations.STORED, answer, caching.ttl or self._ttl)
        self._flights.used(digest)


async def _say(parts: Sequence[Part], sink: Sink) -> None:
    """As a provider would: piece by piece, no faster than the sink takes them."""
    for part in parts:
        if not sink.take([part]):
            await sink.room()
        await asyncio.sleep(0)  # the first piece leaves at once, and other streams have their turns
