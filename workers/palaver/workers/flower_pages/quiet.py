"""What Flower's connection to the broker says, without what it would say every second."""

import logging
from typing import Final

__all__ = ["quieten"]

EVERY_SECONDS: Final = 600.0
REFRESH: Final = "maybe_refresh_binding_expiry"


class _Seldom(logging.Filter):
    """A full Redis refuses to refresh the bindings of its queues. Kombu tells that each time that it asks for
    events, with a traceback.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        if not str(record.msg).startswith(REFRESH):
            return True
        record.exc_info = None
        if record.created - self._told < EVERY_SECONDS:
            return False
        self._told = record.created
        return True


def quieten() -> None:
    """For this process."""
    logging.getLogger("kombu.transport.redis").addFilter(_Seldom())
