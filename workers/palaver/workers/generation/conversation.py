"""A session's history as providers take it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, takewhile

from palaver.shared.messages import Message, Role

__all__ = ["answered"]


def answered(history: Sequence[Message], following: Sequence[Message]) -> list[Message]:
    """The history without calls that nobody has answered, and without results of calls that it no longer has.

    Providers refuse both. `following` are the messages after it, which may answer its last calls.
    """
    kept: list[Message] = []
    open_ids: set[str] = set()
    for place, message in enumerate(history):
        if message.role is Role.TOOL:
            if message.tool_call_id in open_ids:
                kept.append(message)
            continue
        # One by one: the list of what follows each would take a long history's length squared.
        behind = (history[after] for after in range(place + 1, len(history)))
        results = takewhile(_is_result, chain(behind, following)) if message.tool_calls else ()
        ids = {result.tool_call_id for result in results}
        calls = [call for call in message.tool_calls or () if call.id in ids]
        open_ids = {call.id for call in calls}
        if calls != (message.tool_calls or []):
            message = message.model_copy(update={"tool_calls": calls or None})
        if calls or message.content is not None:
            kept.append(message)
    return kept


def _is_result(message: Message) -> bool:
    return message.role is Role.TOOL
