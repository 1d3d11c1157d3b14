"""The chunks of a chat completion; pure.

https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson

from palaver.producer.gateway.faults import openai_error
from palaver.shared.errors import PalaverError
from palaver.shared.jobs import FinishReason
from palaver.shared.openai_answer import tool_call, usage
from palaver.shared.responses import ChatResponse

DONE: Final = b"data: [DONE]\n\n"


class ChatDialect:
    """Tells one answer. Each chunk of text is a few bytes around its words."""

    def __init__(self, job_id: str, *, created: int, usage: bool) -> None:
        self._common: dict[str, Any] = {
            "id": f"chatcmpl-{job_id}",
            "object": "chat.completion.chunk",
            "created": created,
        }
        self._usage = usage
        self._before_text = self._before_reasoning = self._behind = b""

    def begin(self, model: str) -> bytes:
        """See `Dialect`."""
        self._common["model"] = model
        self._before_text, self._behind = self._around("content")
        self._before_reasoning, _ = self._around("reasoning_content")
        return self._chunk({"role": "assistant", "content": ""})

    def text(self, delta: str) -> bytes:
        """See `Dialect`."""
        return self._before_text + orjson.dumps(delta) + self._behind

    def reasoning(self, delta: str) -> bytes:
        """See `Dialect`."""
        return self._before_reasoning + orjson.dumps(delta) + self._behind

    def thought(self, block: Mapping[str, Any], length: int) -> bytes:
        """See `Dialect`. Nobody asks for it here."""
        return b""

    def end(self, response: ChatResponse) -> bytes:
        """See `Dialect`."""
        calls = [{"index": number, **tool_call(call)} for number, call in enumerate(response.tool_calls)]
        pieces = [self._chunk({"tool_calls": calls})] if calls else []
        pieces.append(self._chunk({}, response.finish_reason or FinishReason.STOP))
        if self._usage:
            spent = usage(response.usage) if response.usage else None
            pieces.append(_event({**self._common, "choices": [], "usage": spent}))
        return b"".join([*pieces, DONE])

    def failed(self, error: PalaverError) -> bytes:
        """See `Dialect`."""
        return _event({"error": openai_error(error)}) + DONE

    def _around(self, name: str) -> tuple[bytes, bytes]:
        """The bytes before and behind the words of a chunk."""
        before, _, behind = self._chunk({name: "#"}).partition(b'"#"')
        return before, behind

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        chunk = {**self._common, "choices": [choice]}
        return _event({**chunk, "usage": None} if self._usage else chunk)


def _event(document: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"
