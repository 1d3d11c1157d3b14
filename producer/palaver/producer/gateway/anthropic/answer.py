"""A job's answer as a message of Anthropic's API, whole and as events; pure.

https://docs.anthropic.com/en/api/messages-streaming
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from palaver.producer.gateway.faults import error_body
from palaver.shared.errors import PalaverError
from palaver.shared.jobs import FinishReason
from palaver.shared.messages import ToolCall
from palaver.shared.responses import ChatResponse

Json = dict[str, Any]

PING: Final = b'event: ping\ndata: {"type":"ping"}\n\n'
PATH: Final = "/v1/messages"

_STOPPED: Final = {
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
}
_EMPTY: Final = {
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
    "text": {"type": "text", "text": ""},
}


def message(job_id: str, response: ChatResponse) -> Json:
    """The whole message."""
    content: list[Json] = []
    if response.reasoning:
        content.append({**_EMPTY["thinking"], "thinking": response.reasoning})
    if response.content:
        content.append({**_EMPTY["text"], "text": response.content})
    content += [_tool_use(call) for call in response.tool_calls]
    return {
        **_envelope(job_id, response.model or ""),
        "content": content,
        "stop_reason": _stop_reason(response),
        "usage": _usage(response),
    }


class MessageDialect:
    """Tells one answer as events: blocks of thinking, of text, of calls, one behind the other."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._index = -1
        self._open: str | None = None  # the kind of the block that is being told

    def begin(self, model: str) -> bytes:
        """See `Dialect`."""
        usage = {"input_tokens": 0, "output_tokens": 0}
        begun = {**_envelope(self._job_id, model), "content": [], "stop_reason": None, "usage": usage}
        return _event("message_start", {"message": begun}) + PING

    def text(self, delta: str) -> bytes:
        """See `Dialect`."""
        return self._into("text") + self._delta({"type": "text_delta", "text": delta})

    def reasoning(self, delta: str) -> bytes:
        """See `Dialect`."""
        return self._into("thinking") + self._delta({"type": "thinking_delta", "thinking": delta})

    def end(self, response: ChatResponse) -> bytes:
        """See `Dialect`."""
        pieces = [self._close()]
        for call in response.tool_calls:
            block = _tool_use(call)
            arguments = orjson.dumps(block["input"]).decode()
            pieces.append(self._start({**block, "input": {}}))
            pieces.append(self._delta({"type": "input_json_delta", "partial_json": arguments}))
            pieces.append(self._stop())
        delta = {"stop_reason": _stop_reason(response), "stop_sequence": None}
        pieces.append(_event("message_delta", {"delta": delta, "usage": _usage(response)}))
        pieces.append(_event("message_stop", {}))
        return b"".join(pieces)

    def failed(self, error: PalaverError) -> bytes:
        """See `Dialect`."""
        return _event("error", error_body(PATH, error)[1])

    def _into(self, kind: str) -> bytes:
        if self._open == kind:
            return b""
        closed = self._close()
        self._open = kind
        return closed + self._start(_EMPTY[kind])

    def _close(self) -> bytes:
        was, self._open = self._open, None
        return b"" if was is None else self._stop()

    def _start(self, block: Json) -> bytes:
        self._index += 1
        return _event("content_block_start", {"index": self._index, "content_block": block})

    def _delta(self, delta: Json) -> bytes:
        return _event("content_block_delta", {"index": self._index, "delta": delta})

    def _stop(self) -> bytes:
        return _event("content_block_stop", {"index": self._index})


def _envelope(job_id: str, model: str) -> Json:
    return {
        "id": f"msg_{job_id}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "stop_sequence": None,
    }


def _tool_use(call: ToolCall) -> Json:
    arguments = call.arguments if isinstance(call.arguments, dict) else {"arguments": call.arguments}
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def _stop_reason(response: ChatResponse) -> str:
    reason = response.finish_reason
    return _STOPPED.get(reason, "end_turn") if reason is not None else "end_turn"


def _usage(response: ChatResponse) -> Json:
    spent = response.usage
    return {
        "input_tokens": (spent and spent.input_tokens) or 0,
        "output_tokens": (spent and spent.output_tokens) or 0,
    }


def _event(kind: str, data: Json) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps({"type": kind, **data}))
