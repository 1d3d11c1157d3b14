"""How a worker answers somebody who asked it something: by a key that lives for a minute, and a word on the
channel of its name.
"""

from collections.abc import Sequence
from typing import Any, Final

from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Command, Query, milliseconds

KEPT_SECONDS: Final = 60.0


def answer_probe(keys: Keys, probe_id: str, answer: bytes) -> Query[None]:
    """Tell whoever asked. The key comes first: who is woken, or listens only now, finds it."""
    key = keys.probe(probe_id)
    told = (
        Command("SET", key, answer, "PX", milliseconds(KEPT_SECONDS)),
        Command("PUBLISH", key, b"answered"),
    )
    return Query(commands=told, decode=lambda _replies: None)


def probe_answer(keys: Keys, probe_id: str) -> Query[bytes | None]:
    """The answer; None before there is one."""

    def decode(replies: Sequence[Any]) -> bytes | None:
        found: bytes | None = replies[0]
        return found

    return Query(commands=(Command("GET", keys.probe(probe_id)),), decode=decode)
