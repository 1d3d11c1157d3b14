"""The cache as a policy: what was asked and answered before is not asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Self

from palaver.shared.errors import StreamInterruptedError
from palaver.shared.jobs import FinishReason
from palaver.shared.ledger import Keys, Subscriptions, operations
from palaver.shared.responses import Usage
from palaver.shared.settings import Settings
from palaver.workers.cache.answers import Recording, digest_of, parts_of
from palaver.workers.cache.flights import Flights, Lead
from palaver.workers.link import Link
from palaver.workers.policies import Ask
from palaver.workers.providers import (
    Caching,
    FinishPart,
    GenerationRequest,
    MetadataPart,
    Part,
    Provider,
    Sink,
    UsagePart,
)

__all__ = ["Cache"]


class Cache:
    """Answers the requests that allow it. Answers are kept for `ttl` seconds where the job does not say how
    long, and up to a size of `answer_bytes`.
    """

    def __init__(self, flights: Flights, *, ttl: float, answer_bytes: int) -> None:
        self._flights = flights
        self._ttl = ttl
        self._answer_bytes = answer_bytes

    @classmethod
    def of(cls, settings: Settings, link: Link, keys: Keys, subscriptions: Subscriptions) -> Self:
        """As the settings want it."""
        flights = Flights(
            link, keys, subscriptions, lease=settings.lease_seconds, most=settings.cache_entries
        )
        return cls(flights, ttl=settings.cache_ttl, answer_bytes=settings.cache_answer_bytes)

    def __call__(
        self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink
    ) -> Awaitable[None]:
        """See `Policy`."""
        caching = request.cache
        if caching is not None and caching.only:
            return self._recall(digest_of(provider.profile, request), request, sink)
        # What goes on with a partial answer is nobody else's.
        if caching is None or request.prefix is not None:
            return ask(provider, request, sink)
        return self._shared(ask, provider, request, sink, caching)

    async def _shared(
        self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink, caching: Caching
    ) -> None:
        """Answer with what is kept, or with what another job is being answered, else ask and keep it."""
        digest = digest_of(provider.profile, request)
        found = await self._flights.enter(digest)
        if isinstance(found, Lead):
            recording = Recording(sink, self._answer_bytes)
            with found.kept():
                await ask(provider, request, recording)
                self._store(digest, found, recording.answer(), caching)
            return
        parts = parts_of(found) if found is not None else None
        if parts is None:
            await ask(provider, request, sink)
            return
        self._flights.used(digest)
        await _say(parts, sink)

    async def _recall(self, digest: str, request: GenerationRequest, sink: Sink) -> None:
        """Answer from the cache and from nowhere else; with nothing, if there is no answer."""
        if request.prefix is not None:
            told = "The worker died while it gave an answer from the cache; ask for it again."
            raise StreamInterruptedError(told, retryable=False)
        found = await self._flights.look(digest)
        parts = parts_of(found) if found is not None else None
        if parts is not None:
            self._flights.used(digest)
        await _say(parts or _miss(request.model), sink)

    def _store(self, digest: str, lead: Lead, answer: bytes | None, caching: Caching) -> None:
        if answer is None:
            lead.leave(operations.ALONE)
            return
        lead.leave(operations.STORED, answer, caching.ttl or self._ttl)
        self._flights.used(digest)


def _miss(model: str) -> list[Part]:
    nothing = Usage(input_tokens=0, output_tokens=0, from_cache=True)
    return [MetadataPart({"cache": "miss"}), UsagePart(nothing), FinishPart(FinishReason.STOP, model)]


async def _say(parts: Sequence[Part], sink: Sink) -> None:
    """As a provider would: piece by piece, no faster than the sink takes them."""
    for part in parts:
        if not sink.take([part]):
            await sink.room()
        await asyncio.sleep(0)  # the first piece leaves at once, and other streams have their turns
