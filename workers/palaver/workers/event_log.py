"""Lines of a worker's log: the name of an event, and the facts of it.

    logger = event_logger("palaver.workers.runner")
    logger.info("job.ended", job_id=job_id, status="completed")

The facts stand in the message itself, and as attributes of the record too: a line is whole under whatever
handlers and formatters Celery, or a user's own logging configuration, has set up. `json_formatter` is the
one for machines.
"""

import json
import logging
import re
from typing import Any, Final

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["event_logger", "json_formatter"]

_PLAIN: Final = re.compile(r"[^\s\"=\x00-\x1f\x7f-\U0010ffff]+")
_LONGEST_FACT: Final = 200  # characters; ids, codes and names are shorter
_FROM_CALLER: Final = 4  # `stacklevel`: three frames of structlog's are not where a line is from


def event_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of this name, for events with facts.

    Facts are ids, codes, names and numbers, and content only of the one event that exists for it; one that is
    None is left out. What came from outside cannot forge a line: it is quoted, and cut; the record and its
    JSON have it whole. Lines below the event's name stay there.
    """
    logger: structlog.stdlib.BoundLogger = structlog.wrap_logger(
        logging.getLogger(name),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[structlog.stdlib.filter_by_level, _to_record],
    )
    return logger


def json_formatter() -> logging.Formatter:
    """One object a line: `timestamp` (UTC), `level`, `logger`, `event`, and the facts by their names.

    Of lines that are no events, such as Celery's own, `event` is the message. Lines below an event's name are
    its `frames`.
    """
    stamped: list[Processor] = [
        _from_record,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=stamped,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(lambda event, **_: orjson.dumps(event, default=str).decode()),
        ],
    )


def _to_record(_: WrappedLogger, __: str, event_dict: EventDict) -> tuple[tuple[str], dict[str, Any]]:
    """What the standard library's logger is called with."""
    passed = {name: event_dict.pop(name) for name in ("exc_info", "stack_info") if name in event_dict}
    event, line_end, below = str(event_dict.pop("event")).partition("\n")
    facts = {name: value for name, value in event_dict.items() if value is not None}
    told = [f"{name}={_shown(value)}" for name, value in facts.items()]
    message = " ".join([event, *told]) + line_end + below
    # the message is whole: no argument may fill a `%` of its facts
    extra = {**facts, "palaver_event": (event, facts, below)}
    return (message,), {"extra": extra, "stacklevel": _FROM_CALLER, **passed}


def _from_record(_: WrappedLogger, __: str, event_dict: EventDict) -> EventDict:
    """An event's facts, which its record carries; no other attribute of a record: Celery's have arguments."""
    event, facts, below = getattr(event_dict["_record"], "palaver_event", (event_dict["event"], {}, ""))
    told = {**facts, "frames": below} if below else facts
    return {**event_dict, **told, "event": event}


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        text = orjson.dumps(value, default=str).decode()
    else:
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if len(text) > _LONGEST_FACT:
        text = f"{text[: _LONGEST_FACT - 1]}…"
    return text if _PLAIN.fullmatch(text) else json.dumps(text)
