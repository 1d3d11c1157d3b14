"""What each tenant may have now: the tables of `palaver.toml` may change while a process runs."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from palaver.shared.file_stamps import stamps_of
from palaver.shared.settings import Settings
from palaver.shared.tenants import Tenant, Tenants

__all__ = ["Tenancy"]


class Tenancy:
    """The tables as they were read last. Raises ConfigurationError."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stamps = stamps_of([settings.config])
        self.tenants = Tenants.load(settings)

    @property
    def announcements(self) -> Mapping[str, Mapping[str, Any]]:
        """What producers are to hold to, under its digest: who has the same tables says the same."""
        bounds = {"jobs": self._settings.max_jobs, "tenants": self.tenants.bounds}
        digest = hashlib.sha256(orjson.dumps(bounds, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return {digest[:16]: bounds}

    def of(self, tenant: str | None) -> Tenant:
        """The part of the tenant that a job names, or of those that name none."""
        return self.tenants.of(tenant)

    def renew(self) -> bool:
        """Read the tables again, if their file was written; whether they say something else now.

        Tables that cannot be read change nothing, and raise ConfigurationError, once.
        """
        if (stamps := stamps_of([self._settings.config])) == self._stamps:
            return False
        self._stamps = stamps
        tenants = Tenants.load(self._settings)
        if tenants == self.tenants:
            return False
        self.tenants = tenants
        return True
