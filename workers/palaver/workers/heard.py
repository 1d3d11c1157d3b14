"""What a model answers to a request that is not the job's own: of an abstract, or of an agent."""

from __future__ import annotations

from palaver.shared.jobs import FinishReason
from palaver.shared.responses import Usage
from palaver.workers.answer_writer import too_large
from palaver.workers.metering import Meter
from palaver.workers.providers import FinishPart, Part, ReasoningDelta, TextDelta, UsagePart

__all__ = ["Heard"]


class Heard:
    """A sink of one request, that keeps what it hears: `most` bytes at most. A subclass may tell it to
    somebody.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._said = 0  # bytes, of both
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self.model: str | None = None  # under which the model answered
        self.reason: FinishReason | None = None
        self.whole = False
        self._usage: Usage | None = None

    @property
    def begun(self) -> bool:
        """Whether anything was said."""
        return bool(self._said)

    @property
    def text(self) -> str:
        """The answer."""
        return "".join(self._text)

    @property
    def reasoning(self) -> str:
        """Its thoughts."""
        return "".join(self._reasoning)

    def take(self, parts: list[Part]) -> bool:
        """See `Sink.take`. Raises AnswerTooLargeError."""
        for part in parts:
            match part:
                case TextDelta():
                    self._keep(self._text, part.text)
                case ReasoningDelta():
                    self._keep(self._reasoning, part.text)
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
        return meter.read(self._usage, said=self._said, whole=self.whole, model=self.model)

    def _keep(self, kept: list[str], delta: str) -> None:
        kept.append(delta)
        self._said += len(delta.encode(errors="replace"))
        if self._said > self._most:
            raise too_large(self._most)
