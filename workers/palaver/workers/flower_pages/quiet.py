"""What Flower's connection to the broker says, without what it would say every second."""

import logging
from typing import Final

__all__ = ["quieten"]

EVERY_SECONDS: Final = 600.0
SELDOM: Final = {
    "kombu.transport.redis": "maybe_refresh_binding_expiry",
    "flower.events": "Failed to capture events",
}
"""How the messages of a logger begin that a Redis which takes no writes has it say every second."""


class _Seldom(logging.Filter):
    """Lets through one in ten minutes of the messages that begin so, without its traceback."""

    def __init__(self, beginning: str) -> None:
        super().__init__()
        self._beginning = beginning
        self._told = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if not str(record.msg).startswith(self._beginning):
            return True
        record.exc_info = None
        if record.created - self._told < EVERY_SECONDS:
            return False
        self._told = record.created
        return True


def quieten() -> None:
    """For this process."""
    for name, beginning in SELDOM.items():
        logging.getLogger(name).addFilter(_Seldom(beginning))
