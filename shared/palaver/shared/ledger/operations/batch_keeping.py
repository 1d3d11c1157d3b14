"""What is kept of batches outside of the ledger, and whose it is: noted before anything of it is stored."""

from collections.abc import Sequence
from typing import Any, Final

from palaver.shared.batches import BatchJob
from palaver.shared.ledger.keys import Keys, due_member
from palaver.shared.ledger.operation import Command, Query, Retention, milliseconds
from palaver.shared.owner import Owner

_KEPT: Final = 400 * 24 * 3600
"""Seconds, as `due`."""


def note_batch(keys: Keys, batch: BatchJob, *, time: float, retention: Retention) -> Query[None]:
    """Before its lines are stored, at `time` (of Redis): they are somebody's, also if it is never opened.

    Raises LedgerFullError.
    """
    owner = Owner(tenant=batch.tenant, user=batch.user)
    if not owner.is_somebody:
        return Query(commands=(), decode=_nothing)
    listed, until = keys.owner_batches(owner), milliseconds(time + batch.completion_window + retention.batch)
    commands = (
        Command("ZREMRANGEBYSCORE", listed, "-inf", milliseconds(time)),
        Command("ZADD", listed, "GT", until, batch.batch_id),
        Command("PEXPIREAT", listed, until + milliseconds(_KEPT)),
    )
    return Query(commands=commands, decode=_nothing)


def batches_of(keys: Keys, owner: Owner) -> Query[list[str]]:
    """Somebody's batches. With an idempotency key, another user of the tenant may have opened one of them."""

    def decode(replies: Sequence[Any]) -> list[str]:
        return [entry.decode() for entry in replies[0]]

    return Query(commands=(Command("ZRANGE", keys.owner_batches(owner), 0, -1),), decode=decode)


def forget_batch(keys: Keys, batch_id: str) -> Query[None]:
    """Take a batch that was erased off the lists of what is to be done."""
    commands = (
        Command("ZREM", keys.batches, batch_id),
        Command("ZREM", keys.webhooks, due_member(batch_id, batch_id)),
    )
    return Query(commands=commands, decode=_nothing)


def unlist_batch(keys: Keys, owner: Owner, batch_id: str) -> Query[None]:
    """Take a batch off its owner's list."""
    return Query(commands=(Command("ZREM", keys.owner_batches(owner), batch_id),), decode=_nothing)


def _nothing(_replies: Sequence[Any]) -> None:
    return None
