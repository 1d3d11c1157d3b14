"""Notices to workers, heeded at once. A notice may be missed; what it is about stands in the ledger too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from palaver.shared.ledger.subscriptions import Signal, Subscriptions
from palaver.workers.event_log import event_logger

__all__ = ["Control", "Heeding"]

logger = event_logger("palaver.workers.control")

Heeding = Mapping[str, Callable[[dict[str, Any]], object]]
"""What is done about a notice, by its type."""


class Control:
    """Listens on the control channel. `missed` is called when notices may have been: at each connection."""

    def __init__(
        self, subscriptions: Subscriptions, channel: str, *, heeding: Heeding, missed: Callable[[], object]
    ) -> None:
        self._subscriptions = subscriptions
        self._channel = channel
        self._heeding = heeding
        self._missed = missed

    async def run(self) -> None:
        """Heed notices until cancelled."""
        async with self._subscriptions.listen(self._channel) as inbox:
            while True:
                for notice in await inbox.receive():
                    if isinstance(notice, Signal):
                        self._missed()
                    else:
                        self._heed(notice)

    def _heed(self, notice: bytes) -> None:
        try:
            said = orjson.loads(notice)
            heed = self._heeding.get(said["type"])
            if heed is not None:
                heed(said)
        except (orjson.JSONDecodeError, KeyError, TypeError):
            logger.warning("worker.notice_ignored", bytes=len(notice))
