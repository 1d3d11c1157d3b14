"""What each tenant may have, as a worker follows it and tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from palaver.shared import tenancy
from palaver.shared.errors import ConfigurationError
from palaver.shared.settings import Settings
from palaver.workers.event_log import event_logger

__all__ = ["Tenancy"]

logger = event_logger("palaver.workers.tenancy")


class Tenancy(tenancy.Tenancy):
    """The tables as they were read last. Raises ConfigurationError."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._announced = super().announcements

    @property
    def announcements(self) -> Mapping[str, Mapping[str, Any]]:
        """See `Tenancy.announcements`; made once for each table, as each heartbeat has them."""
        return self._announced

    def renew(self) -> bool:
        """See `Tenancy.renew`; tables that cannot be read are told in the log."""
        try:
            is_new = super().renew()
        except ConfigurationError as error:
            logger.error("tenants.refused", reason=str(error))
            return False
        if is_new:
            self._announced = super().announcements
            logger.info("tenants.renewed")
        return is_new
