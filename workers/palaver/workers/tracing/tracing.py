"""What the rest of a worker knows of traces: an attempt begins, is read and ends; requests have a policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from palaver.shared.errors import ConfigurationError
from palaver.shared.ledger import Claimed
from palaver.shared.settings import Settings

if TYPE_CHECKING:  # a run has an attempt
    from palaver.workers.ending import Outcome
    from palaver.workers.policies import Policy

__all__ = ["Attempt", "Tracing", "tracing_of"]


class Attempt:
    """An attempt that nobody traces."""

    def carries(self, traceparent: str | None) -> None:
        """Its job was read, and is of that trace; None: of none. A job that cannot be read is not told."""

    def end(self, outcome: Outcome | None) -> None:
        """That became of it; None: nobody knows."""


class Tracing:
    """Traces nothing; what does is a subclass."""

    policies: Sequence[Policy] = ()

    def begin(self, claimed: Claimed, queue: str) -> Attempt:
        """An attempt begins."""
        return Attempt()

    async def aclose(self) -> None:
        """Send what is left."""


def tracing_of(settings: Settings, worker: str) -> Tracing:
    """As the settings want it. ConfigurationError when OpenTelemetry is not installed."""
    if not settings.tracing:
        return Tracing()
    try:
        from palaver.workers.tracing.spans import Spans
    except ImportError:
        told = "PALAVER_TRACING needs OpenTelemetry's SDK and exporter: pip install 'palaver[otel]'"
        raise ConfigurationError(told, param="tracing") from None
    return Spans.made(worker, content=settings.tracing_content)
