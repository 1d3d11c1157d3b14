"""What each tenant may have, as a worker follows it and tells of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from palaver.shared import tenancy
from palaver.shared.errors import ConfigurationError
from palaver.shared.settings import Settings
from palaver.workers.event_log import event_logger

__all__ = ["Tenancy"]

logger = event_logger("palaver.workers.service")


class Tenancy(tenancy.Tenancy):
    """The tables as they were read last. Raises ConfigurationError."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._most_jobs = settings.max_jobs
        self.announcements = self._announced()
        """What producers are to hold to, under its digest: workers with the same tables say it once."""

    def renew(self) -> bool:
        """See `Tenancy.renew`; tables that cannot be read are told in the log."""
        try:
            is_new = super().renew()
        except ConfigurationError as error:
            logger.error("tenants.refused", reason=str(error))
            return False
        if is_new:
            self.announcements = self._announced()
            logger.info("tenants.renewed")
        return is_new

    def _announced(self) -> Mapping[str, Mapping[str, Any]]:
        bounds = {"jobs": self._most_jobs, "tenants": self.tenants.bounds}
        digest = hashlib.sha256(orjson.dumps(bounds, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return {digest[:16]: bounds}
