"""The chunk of a chat/completions stream: the fields that are used, and the lenient way to them.

The common chunk is decoded by type, skipping everything else. Whatever does not fit (half a character, a
list as content, a number as text) goes through `json` and ends in the same structs.
"""

import json
from typing import Any

import msgspec


class Function(msgspec.Struct, gc=False):
    """The function of a tool-call fragment; a few servers send the arguments as an object."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class Fragment(msgspec.Struct, gc=False):
    """A piece of a tool call."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct, gc=False):
    """What a choice adds. Thinking comes under one name or the other, never meant twice."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Fragment] | None = None


class Choice(msgspec.Struct, gc=False):
    """One answer; `message` stands in whole bodies, and in the last event of some servers."""

    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    index: int | None = None
    error: Any = None


class Chunk(msgspec.Struct, gc=False):
    """One event, or a whole body."""

    choices: list[Choice] | None = None
    usage: dict[str, Any] | None = None
    model: str | None = None
    error: Any = None
    x_groq: dict[str, Any] | None = None


decode_chunk = msgspec.json.Decoder(Chunk).decode


def lenient_json(data: bytes) -> Any:
    """JSON as servers send it: bad UTF-8 replaced, control characters and half surrogates let through.

    Raises ValueError.
    """
    try:
        return json.loads(data.decode("utf-8", "replace"), strict=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def lenient_chunk(document: dict[str, Any]) -> Chunk:
    """A chunk from any JSON object: values of the wrong type are brought into shape or left out."""
    choices = document.get("choices")
    return Chunk(
        choices=[_choice(item) for item in choices if isinstance(item, dict)]
        if isinstance(choices, list)
        else None,
        usage=_dict(document.get("usage")),
        model=_text(document.get("model")),
        error=document.get("error"),
        x_groq=_dict(document.get("x_groq")),
    )


def error_in(document: dict[str, Any]) -> bool:
    """Whether an object is an error: it says so, or it is no chunk and has a message."""
    if document.get("error") or document.get("object") == "error" or document.get("type") == "error":
        return True
    return "choices" not in document and any(
        isinstance(document.get(key), str) for key in ("message", "detail")
    )


def _choice(item: dict[str, Any]) -> Choice:
    return Choice(
        delta=_delta(item.get("delta")),
        message=_delta(item.get("message")),
        finish_reason=_text(item.get("finish_reason")),
        index=_int(item.get("index")),
        error=item.get("error"),
    )


def _delta(item: Any) -> Delta | None:
    if not isinstance(item, dict):
        return None
    content = item.get("content")
    thought = _text(item.get("reasoning_content")) or _text(item.get("reasoning"))
    calls = item.get("tool_calls")
    if not isinstance(calls, list):
        calls = [{"index": 0, "function": item["function_call"]}] if item.get("function_call") else []
    return Delta(
        content=_joined(content, "text"),
        reasoning_content=thought or _joined(content, "thinking"),
        refusal=_text(item.get("refusal")),
        tool_calls=[_fragment(call) for call in calls if isinstance(call, dict)] or None,
    )


def _joined(content: Any, kind: str) -> str | None:
    """The text of one kind in a content that may be a list of parts (Mistral), whose thinking is a list
    again.
    """
    if not isinstance(content, list):
        return _text(content) if kind == "text" else None
    texts = []
    for part in content:
        if isinstance(part, dict) and part.get("type") == kind:
            value = part.get(kind)
            texts.append((_joined(value, "text") if isinstance(value, list) else _text(value)) or "")
    return "".join(texts)


def _fragment(call: dict[str, Any]) -> Fragment:
    function = call.get("function")
    function = function if isinstance(function, dict) else call
    arguments = function.get("arguments")
    return Fragment(
        index=_int(call.get("index")),
        id=_text(call.get("id")),
        function=Function(
            name=_text(function.get("name")),
            arguments=arguments if isinstance(arguments, str | dict) else None,
        ),
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _dict(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None
