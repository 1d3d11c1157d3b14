"""How full the ledger's Redis is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from palaver.shared.ledger.operation import Command, Query

__all__ = ["Memory", "memory"]


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: what Redis uses, and the most that it may, its `maxmemory`; where it has none, all of its
    machine.
    """

    used: int
    limit: int


def memory() -> Query[Memory]:
    """Ask it. A user of Redis needs the right to INFO."""

    def decode(replies: Sequence[Any]) -> Memory:
        pairs = (line.partition(b":") for line in replies[0].splitlines())
        told = {name: value for name, colon, value in pairs if colon}
        limit = int(told.get(b"maxmemory", 0)) or int(told.get(b"total_system_memory", 0))
        return Memory(int(told[b"used_memory"]), limit)

    return Query(commands=(Command("INFO", "memory"),), decode=decode)
