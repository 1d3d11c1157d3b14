"""What tenants have spent in a month, request by request.

Days (`spending`) have what ended jobs have spent; a limit is not to wait for the end of a batch, and one that
is set in the middle of a month is to know all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal

from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Command, Operation, Query
from palaver.shared.ledger.operations.reading import checked
from palaver.shared.ledger.operations.spending import NANO
from palaver.shared.ledger.scripts import load

_KEPT_MS: Final = 62 * 24 * 3600 * 1000
"""A month, and one more."""
_KNOWN_MS: Final = 3600 * 1000
"""What a worker has said is said again within seconds, or when its connection is there again."""
_HELD_MS: Final = 60_000
_FIRST_MS: Final = 20_000
"""Who waits looks more often. Who has gone elsewhere keeps money from others for no longer."""

Asks = Literal["look", "wait", "take"]
"""Whether one more would have room; the same, of one that waits for it and asks again; to have the room."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a tenant stands in a month, in dollars: what was `spent`, and what its requests may cost that run,
    `held`. Whether the one that was asked for `may_run`, or `is_first` of those that wait.
    """

    spent: float
    held: float
    may_run: bool
    is_first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OneMore:
    """A further request, that may cost so many `nanos`: it may run if that, what was spent and what is held
    are no more than `hard` dollars. Others leave what it needs to the first `who` has waited, for 20 seconds
    after it has asked again.
    """

    nanos: int
    hard: float | None
    who: str = ""


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
    first_said: int | None = None,
    held: int = 0,
    one_more: OneMore | None = None,
    asks: Asks = "take",
) -> Operation[Standing]:
    """Add what a worker's requests have cost, in billionths of a dollar, and say what those that run may cost
    yet, all together: for a minute, then it is to be said again. `number` is its own count of what it says,
    and known for an hour; what comes after something later changes nothing. `first_said` is the number under
    which the `nanos` were said before, if nobody knows whether that has come.

    With `one_more`: whether that may run. What is taken for it is then among what is held.
    """

    def decode(raw: Any) -> Standing:
        _, *words = checked(raw)
        spent, in_all, may_run, is_first = map(int, words)
        return Standing(spent / NANO, in_all / NANO, bool(may_run), bool(is_first))

    more = one_more or OneMore(nanos=0, hard=None)

    return Operation(
        script=load("spend"),
        keys=(keys.spent(day, tenant),),
        args=(
            *(worker, number, nanos, number if first_said is None else first_said),
            *(_KEPT_MS, _KNOWN_MS, held, _HELD_MS),
            "" if one_more is None else more.nanos,
            "" if more.hard is None else round(more.hard * NANO),
            more.who,
            asks,
            _FIRST_MS,
        ),
        decode=decode,
    )
