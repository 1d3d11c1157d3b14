"""The policy next to the providers: how long each of their answers took, and its first token."""

from __future__ import annotations

import time
from collections.abc import Callable

from palaver.shared.errors import PalaverError
from palaver.shared.profiles import ModelRef
from palaver.workers.metrics.counts import Counts
from palaver.workers.policies import Ask
from palaver.workers.providers import (
    GenerationRequest,
    Part,
    Provider,
    ReasoningDelta,
    Sink,
    TextDelta,
    ToolCallPart,
)

__all__ = ["Measured"]

_TOKENS = (TextDelta, ReasoningDelta, ToolCallPart)


class Measured:
    """See the module; a `Policy`."""

    def __init__(self, counts: Counts, clock: Callable[[], float] = time.monotonic) -> None:
        self._counts = counts
        self._clock = clock

    async def __call__(self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink) -> None:
        """See `Policy`."""
        profile, began = provider.profile.name, self._clock()
        first = _First(sink, self._clock)
        try:
            await ask(provider, request, first)
        except PalaverError as error:
            self._counts.failed(profile, error)
            raise
        finally:
            first.step_out()
            came = None if first.at is None else first.at - began
            self._counts.requested(ModelRef(profile, request.model), self._clock() - began, came)


class _First:
    """A sink that sees when the first token comes, and then steps out of the way."""

    __slots__ = ("_clock", "_sink", "at", "room", "take")

    def __init__(self, sink: Sink, clock: Callable[[], float]) -> None:
        self._sink = sink
        self._clock = clock
        self.at: float | None = None
        self.room = sink.room
        self.take: Callable[[list[Part]], bool] = self._take

    def _take(self, parts: list[Part]) -> bool:
        if any(isinstance(part, _TOKENS) for part in parts):
            self.at = self._clock()
            self.step_out()
        return self._sink.take(parts)

    def step_out(self) -> None:
        """Look no more; its own method, kept by itself, would be a cycle."""
        self.take = self._sink.take
