"""A worker that does what its test says: it claims, writes and ends jobs, and calls no model."""

from collections.abc import Iterable
from typing import Any, Self

import orjson

from palaver.shared.errors import ErrorInfo, PalaverError
from palaver.shared.ids import new_token
from palaver.shared.jobs import Status
from palaver.shared.ledger import Claimed, SyncLedger, operations
from palaver.shared.responses import ChatResponse
from palaver.shared.settings import Settings

# Graphemes that are cut inside: a family of four, a flag, a letter with its accent; and a NUL.
PIECES = (
    "The ",
    "\U0001f468",
    "\u200d\U0001f469\u200d",
    "\U0001f467 ",
    "e",
    "\u0301",
    " 中",
    "文\x00",
    "\U0001f1eb",
    "\U0001f1f7",
    ".",
)


class StandIn:
    """One job's worker."""

    def __init__(self, ledger: SyncLedger, claimed: Claimed) -> None:
        self._ledger = ledger
        self._claimed = claimed
        self._ids = (claimed.session_id, claimed.job_id)
        self._next = 1
        self.text = ""

    @classmethod
    def claim(cls, settings: Settings, session_id: str, job_id: str, *, lease: float = 60) -> Self:
        """Take the job, as after its message has come."""
        ledger = SyncLedger(settings)
        operation = operations.claim(
            ledger.keys, session_id, job_id, token=new_token(), worker="stand-in", lease=lease
        )
        claimed = ledger.run(operation)
        assert isinstance(claimed, Claimed), claimed
        return cls(ledger, claimed)

    def start(self, *, offset: int = 0) -> None:
        """Begin to write."""
        self._append([("stream_start", {"model": "stand-in/m", "offset": offset})], reset=offset == 0)
        self.text = self.text[:offset]

    def say(self, *deltas: str) -> None:
        """Write pieces of the answer in one batch."""
        self.text += "".join(deltas)
        self._append([("text_chunk", {"delta": delta}) for delta in deltas], text="".join(deltas))

    def think(self, delta: str) -> None:
        """Write a thought."""
        self._append([("reasoning_chunk", {"delta": delta})], reasoning=delta)

    def complete(self) -> ChatResponse:
        """End the job well."""
        response = ChatResponse(
            content=self.text,
            finish_reason="stop",
            model="stand-in/m",
            usage={"input_tokens": 1, "output_tokens": 2},
        )
        self._finish(Status.COMPLETED, response=response)
        return response

    def fail(self, error: PalaverError) -> None:
        """End the job with an error and what there is of the text."""
        self._finish(Status.FAILED, error=ErrorInfo.of(error))

    def answer(self, pieces: Iterable[str] = PIECES) -> ChatResponse:
        """A whole answer, piece by piece."""
        self.start()
        for piece in pieces:
            self.say(piece)
        return self.complete()

    def _append(self, events: list[tuple[str, dict[str, Any]]], **kept: Any) -> None:
        inner = [_inner(kind, data) for kind, data in events]
        operation = operations.append(
            self._ledger.keys,
            *self._ids,
            fence=self._claimed.fence,
            first=self._next,
            events=inner,
            **kept,
        )
        self._ledger.run(operation)
        self._next += len(inner)

    def _finish(
        self, status: Status, *, response: ChatResponse | None = None, error: ErrorInfo | None = None
    ) -> None:
        data: dict[str, Any] = {"status": status}
        if response is not None:
            data |= {"response": orjson.loads(response.to_json()), "finish_reason": response.finish_reason}
        if error is not None:
            data |= {"error": error.model_dump(mode="json"), "text": self.text}
        operation = operations.finish(
            self._ledger.keys,
            *self._ids,
            fence=self._claimed.fence,
            status=status,
            end=_inner("stream_end", data),
            response=response.to_json() if response else None,
            error=error.model_dump_json().encode() if error else None,
            retention=self._ledger.retention,
        )
        self._ledger.run(operation)


def _inner(kind: str, data: dict[str, Any]) -> bytes:
    return b'"type":"%s","data":%s' % (kind.encode(), orjson.dumps(data))
