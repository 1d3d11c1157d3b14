"""What tenants with a limit have spent in a month, request by request.

Days (`spending`) have what ended jobs have spent; a limit is not to wait for the end of a batch.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Command, Operation, Query
from palaver.shared.ledger.operations.reading import checked
from palaver.shared.ledger.operations.spending import NANO
from palaver.shared.ledger.scripts import load

KEPT_MS: Final = 62 * 24 * 3600 * 1000
"""A month, and one more."""


def spent_in_month(keys: Keys, day: date, tenant: str) -> Query[float | None]:
    """Dollars; None while it is not counted for this tenant."""

    def decode(replies: Sequence[Any]) -> float | None:
        base, since = replies[0]
        return None if base is None else (int(base) + int(since or 0)) / NANO

    return Query(commands=(Command("HMGET", keys.spent(day, tenant), "base", "nanos"),), decode=decode)


def begin_month(keys: Keys, day: date, tenant: str, dollars: float) -> Query[None]:
    """Count from now on; so much was spent before. Who is first says it."""
    spent = keys.spent(day, tenant)
    commands = (
        Command("HSETNX", spent, "base", round(dollars * NANO)),
        Command("PEXPIRE", spent, KEPT_MS),
    )
    return Query(commands=commands, decode=lambda _replies: None)


def spend(keys: Keys, day: date, tenant: str, *, worker: str, number: int, nanos: int) -> Operation[float]:
    """Add what a worker's requests have cost, in billionths of a dollar; dollars in all. `number` is its own
    count of additions.
    """
    return Operation(
        script=load("spend"),
        keys=(keys.spent(day, tenant),),
        args=(worker, number, nanos, KEPT_MS),
        decode=lambda raw: int(checked(raw)[1]) / NANO,
    )
