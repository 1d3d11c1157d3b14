"""Text that readers have while the agent goes on."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import orjson

from palaver.shared.errors import WrongStateError
from palaver.workers.agents.conversation import as_json, conversation
from palaver.workers.agents.outbox import Start

__all__ = ["ResponseStream"]


class ResponseStream:
    """Writes text of the answer, at once.

        with ResponseStream() as stream:
            stream.write("Let me think …")
        return stream.content

    An answer may have several, one after the other. Raises WrongStateError, a RuntimeError, where no agent
    answers, and once the job has ended.
    """

    def __init__(self) -> None:
        self._outbox = conversation().outbox
        self._pieces: list[str] = []
        self._started = self._ended = False

    @property
    def content(self) -> str:
        """All text that was written to it."""
        return "".join(self._pieces)

    def start(self, metadata: Mapping[str, Any] | None = None) -> None:
        """Begin, if it has not begun. Readers are told so, with its `metadata`, JSON, in a `stream_start`."""
        if not self._started:
            told = as_json(dict(metadata or {}), "metadata")
            self._outbox.put(Start(told), len(orjson.dumps(told)) if told else 0)
            self._started = True

    def write(self, chunk: str) -> None:
        """Add text. Raises TypeError for anything else."""
        if self._ended:
            raise WrongStateError("Cannot write to ended stream")
        if not isinstance(chunk, str):
            raise TypeError(f"a stream takes text, not {type(chunk).__name__}")
        self.start()
        if chunk:
            self._outbox.put(chunk, len(chunk.encode(errors="replace")))
            self._pieces.append(chunk)

    def end(self) -> None:
        """End this stream; the answer itself ends with the agent's return."""
        self.start()
        self._ended = True

    def __enter__(self) -> Self:
        return self  # it begins with the first word, so that `start` can still say something of it

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.end()
        self._ended = True
