"""Sealed profiles: kept as long as the jobs that name them."""

from collections.abc import Sequence
from typing import Any

from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Command, Operation, Query, milliseconds, reply_error
from palaver.shared.ledger.scripts import load


def keep_profile(keys: Keys, name: str, content: bytes = b"", *, seconds: float) -> Operation[bool]:
    """Keep a sealed profile for at least so long; without its content, one that is there already.

    Whether it is there. Raises LedgerFullError.
    """

    def decode(raw: Any) -> bool:
        if isinstance(raw, Exception):
            raise reply_error(raw)
        return bool(raw)

    args = (milliseconds(seconds), content)
    return Operation(script=load("keep_profile"), keys=(keys.profile(name),), args=args, decode=decode)


def sealed_profile(keys: Keys, name: str) -> Query[bytes | None]:
    """A sealed profile's content; None if it is not there."""

    def decode(replies: Sequence[Any]) -> bytes | None:
        found: bytes | None = replies[0]
        return found

    return Query(commands=(Command("GET", keys.profile(name)),), decode=decode)
