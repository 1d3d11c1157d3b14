"""A conversation as the messages API wants it: the system prompt apart, blocks of content, results of tools
in the user's next message.
"""

import re
from collections.abc import Sequence
from typing import Any

from palaver.shared.messages import ImagePart, Message, Role, TextPart
from palaver.workers.providers import wire

Blocks = list[dict[str, Any]]

_DATA_URL = re.compile(r"data:(?P<type>[^;,]+);base64,(?P<data>.*)", re.DOTALL)
_CALL_ID = re.compile(r"[A-Za-z0-9_-]+")
_SYSTEM = (Role.SYSTEM, Role.DEVELOPER)


def system(messages: Sequence[Message]) -> str | Blocks | None:
    """Every system message, wherever it stood: the API knows one place for them."""
    found = [message for message in messages if message.role in _SYSTEM]
    if all(isinstance(message.content, str) for message in found) and not any(_marked(m) for m in found):
        return "\n\n".join(message.text for message in found if message.text.strip()) or None
    return [block for message in found for block in _marks(message, _content(message))] or None


def conversation(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The other messages. Neighbours of one role become one message: the results of calls that were made
    together have to come together.
    """
    turns: list[tuple[str, Blocks]] = []
    for message in messages:
        if message.role in _SYSTEM or not (blocks := _marks(message, _blocks(message))):
            continue
        role = "assistant" if message.role is Role.ASSISTANT else "user"
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    return [{"role": role, "content": _shortest(blocks)} for role, blocks in turns]


def _blocks(message: Message) -> Blocks:
    if message.role is Role.TOOL:
        return [_result(message)]
    called: Blocks = [
        {
            "type": "tool_use",
            "id": wire.call_id(call.id, _CALL_ID),
            "name": call.name,
            "input": wire.arguments_object(call),
        }
        for call in message.tool_calls or ()
    ]
    thought = (message.model_extra or {}).get("thinking_blocks") if called else None
    return [*(thought or []), *_content(message), *called]


def _result(message: Message) -> dict[str, Any]:
    result: dict[str, Any] = {
        "type": "tool_result",
        "tool_use_id": wire.call_id(message.tool_call_id or "", _CALL_ID),
    }
    if content := _content(message):
        result["content"] = _shortest(content)
    if (message.metadata or {}).get("is_error"):
        result["is_error"] = True
    return result


def _content(message: Message) -> Blocks:
    """Text and images. White space alone is refused, and left out."""
    if not isinstance(message.content, list):
        return [{"type": "text", "text": message.content}] if (message.content or "").strip() else []
    return [
        _image(part)
        if isinstance(part, ImagePart)
        else {**part.model_dump(exclude_unset=True), "type": "text"}
        for part in message.content
        if isinstance(part, ImagePart) or (isinstance(part, TextPart) and part.text.strip())
    ]


def _image(part: ImagePart) -> dict[str, Any]:
    url = part.image_url.url
    source = {"type": "url", "url": url}
    if inline := _DATA_URL.fullmatch(url):
        source = {"type": "base64", "media_type": inline["type"], "data": inline["data"]}
    return {**(part.model_extra or {}), "type": "image", "source": source}


def _marked(message: Message) -> bool:
    return "cache_control" in (message.model_extra or {})


def _marks(message: Message, blocks: Blocks) -> Blocks:
    """A message that is to be the end of a cached prompt says so in its last block."""
    if blocks and _marked(message):
        blocks[-1] = {**blocks[-1], "cache_control": (message.model_extra or {})["cache_control"]}
    return blocks


def _shortest(blocks: Blocks) -> str | Blocks:
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks
