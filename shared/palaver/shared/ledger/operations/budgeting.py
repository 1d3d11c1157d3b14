"""What tenants have spent in a month, request by request.

Days (`spending`) have what ended jobs have spent; a limit is not to wait for the end of a batch, and one that
is set in the middle of a month is to know all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Command, Operation, Query
from palaver.shared.ledger.operations.reading import checked
from palaver.shared.ledger.operations.spending import NANO
from palaver.shared.ledger.scripts import load

_DAY_MS: Final = 24 * 3600 * 1000
_KEPT_MS: Final = 62 * _DAY_MS
"""A month, and one more."""
_HELD_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Standing:
    """How a tenant stands in a month, in dollars: what was `spent`, and what its requests may cost that run,
    `held`. Whether the one that was asked for `may_run`.
    """

    spent: float
    held: float
    may_run: bool


def spent_in_month(keys: Keys, day: date, tenant: str) -> Query[float]:
    """Dollars."""

    def decode(replies: Sequence[Any]) -> float:
        return int(replies[0] or 0) / NANO

    return Query(commands=(Command("GET", keys.spent(day, tenant)),), decode=decode)


def spend(
    keys: Keys,
    day: date,
    tenant: str,
    *,
    worker: str,
    number: int,
    nanos: int,
    held: int = 0,
    one_more: int | None = None,
    hard: float | None = None,
) -> Operation[Standing]:
    """Add what a worker's requests have cost, in billionths of a dollar, and say what those that run may cost
    yet, all together: for a minute, then it is to be said again. `number` is its own count of what it says,
    and known for a day.

    With `one_more`, what a further request may cost: whether it may run, which is then among those held. It
    may while that, what was spent and what is held are no more than `hard` dollars together.
    """

    def decode(raw: Any) -> Standing:
        _, *words = checked(raw)
        spent, in_all, may_run = map(int, words)
        return Standing(spent / NANO, in_all / NANO, bool(may_run))

    return Operation(
        script=load("spend"),
        keys=(keys.spent(day, tenant),),
        args=(
            *(worker, number, nanos, _KEPT_MS, _DAY_MS, held, _HELD_MS),
            "" if one_more is None else one_more,
            "" if hard is None else round(hard * NANO),
        ),
        decode=decode,
    )
