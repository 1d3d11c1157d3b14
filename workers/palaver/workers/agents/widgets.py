"""What an agent shows beside its text."""

from __future__ import annotations

import time
from typing import Any

import orjson
import uuid_utils

from palaver.workers.agents.conversation import as_json, conversation
from palaver.workers.agents.outbox import Told

__all__ = ["display_widget", "send_content"]


def display_widget(widget_type: str, data: Any = None) -> None:
    """Show a component: a `widget` event, in order with the text.

    The response lists them as `widgets`. Raises TypeError for data that is no JSON, before
    anything is sent; WrongStateError, a RuntimeError, where no agent answers.
    """
    shown = {"widget_type": _word(widget_type, "widget_type"), "data": as_json(data, "data")}
    _tell("widget", {**shown, "timestamp": time.time(), "id": str(uuid_utils.uuid7())})


def send_content(content_type: str, data: Any = None) -> None:
    """Send an object that is no text, an image or metadata: a `content` event. Raises as `display_widget`."""
    _tell("content", {"content_type": _word(content_type, "content_type"), "data": as_json(data, "data")})


def _word(value: str, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{name} must be a word, not {value!r:.40}")
    return value


def _tell(kind: str, data: dict[str, Any]) -> None:
    conversation().outbox.put(Told(kind, data), len(orjson.dumps(data)))
