"""The bounds that a producer holds to, as a conversation without I/O: those of its own configuration and
those that workers announce, each time the stricter. So one without a table is bounded as workers are, also
when the last of them is gone, and an old copy of it loosens nothing.
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
from palaver.shared.ledger.operations import tables
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
        self._announced: Sequence[Announcement] = ()
        self._unread: set[str] = set()
        self._looked = float("-inf")

    def now(self, keys: Keys) -> Exchange[Bounds]:
        """See `InForce`. Raises ConfigurationError for a table that cannot be read, the first time: later
        ones are told in the log, and the last good one holds.
        """
        if time.monotonic() - self._looked >= FRESH_SECONDS:
            own = self._renewed()
            found = yield from exchange.query(tables.announced_bounds(keys))
            # None at all says nothing: a worker without bounds announces that.
            self._announced = found or self._announced
            others = [bounds for each in self._announced if (bounds := self._said(each)) is not None]
            self._bounds = _strictest(Bounds(self._settings.max_jobs, own), others)
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

    def _said(self, announcement: Announcement) -> Bounds | None:
        """None if that bounds nothing, or is of a version that says it otherwise, which is told once."""
        try:
            return _bounds_in(announcement.data)
        except (KeyError, TypeError, AttributeError, ValidationError) as error:
            if announcement.name not in self._unread:
                self._unread = {*self._unread, announcement.name} & {each.name for each in self._announced}
                log.warning("bounds_unread announced=%s error=%s", announcement.name, type(error).__name__)
            return None


def _strictest(own: Bounds, others: Sequence[Bounds]) -> Bounds:
    if not others:
        return own
    jobs = [bounds.jobs for bounds in (own, *others) if bounds.jobs is not None]
    tables = [bounds.tenants for bounds in (own, *others)]
    return Bounds(min(jobs, default=None), Strictest(tables))


def _bounds_in(data: dict[str, Any]) -> Bounds | None:
    bounds = Bounds(data.get("jobs"), Tenants.bounded(data["tenants"]))
    return bounds if data["tenants"] or bounds.jobs is not None else None
