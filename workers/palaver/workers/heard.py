"""What a model answers to a request that is not the job's own: of an abstract, or of an agent."""

from __future__ import annotations

from palaver.shared.jobs import FinishReason
from palaver.shared.responses import Usage
from palaver.workers.metering import Meter
from palaver.workers.providers import FinishPart, Part, ReasoningDelta, TextDelta, UsagePart

__all__ = ["Heard"]


class Heard:
    """A sink of one request, that keeps what it hears. A subclass may tell it to somebody."""

    def __init__(self) -> None:
        self.text = ""
        self.reasoning = ""
        self.model: str | None = None  # under which the model answered
        self.reason: FinishReason | None = None
        self.whole = False
        self._usage: Usage | None = None

    def take(self, parts: list[Part]) -> bool:
        """See `Sink.take`."""
        for part in parts:
            match part:
                case TextDelta():
                    self.text += part.text
                case ReasoningDelta():
                    self.reasoning += part.text
                case UsagePart():
                    self._usage = part.usage
                case FinishPart():
                    self.model, self.whole = part.model, True
                    known = part.reason in FinishReason.__members__.values()
                    self.reason = FinishReason(part.reason) if known else FinishReason.STOP
        return True

    async def room(self) -> None:
        """See `Sink.room`."""
        return

    def usage(self, meter: Meter) -> Usage | None:
        """What it has cost."""
        said = len(self.text.encode(errors="replace")) + len(self.reasoning.encode(errors="replace"))
        return meter.read(self._usage, said=said, whole=self.whole, model=self.model)
