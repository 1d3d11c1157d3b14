"""What tenants with a limit have spent in a month, request by request.

Days (`spending`) have what ended jobs have spent; a limit is not to wait for the end of a batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Command, Operation, Query, text
from palaver.shared.ledger.operations.reading import checked
from palaver.shared.ledger.operations.spending import NANO
from palaver.shared.ledger.scripts import load

KEPT_MS: Final = 62 * 24 * 3600 * 1000
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


def spent_in_month(keys: Keys, day: date, tenant: str) -> Query[float | None]:
    """Dollars; None while it is not counted for this tenant."""

    def decode(replies: Sequence[Any]) -> float | None:
        base, since = replies[0]
        return None if base is None else (int(base) + int(since or 0)) / NANO

    return Query(commands=(Command("HMGET", keys.spent(day, tenant), "base", "nanos"),), decode=decode)


def spent_by_batch(keys: Keys, batch_id: str) -> Query[tuple[str, float]]:
    """The tenant of a batch, and the dollars that its lines have spent by now."""

    def decode(replies: Sequence[Any]) -> tuple[str, float]:
        tenant, flat = replies
        fields = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
        nanos = sum(int(much) for name, much in fields.items() if text(name).startswith("nanos "))
        return text(tenant or b""), nanos / NANO

    batch = keys.batch(batch_id)
    commands = (Command("HGET", batch, "tenant"), Command("HGETALL", f"{batch}:spent"))
    return Query(commands=commands, decode=decode)


def begin_month(keys: Keys, day: date, tenant: str, dollars: float) -> Query[None]:
    """Count from now on; so much was spent before. Who is first says it."""
    spent = keys.spent(day, tenant)
    commands = (
        Command("HSETNX", spent, "base", round(dollars * NANO)),
        Command("PEXPIRE", spent, KEPT_MS),
    )
    return Query(commands=commands, decode=lambda _replies: None)


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
) -> Operation[Standing | None]:
    """Add what a worker's requests have cost, in billionths of a dollar, and say what those that run may cost
    yet, all together: for a minute, then it is to be said again. `number` is its own count of what it says.

    With `one_more`, what a further request may cost: whether it may run, which is then among those held. It
    may while what was spent and is held is less than `hard` dollars. None: nobody has begun the month.
    """

    def decode(raw: Any) -> Standing | None:
        word, *words = checked(raw)
        if text(word) == "unbegun":
            return None
        spent, in_all, may_run = map(int, words)
        return Standing(spent / NANO, in_all / NANO, bool(may_run))

    return Operation(
        script=load("spend"),
        keys=(keys.spent(day, tenant),),
        args=(
            *(worker, number, nanos, KEPT_MS, held, _HELD_MS),
            "" if one_more is None else one_more,
            "" if hard is None else round(hard * NANO),
        ),
        decode=decode,
    )
