"""What an agent says becomes a job's answer. On the loop of the streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from palaver.shared.jobs import FinishReason
from palaver.shared.profiles import ModelRef
from palaver.shared.responses import ShownWidget
from palaver.workers.agents.outbox import Piece, Start, Told
from palaver.workers.job_answer import JobAnswer
from palaver.workers.providers import FinishPart

__all__ = ["AGENT", "AgentAnswer"]

AGENT: Final = "agent"
"""Stands where readers are told the provider; the model is then the agent's path."""


class AgentAnswer:
    """One attempt of an agent. It begins with a `stream_start` of offset 0, whatever earlier attempts have
    said: an agent cannot go on in the middle.
    """

    def __init__(self, answer: JobAnswer, path: str) -> None:
        self._answer = answer
        self._writer = answer.writer
        self.ref = answer.ref = ModelRef(AGENT, path)
        self._said: list[str] = []
        self._characters = 0  # of it all
        self._told: list[Told] = []
        self._metadata: Mapping[str, Any] = {}  # of the `stream_start` that was written last
        self._streaming = False  # a ResponseStream has that one

    def take(self, piece: Piece) -> None:
        """Write what the agent says."""
        match piece:
            case str():
                self._begin()
                self._said.append(piece)
                self._characters += len(piece)
                self._writer.text(piece)
            case Start(metadata):
                self._stream(metadata)
            case Told():
                self._begin()
                self._tell(piece)

    def think(self, thought: str) -> None:
        """Write what a model has thought for the agent."""
        self._begin()
        self._writer.reasoning(thought)

    async def room(self) -> None:
        """Return when what waits to be sent is within bounds again."""
        await self._writer.drain()

    @property
    def full(self) -> bool:
        """Whether more is written than can be sent."""
        return self._writer.full

    @property
    def written(self) -> str:
        """Its text so far."""
        return "".join(self._said)

    def finish(self, text: str) -> None:
        """The agent has returned, and this is the answer: told anew, if something else was written."""
        written = self.written
        self._begin()
        if text != written:
            if written:
                self._begin_anew()
            self._writer.text(text)
        self._answer.take([FinishPart(FinishReason.STOP, self.ref.model)])

    def _stream(self, metadata: Mapping[str, Any]) -> None:
        """Each ResponseStream has a `stream_start`: the one with which the answer begins, or one of its own
        behind the text. Where there is no text yet its offset is 0.
        """
        if not self._answer.begun:
            self._begin(metadata)
        elif metadata or self._streaming:
            self._metadata = metadata
            if self._characters:
                self._start(self._characters)
            else:
                self._begin_anew()
        self._streaming = True

    def _begin(self, metadata: Mapping[str, Any] | None = None) -> None:
        if not self._answer.begun:
            self._answer.begun = True
            self._metadata = metadata or {}
            self._start(0)

    def _begin_anew(self) -> None:
        """Drop what was written; and tell again what the offset drops with it, and still holds."""
        thought = self._writer.thought.decode()
        self._start(0)
        self._writer.reasoning(thought)
        for piece in self._told:
            self._writer.event(piece.kind, piece.data)

    def _start(self, offset: int) -> None:
        ref, metadata = self.ref, self._metadata
        self._writer.start(model=ref.model, provider=ref.profile, offset=offset, metadata=metadata)

    def _tell(self, piece: Told) -> None:
        self._told.append(piece)
        self._writer.event(piece.kind, piece.data)
        if piece.kind == "widget":
            shown = {name: piece.data[name] for name in ShownWidget.model_fields}
            self._answer.widgets.append(ShownWidget(**shown))
