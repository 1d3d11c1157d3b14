"""A job's answer as a message of Anthropic's API, whole and as events; pure.

https://docs.anthropic.com/en/api/messages-streaming
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from palaver.producer.gateway.faults import error_body
from palaver.shared.errors import PalaverError
from palaver.shared.jobs import FinishReason
from palaver.shared.messages import ToolCall
from palaver.shared.responses import ChatResponse, Usage

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


def message(job_id: str, model: str, response: ChatResponse) -> Json:
    """The whole message; the model as it was asked for."""
    content = _thinking(response)
    if response.content:
        content.append({**_EMPTY["text"], "text": response.content})
    content += [_tool_use(call) for call in response.tool_calls]
    return {
        **_envelope(job_id, model),
        "content": content,
        **_stop(response),
        "usage": _usage(response.usage),
    }


class MessageDialect:
    """Tells one answer as events: blocks of thinking, of text, of calls, one behind the other."""

    def __init__(self, job_id: str) -> None:
        self._job_id = job_id
        self._index = -1
        self._open: str | None = None  # the kind of the block that is being told
        self._said = 0  # characters of it

    def begin(self, model: str) -> bytes:
        """See `Dialect`."""
        begun = {**_envelope(self._job_id, model), "content": [], "stop_reason": None, "stop_sequence": None}
        return _event("message_start", {"message": {**begun, "usage": _usage(None)}}) + PING

    def text(self, delta: str) -> bytes:
        """See `Dialect`."""
        return self._into("text") + self._delta({"type": "text_delta", "text": delta})

    def reasoning(self, delta: str) -> bytes:
        """See `Dialect`."""
        opened = self._into("thinking")
        self._said += len(delta)
        return opened + self._delta({"type": "thinking_delta", "thinking": delta})

    def thought(self, block: Mapping[str, Any], length: int) -> bytes:
        """See `Dialect`. A signature is for all words of its block: of one that had others it is left out."""
        if block.get("type") == "redacted_thinking":
            return self._close() + self._start(dict(block)) + self._stop()
        opened = b"" if length else self._into("thinking")
        if self._open != "thinking" or self._said != length:
            return opened
        return (
            opened + self._delta({"type": "signature_delta", "signature": block["signature"]}) + self._close()
        )

    def end(self, response: ChatResponse) -> bytes:
        """See `Dialect`."""
        pieces = [self._close()]
        for call in response.tool_calls:
            block = _tool_use(call)
            arguments = orjson.dumps(block["input"]).decode()
            pieces.append(self._start({**block, "input": {}}))
            pieces.append(self._delta({"type": "input_json_delta", "partial_json": arguments}))
            pieces.append(self._stop())
        told = {"delta": _stop(response), "usage": _usage(response.usage)}
        pieces.append(_event("message_delta", told))
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
        was, self._open, self._said = self._open, None, 0
        return b"" if was is None else self._stop()

    def _start(self, block: Json) -> bytes:
        self._index += 1
        return _event("content_block_start", {"index": self._index, "content_block": block})

    def _delta(self, delta: Json) -> bytes:
        return _event("content_block_delta", {"index": self._index, "delta": delta})

    def _stop(self) -> bytes:
        return _event("content_block_stop", {"index": self._index})


def _envelope(job_id: str, model: str) -> Json:
    return {"id": f"msg_{job_id}", "type": "message", "role": "assistant", "model": model}


def _thinking(response: ChatResponse) -> list[Json]:
    """The signed blocks, where they are all that was thought; else the words, which nobody has signed."""
    blocks: Iterable[Json] = response.metadata.get("thinking_blocks") or ()
    thoughts = response.reasoning or ""
    if "".join(block.get("thinking", "") for block in blocks) == thoughts:
        return [{**_unsigned(block), **block} for block in blocks]
    return [{**_EMPTY["thinking"], "thinking": thoughts}] if thoughts else []


def _unsigned(block: Json) -> Json:
    return {"signature": ""} if block.get("type") == "thinking" else {}


def _tool_use(call: ToolCall) -> Json:
    arguments = call.arguments if isinstance(call.arguments, dict) else {"arguments": call.arguments}
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def _stop(response: ChatResponse) -> Json:
    """Why it ended; which stop sequence did it only Anthropic's own API says."""
    sequence, reason = response.metadata.get("stop_sequence"), response.finish_reason
    if sequence is not None and reason is FinishReason.STOP:
        return {"stop_reason": "stop_sequence", "stop_sequence": sequence}
    told = _STOPPED.get(reason, "end_turn") if reason is not None else "end_turn"
    return {"stop_reason": told, "stop_sequence": None}


def _usage(spent: Usage | None) -> Json:
    """Anthropic counts what the prompt cache had, or took, apart from `input_tokens`."""
    details = spent.details if spent is not None else {}
    others = details.get("prompt_tokens_details")
    read = details.get("cache_read_input_tokens")
    if read is None and isinstance(others, dict):
        read = others.get("cached_tokens")
    cached = {
        "cache_creation_input_tokens": _count(details.get("cache_creation_input_tokens")),
        "cache_read_input_tokens": _count(read),
    }
    asked = (spent and spent.input_tokens) or 0
    return {
        "input_tokens": max(0, asked - sum(cached.values())),
        **cached,
        "output_tokens": (spent and spent.output_tokens) or 0,
    }


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _event(kind: str, data: Json) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), orjson.dumps({"type": kind, **data}))
