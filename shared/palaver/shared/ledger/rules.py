"""The bounds that a producer holds to, as a conversation without I/O: those of its own configuration and
those that workers announce, each time the stricter. So one without a table is bounded as workers are, and an
old copy of it loosens nothing.
"""

import logging
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

from palaver.shared.errors import ConfigurationError, ValidationError
from palaver.shared.ledger import exchange
from palaver.shared.ledger.admission import UNBOUNDED, Bounds
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operations import reading
from palaver.shared.ledger.views import Announcement
from palaver.shared.settings import Settings
from palaver.shared.tenancy import Tenancy
from palaver.shared.tenants import Strictest, Tenants

__all__ = ["InForce", "Rules"]

log = logging.getLogger("palaver.tenants")

FRESH_SECONDS: Final = 5.0
"""So old may be what a producer knows of them, as of the profiles that workers announce."""


class InForce(Protocol):
    """Bounds, or where they are found."""

    def now(self, keys: Keys) -> Exchange[Bounds]:
        """The bounds that hold now."""
        ...


class Rules:
    """Looked at again every five seconds, when somebody asks for them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._own: Tenancy | None = None
        self._bounds = UNBOUNDED
        self._looked = float("-inf")

    def now(self, keys: Keys) -> Exchange[Bounds]:
        """See `InForce`. Raises ConfigurationError for a table that cannot be read, the first time: later
        ones are told in the log, and the last good one holds.
        """
        if time.monotonic() - self._looked >= FRESH_SECONDS:
            own = self._renewed()
            found = yield from exchange.run(reading.announced(keys.tenants))
            self._bounds = _strictest(Bounds(self._settings.max_jobs, own), found)
            self._looked = time.monotonic()
        return self._bounds

    def _renewed(self) -> Tenants:
        if self._own is None:
            self._own = Tenancy(self._settings)
        else:
            try:
                self._own.renew()
            except ConfigurationError as error:
                log.warning("tenants_refused reason=%s", error.message)
        return self._own.tenants


def _strictest(own: Bounds, announced: Sequence[Announcement]) -> Bounds:
    others = [bounds for each in announced if (bounds := _said(each.data)) is not None]
    if not others:
        return own
    jobs = [bounds.jobs for bounds in (own, *others) if bounds.jobs is not None]
    tables = [bounds.tenants for bounds in (own, *others)]
    return Bounds(min(jobs, default=None), Strictest(tables))


def _said(data: dict[str, Any]) -> Bounds | None:
    """What a worker has announced; None if that bounds nothing, or is of a version that says it otherwise."""
    try:
        bounds = Bounds(data.get("jobs"), Tenants.bounded(data["tenants"]))
    except (KeyError, TypeError, AttributeError, ValidationError):
        return None
    return bounds if data["tenants"] or bounds.jobs is not None else None
