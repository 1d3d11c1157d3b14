"""What each tenant may have now: the tables of `palaver.toml` may change while a worker runs."""

from palaver.shared.errors import ConfigurationError
from palaver.shared.settings import Settings
from palaver.shared.tenants import Tenant, Tenants
from palaver.workers.event_log import event_logger
from palaver.workers.file_stamps import stamps_of

__all__ = ["Tenancy"]

logger = event_logger("palaver.workers.service")


class Tenancy:
    """The tables as they were read last. Raises ConfigurationError."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stamps = stamps_of([settings.config])
        self._tenants = Tenants.load(settings)

    def of(self, tenant: str | None) -> Tenant:
        """The part of the tenant that a job names, or of those that name none."""
        return self._tenants.of(tenant)

    def renew(self) -> bool:
        """Read the tables again, if their file was written; whether they say something else now.

        Tables that cannot be read are told in the log, and change nothing.
        """
        if (stamps := stamps_of([self._settings.config])) == self._stamps:
            return False
        self._stamps = stamps
        try:
            tenants = Tenants.load(self._settings)
        except ConfigurationError as error:
            logger.error("tenants.refused", reason=str(error))
            return False
        if tenants == self._tenants:
            return False
        self._tenants = tenants
        logger.info("tenants.renewed")
        return True
