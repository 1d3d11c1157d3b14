"""Where an answer is written: to the log of its session, or for nobody but its worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from palaver.shared.errors import AnswerTooLargeError, PalaverError

__all__ = ["AnswerWriter", "UnheardWriter", "too_large"]


class AnswerWriter(Protocol):
    """What an answer needs to be written; see `publisher.Writer`."""

    said: bytearray
    thought: bytearray
    verdict: PalaverError | None

    @property
    def full(self) -> bool:
        """Whether enough waits that `drain` would wait."""
        ...

    def text(self, delta: str, raw: bytes | None = None) -> None:
        """Add to the answer's text."""

    def reasoning(self, delta: str, raw: bytes | None = None) -> None:
        """Add to the answer's reasoning."""

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Add an event of another kind."""

    def start(
        self, *, model: str, provider: str, offset: int, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Begin to write: at offset 0 everything written so far is dropped."""

    async def drain(self) -> None:
        """Return when what waits to be sent is within bounds."""

    async def flush(self) -> None:
        """Return when everything said is safe; raises the verdict when it never will be."""

    def recall(self, text: str, reasoning: str) -> None:
        """After a verdict: this is what is safe of what was said."""

    def close(self) -> None:
        """Take no part any more."""


class UnheardWriter:
    """An answer that nobody follows, of `most` bytes at most. Events are left out."""

    full = False

    def __init__(self, *, most: int) -> None:
        self.said, self.thought = bytearray(), bytearray()
        self.verdict: PalaverError | None = None
        self._most = most

    def text(self, delta: str, raw: bytes | None = None) -> None:
        """Raises AnswerTooLargeError."""
        self._add(self.said, delta)

    def reasoning(self, delta: str, raw: bytes | None = None) -> None:
        """Raises AnswerTooLargeError."""
        self._add(self.thought, delta)

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Nobody hears it."""

    def start(
        self, *, model: str, provider: str, offset: int, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """See `AnswerWriter.start`."""
        if offset == 0:
            self.said.clear()
            self.thought.clear()

    async def drain(self) -> None:
        """At once."""

    async def flush(self) -> None:
        """At once."""

    def recall(self, text: str, reasoning: str) -> None:
        """See `AnswerWriter.recall`."""
        self.said, self.thought = bytearray(text.encode()), bytearray(reasoning.encode())

    def close(self) -> None:
        """Nothing is open."""

    def _add(self, said: bytearray, delta: str) -> None:
        try:
            said += delta.encode()
        except UnicodeEncodeError:  # half a surrogate pair is no text
            said += delta.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()
        if len(self.said) + len(self.thought) > self._most:
            raise too_large(self._most)


def too_large(most: int, job_id: str | None = None) -> AnswerTooLargeError:
    """The error of an answer that goes on beyond so many bytes."""
    told = f"the answer goes on beyond {most} bytes, the bound of PALAVER_MAX_ANSWER_BYTES"
    return AnswerTooLargeError(told, job_id=job_id)
