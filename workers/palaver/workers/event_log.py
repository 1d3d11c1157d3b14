"""Lines of a worker's log: the name of an event, and the facts of it.

The facts stand in the message itself, and as attributes of the record too: a line is whole under whatever
handlers and formatters Celery, or a user's own logging configuration, has set up.
"""

import json
import logging
import re
from collections.abc import MutableMapping
from typing import Any, Final

__all__ = ["event_logger"]

_PLAIN: Final = re.compile(r"[^\s\"=\x00-\x1f\x7f-\U0010ffff]+")
_LONGEST_FACT: Final = 200  # characters; ids, codes and names are shorter


class EventLogger(logging.LoggerAdapter[logging.Logger]):
    """`logger.info("job.ended", extra={"job_id": …})` logs `job.ended job_id=…`.

    Facts are ids, codes, names and numbers, never content; one that is None is left out of the line. What
    came from outside cannot forge a line: it is quoted, and cut. Lines below the event's name stay there.
    """

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """The event's name with its facts; see `logging.LoggerAdapter.process`."""
        facts = kwargs.get("extra") or {}
        told = [f"{name}={_shown(value)}" for name, value in facts.items() if value is not None]
        event, line_end, below = str(msg).partition("\n")
        return " ".join([event, *told]) + line_end + below, kwargs


def event_logger(name: str) -> EventLogger:
    """The logger of this name, for events with facts. An event that has facts takes no `%` arguments."""
    return EventLogger(logging.getLogger(name), {})


def _shown(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if len(text) > _LONGEST_FACT:
        text = f"{text[: _LONGEST_FACT - 1]}…"
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
