"""What the rest of a worker knows of traces: an attempt begins and ends, and requests have a policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from palaver.shared.errors import ConfigurationError
from palaver.shared.ledger import Claimed
from palaver.shared.settings import Settings
from palaver.workers.ending import Outcome
from palaver.workers.policies import Policy

__all__ = ["Tracing", "tracing_of"]


class Tracing:
    """Traces nothing; what does is a subclass."""

    policies: Sequence[Policy] = ()

    def begin(self, claimed: Claimed, queue: str) -> Callable[[Outcome | None], object]:
        """An attempt begins; what is returned takes what became of it, None if nobody knows."""
        return _nothing

    async def aclose(self) -> None:
        """Send what is left."""


def _nothing(_: Outcome | None) -> None:
    """Of an attempt that nobody traces."""


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
