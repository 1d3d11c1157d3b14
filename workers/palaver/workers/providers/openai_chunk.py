"""The chunk of a chat/completions stream: the fields that are used, and the lenient way to them.

The common chunk is decoded by type, skipping everything else. Whatever does not fit (half a character, a
list as content, a number as the model's name) goes through `json` and ends in the same structs; only what
would lose text of the answer is an error.
"""

from typing import Any

import msgspec

from palaver.workers.providers.lenient import content_text, dictionaries, dictionary, integer, text, unfit


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
    function_call: Function | None = None  # the one call of the older format


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


def lenient_chunk(document: dict[str, Any]) -> Chunk:
    """A chunk from any JSON object: values of the wrong type are brought into shape or left out.

    Raises MalformedStreamError where an answer stands in a form that nobody can read.
    """
    choices = document.get("choices")
    if choices is not None and not isinstance(choices, list):
        raise unfit("choices", choices)
    return Chunk(
        choices=[_choice(item) for item in dictionaries(choices)],
        usage=dictionary(document.get("usage")),
        model=text(document.get("model")),
        error=document.get("error"),
        x_groq=dictionary(document.get("x_groq")),
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
        finish_reason=text(item.get("finish_reason")),
        index=integer(item.get("index")),
        error=item.get("error"),
    )


def _delta(item: Any) -> Delta | None:
    if not isinstance(item, dict):
        return None
    content = item.get("content")
    thought = text(item.get("reasoning_content")) or text(item.get("reasoning"))
    return Delta(
        content=_joined(content, "text"),
        reasoning_content=thought or _joined(content, "thinking"),
        refusal=text(item.get("refusal")),
        tool_calls=[_fragment(call) for call in dictionaries(item.get("tool_calls"))] or None,
        function_call=_function(item.get("function_call")),
    )


def _joined(content: Any, kind: str) -> str | None:
    """The text of one kind in a content that may be a list of parts (Mistral), whose thinking is a list
    again.
    """
    if not isinstance(content, list):
        return content_text(content) if kind == "text" else None
    texts = []
    for part in content:
        if isinstance(part, dict) and part.get("type") == kind:
            value = part.get(kind)
            texts.append((_joined(value, "text") if isinstance(value, list) else text(value)) or "")
    return "".join(texts)


def _fragment(call: dict[str, Any]) -> Fragment:
    function = _function(call.get("function")) or _function(call)
    return Fragment(index=integer(call.get("index")), id=text(call.get("id")), function=function)


def _function(item: Any) -> Function | None:
    if not isinstance(item, dict):
        return None
    arguments = item.get("arguments")
    return Function(
        name=text(item.get("name")), arguments=arguments if isinstance(arguments, str | dict) else None
    )
