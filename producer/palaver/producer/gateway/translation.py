"""From a job's events to the stream of another API; pure.

Those APIs cannot take anything back. When an answer begins anew, the same words are not told twice; if other
words come, the stream ends with an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Final, Protocol

from palaver.producer.cursor import Entry
from palaver.shared.accumulator import end_error
from palaver.shared.errors import ErrorInfo, PalaverError, StreamInterruptedError
from palaver.shared.jobs import Status
from palaver.shared.responses import ChatResponse

Data = Mapping[str, Any]

_SILENT: Final = frozenset(("job_queued", "retry", "warning", "progress"))


class Dialect(Protocol):
    """How an API tells an answer. Each method returns whole server-sent events."""

    def begin(self, model: str) -> bytes:
        """It begins. Called once, before all others but `failed`; the model as it was asked for."""

    def text(self, delta: str) -> bytes:
        """More of the answer."""

    def reasoning(self, delta: str) -> bytes:
        """More of what the model thought."""

    def thought(self, block: Mapping[str, Any], length: int) -> bytes:
        """A block of what the model thought is whole: its last `length` characters, and what its provider
        wants back of it.
        """

    def end(self, response: ChatResponse) -> bytes:
        """All was told; calls of tools are in the response."""

    def failed(self, error: PalaverError) -> bytes:
        """It ends otherwise."""


class Translation:
    """What became of one job's events so far. `begun`: there was something to tell; `done`: all was told."""

    def __init__(self, dialect: Dialect, *, model: str) -> None:
        self.begun = False
        self.done = False
        self._dialect = dialect
        self._model = model
        self._text = _Told(dialect.text)
        self._reasoning = _Told(dialect.reasoning)
        self.error: PalaverError | None = None

    def feed(self, entries: Iterable[Entry]) -> bytes:
        """Take the next events; what is to be told."""
        pieces: list[bytes] = []
        for entry in entries:
            if entry.type in _SILENT or self.done:
                continue
            try:
                pieces.append(self._take(entry))
            except StreamInterruptedError as error:
                error.job_id = entry.job_id
                pieces.append(self.fail(error))
        return b"".join(pieces)

    def _take(self, entry: Entry) -> bytes:
        data: Data = entry.fields["data"]
        if entry.type == "stream_end" and (error := _error(data, entry.job_id)) is not None:
            return self.fail(error)
        take = self._TAKE.get(entry.type)
        if take is None:
            return b""
        if self.begun:
            return take(self, data)
        self.begun = True
        begin = self._dialect.begin(self._model)
        return begin + take(self, data)

    def _start(self, data: Data) -> bytes:
        if not data.get("offset"):
            self._text.again()
            self._reasoning.again()
        return b""

    def _chunk(self, data: Data) -> bytes:
        return self._text.add(data["delta"])

    def _thought(self, data: Data) -> bytes:
        return self._reasoning.add(data["delta"])

    def _thinking_block(self, data: Data) -> bytes:
        if self._reasoning.is_behind or self._text.is_behind:  # it was told before
            return b""
        return self._dialect.thought(data["block"], data.get("length", 0))

    def _resync(self, data: Data) -> bytes:
        return self._reasoning.whole(data.get("reasoning", "")) + self._text.whole(data.get("text", ""))

    def _end(self, data: Data) -> bytes:
        response = ChatResponse.validated(data.get("response") or {})
        rest = self._reasoning.whole(response.reasoning or "") + self._text.whole(response.content, last=True)
        self.done = True
        return rest + self._dialect.end(response)

    def fail(self, error: PalaverError) -> bytes:
        """End it otherwise; what is to be told."""
        self.done, self.error = True, error
        return self._dialect.failed(error)

    _TAKE: ClassVar[dict[str, Callable[[Any, Data], bytes]]] = {
        "stream_start": _start,
        "text_chunk": _chunk,
        "reasoning_chunk": _thought,
        "thinking_block": _thinking_block,
        "resync": _resync,
        "stream_end": _end,
    }


class _Told:
    """The words of one kind that were told, and how more are told."""

    def __init__(self, tell: Callable[[str], bytes]) -> None:
        self._tell = tell
        self._parts: list[str] = []
        self._anew: str | None = (
            None  # what came since the answer began anew, while all of it was told before
        )

    def again(self) -> None:
        """It begins anew."""
        if self._parts:
            self._anew = ""

    def add(self, delta: str) -> bytes:
        """The next words."""
        if self._anew is not None:
            return self._add_anew(delta)
        self._parts.append(delta)
        return self._tell(delta) if delta else b""

    def whole(self, text: str, *, last: bool = False) -> bytes:
        """All words so far. `last`: there will be no more, so less than was told is another answer."""
        self.again()
        rest = self.add(text)
        if last and self._anew is not None and self._anew != self._joined:
            raise _other_words()
        return rest

    @property
    def is_behind(self) -> bool:
        """Whether it began anew, and says what was told before."""
        return self._anew is not None

    @property
    def _joined(self) -> str:
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def _add_anew(self, delta: str) -> bytes:
        anew, told = (self._anew or "") + delta, self._joined
        if told.startswith(anew):
            self._anew = anew
            return b""
        if not anew.startswith(told):
            raise _other_words()
        self._parts, self._anew = [anew], None
        return self._tell(anew[len(told) :])


def _error(data: Data, job_id: str) -> PalaverError | None:
    info = data.get("error")
    error = end_error(Status(data["status"]), ErrorInfo.model_validate(info) if info else None, job_id=job_id)
    if error is not None:
        error.job_id = error.job_id or job_id
    return error


def _other_words() -> StreamInterruptedError:
    return StreamInterruptedError(
        "The answer began anew with other words, which this stream cannot take back; the job goes on."
    )
