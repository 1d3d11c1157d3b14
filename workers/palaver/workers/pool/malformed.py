"""How a message is told that is none of a task."""

from contextlib import suppress
from typing import Any, Final, TypeGuard

from kombu.exceptions import KombuError

__all__ = ["MALFORMED", "is_for", "is_task_id", "task_of"]

MALFORMED: Final = (
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    RecursionError,
    OverflowError,  # of a time beyond all times
)
"""What Celery raises of one."""
JSON: Final = "application/json"
LONGEST_ID: Final = 1000
"""Of a task, in characters: Celery's log and events have it again and again."""


def is_task_id(told: Any) -> TypeGuard[str]:
    """Whether it can be a task's id."""
    return isinstance(told, str) and len(told) <= LONGEST_ID


def task_of(message: Any) -> Any:
    """The name of a message's task; those of Celery's first protocol have it in their body. Nothing but JSON
    is read for that: nobody has looked yet at what the application accepts.
    """
    headers = getattr(message, "headers", None)
    if not isinstance(headers, dict):
        return None
    if "task" not in headers and message.content_type == JSON:
        with suppress(*MALFORMED, KombuError):
            return message.decode()["task"]
    return headers.get("task")


def is_for(message: Any, task: str) -> bool:
    """Whether it is one of this task."""
    return bool(task_of(message) == task)
