"""The events of a messages stream: the fields that are used, and the lenient way to them.

The common event is decoded by type, skipping everything else. Whatever does not fit goes through `json` and
ends in the same structs; only what would lose text of the answer is an error.
"""

from typing import Any

import msgspec

from palaver.workers.providers.lenient import content_text, dictionaries, dictionary, integer, text


class Block(msgspec.Struct, gc=False):
    """A block of content: whole in a body, as it begins in a stream."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None  # thinking that the provider does not show
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | str | None = None


class Delta(msgspec.Struct, gc=False):
    """What an event adds to a block, or to the message."""

    type: str | None = None
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    partial_json: str | dict[str, Any] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class Message(msgspec.Struct, gc=False):
    """An answer: empty at the beginning of a stream, whole in a body."""

    model: str | None = None
    content: list[Block] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: dict[str, Any] | None = None


class Event(msgspec.Struct, gc=False):
    """One event."""

    type: str | None = None
    index: int | None = None
    delta: Delta | None = None
    content_block: Block | None = None
    message: Message | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


decode_event = msgspec.json.Decoder(Event).decode


def lenient_event(document: dict[str, Any]) -> Event:
    """An event from any JSON object: values of the wrong type are left out.

    Raises MalformedStreamError where an answer stands in a form that nobody can read.
    """
    block = dictionary(document.get("content_block"))
    message = dictionary(document.get("message"))
    return Event(
        type=text(document.get("type")),
        index=integer(document.get("index")),
        delta=_delta(document.get("delta")),
        content_block=None if block is None else _block(block),
        message=None if message is None else lenient_message(message),
        usage=dictionary(document.get("usage")),
        error=document.get("error"),
    )


def lenient_message(document: dict[str, Any]) -> Message:
    """A message from any JSON object. Raises MalformedStreamError, as above."""
    content = document.get("content")
    if not isinstance(content, list):
        # A few servers give the one text instead of a list of blocks.
        content = [{"type": "text", "text": content}] if content is not None else []
    return Message(
        model=text(document.get("model")),
        content=[_block(block) for block in dictionaries(content)],
        stop_reason=text(document.get("stop_reason")),
        stop_sequence=text(document.get("stop_sequence")),
        usage=dictionary(document.get("usage")),
    )


def _block(item: dict[str, Any]) -> Block:
    given = item.get("input")
    return Block(
        type=text(item.get("type")),
        text=content_text(item.get("text")),
        thinking=text(item.get("thinking")),
        signature=text(item.get("signature")),
        data=text(item.get("data")),
        id=text(item.get("id")),
        name=text(item.get("name")),
        input=given if isinstance(given, dict | str) else None,
    )


def _delta(item: Any) -> Delta | None:
    if not isinstance(item, dict):
        return None
    piece = item.get("partial_json")
    return Delta(
        type=text(item.get("type")),
        text=content_text(item.get("text")),
        thinking=text(item.get("thinking")),
        signature=text(item.get("signature")),
        partial_json=piece if isinstance(piece, dict | str) else None,
        stop_reason=text(item.get("stop_reason")),
        stop_sequence=text(item.get("stop_sequence")),
    )
