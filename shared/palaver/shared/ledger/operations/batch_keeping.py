"""What is kept of batches outside of the ledger, and whose it is: noted before anything of it is stored."""

from collections.abc import Sequence
from typing import Any, Final

from palaver.shared.batches import BatchJob
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Command, Operation, Query, Retention, milliseconds, text
from palaver.shared.ledger.operations.batches import AT_ONCE
from palaver.shared.ledger.operations.reading import checked
from palaver.shared.ledger.operations.webhooks import forgotten_webhook
from palaver.shared.ledger.scripts import load
from palaver.shared.owner import Owner

_KEPT: Final = 400 * 24 * 3600
"""Seconds, as `due`."""


def note_batch(keys: Keys, batch: BatchJob, *, time: float, retention: Retention) -> Query[None]:
    """Before its lines are stored, at `time` (of Redis): they are somebody's, and are removed some day, also
    if it is never opened. Raises LedgerFullError.
    """
    until = milliseconds(time + batch.completion_window + retention.batch)
    commands = [
        # Not sooner than was noted: the lines of an old batch with the same key are stored anew.
        Command("ZADD", keys.stored_batches, "GT", until, batch.batch_id),
        Command("EXPIRE", keys.stored_batches, _KEPT),
    ]
    owner = Owner(tenant=batch.tenant, user=batch.user)
    if owner.is_somebody:
        listed = keys.owner_batches(owner)
        commands += [
            Command("ZREMRANGEBYSCORE", listed, "-inf", milliseconds(time)),
            Command("ZADD", listed, "GT", until, batch.batch_id),
            Command("PEXPIREAT", listed, until + milliseconds(_KEPT)),
        ]
    return Query(commands=tuple(commands), decode=_nothing)


def after_retention(keys: Keys, batch_id: str, ended: int, retention: Retention) -> Command:
    """The objects of a batch that ended at this ms are to go when the ledger has forgotten it."""
    return Command("ZADD", keys.stored_batches, "XX", ended + milliseconds(retention.batch), batch_id)


def take_stored_batches(keys: Keys, *, seconds: float, limit: int) -> Operation[list[str]]:
    """At most so many batches whose objects may have to go; others are given them again after so many
    seconds.
    """

    def decode(raw: Any) -> list[str]:
        return [text(entry) for entry in checked(raw)]

    args = (milliseconds(seconds), limit)
    return Operation(script=load("take"), keys=(keys.stored_batches,), args=args, decode=decode)


def batch_removed(keys: Keys, batch_id: str) -> Query[None]:
    """Nothing of the batch is in the store any more."""
    return Query(commands=(Command("ZREM", keys.stored_batches, batch_id),), decode=_nothing)


def batches_of(keys: Keys, owner: Owner) -> Query[list[str]]:
    """Somebody's batches. With an idempotency key, another user of the tenant may have opened one of them."""

    def decode(replies: Sequence[Any]) -> list[str]:
        return [entry.decode() for entry in replies[0]]

    return Query(commands=(Command("ZRANGE", keys.owner_batches(owner), 0, -1),), decode=decode)


def open_batches(keys: Keys) -> Query[list[str]]:
    """Batches that may go on."""
    return Query(
        commands=(Command("ZRANGE", keys.batches, 0, -1),),
        decode=lambda replies: [text(entry) for entry in replies[0]],
    )


def forget_batch(keys: Keys, batch_id: str) -> Query[None]:
    """Take a batch that was erased off the lists of what is to be done."""
    commands = (
        Command("ZREM", keys.batches, batch_id),
        forgotten_webhook(keys, batch_id, batch_id),
        # Once more: a driver that has lost its lease may be storing something still.
        Command("ZADD", keys.stored_batches, "XX", AT_ONCE, batch_id),
    )
    return Query(commands=commands, decode=_nothing)


def unlist_batch(keys: Keys, owner: Owner, batch_id: str) -> Query[None]:
    """Take a batch off its owner's list."""
    return Query(commands=(Command("ZREM", keys.owner_batches(owner), batch_id),), decode=_nothing)


def _nothing(_replies: Sequence[Any]) -> None:
    return None
