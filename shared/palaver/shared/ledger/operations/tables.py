"""What workers announce of the bounds of tenants, which producers hold to."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Command, Operation, Query, text
from palaver.shared.ledger.operations import reading
from palaver.shared.ledger.views import Announcement

_KEPT_SECONDS: Final = 30 * 24 * 3600.0
"""So long bounds outlive the last worker: without any, queues grow, and are to be bounded all the more."""


def announce_bounds(
    keys: Keys, tables: Mapping[str, Mapping[str, Any]], *, seconds: float
) -> Operation[None]:
    """Say which tables a worker has, by their digests. They are in force for so many `seconds`, and until
    another worker says its own.
    """
    return reading.announce(keys.tenants, tables, seconds=seconds, kept=_KEPT_SECONDS)


def announced_bounds(keys: Keys) -> Query[list[Announcement]]:
    """Those in force when a worker announced some last, however long ago that was."""
    return Query(commands=(Command("HGETALL", keys.tenants),), decode=_latest)


def _latest(replies: Sequence[Any]) -> list[Announcement]:
    flat = replies[0]
    entries = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
    tables = {text(name): orjson.loads(said) for name, said in entries.items()}
    last = max((table["time"] for table in tables.values()), default=0.0) * 1000
    return [
        Announcement(name, table.pop("time"), table)
        for name, table in tables.items()
        if table.pop("expires") > last
    ]
