"""Reading what was spent as a conversation without I/O."""

from collections.abc import Sequence
from datetime import date, timedelta

from palaver.shared.errors import ValidationError
from palaver.shared.ledger import exchange
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operations import spending
from palaver.shared.spending import DailyUsage

PAGE = 500
MOST_DAYS = 1000


def listing(keys: Keys, *, since: date, until: date, tenant: str | None = None) -> Exchange[list[DailyUsage]]:
    """What was spent on these days, both included, by day, tenant and model; of one tenant, or of all."""
    days = _days(since, until)
    if tenant is None:
        places = yield from exchange.query(spending.tenants(keys, days))
    else:
        places = [(day, tenant) for day in days]
    found: list[DailyUsage] = []
    for start in range(0, len(places), PAGE):
        found += yield from exchange.query(spending.rows(keys, places[start : start + PAGE]))
    return found


def _days(since: date, until: date) -> Sequence[date]:
    days = (until - since).days + 1
    if not 1 <= days <= MOST_DAYS:
        told = f"since: must be a day up to {until}, and at most {MOST_DAYS} days in all; it is {since}"
        raise ValidationError(told, param="since")
    return [since + timedelta(days=n) for n in range(days)]
