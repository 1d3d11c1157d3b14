"""Removing all that the ledger has of some sessions, as a conversation without I/O."""

from collections.abc import Collection, Iterator

from palaver.shared.ledger import exchange
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.keys import Keys, due_member
from palaver.shared.ledger.operation import Command, Query
from palaver.shared.ledger.operations import reading
from palaver.shared.names import QUEUES

PAGE = 1000
"""Keys that Redis looks at in one step."""


def erase(keys: Keys, session_ids: Collection[str]) -> Exchange[int]:
    """Remove every key of these sessions, and what other keys say of their jobs; how many keys there were.

    Looks at all keys of the namespace: of its older jobs a session has no list. Their jobs are to have ended.
    """
    wanted, found, cursor = set(session_ids), 0, 0
    while wanted:
        cursor, page = yield from exchange.query(reading.scan(keys, cursor=cursor, count=PAGE))
        own = [key for key in page if keys.session_in(key) in wanted]
        if own:
            yield from exchange.query(_carried_out([Command("UNLINK", key) for key in own]))
            found += len(own)
        marks = [mark for key in own for mark in _marks(keys, key)]
        if marks:
            yield from exchange.query(_carried_out(marks))
        if cursor == 0:
            break
    forget = [Command("ZREM", keys.unarchived, session_id) for session_id in sorted(wanted)]
    if forget:
        yield from exchange.query(_carried_out(forget))
    return found


def _marks(keys: Keys, key: str) -> Iterator[Command]:
    """What there is of a job outside its session; a key that is no job's has nothing."""
    session_id, job_id = keys.session_in(key), keys.job_in(key)
    if session_id is None or job_id is None:
        return
    entry = due_member(session_id, job_id)
    yield Command("DEL", keys.index(job_id))
    for registry in (keys.due, keys.dead, *map(keys.sent, QUEUES)):
        yield Command("ZREM", registry, entry)


def _carried_out(commands: list[Command]) -> Query[None]:
    return Query(commands=tuple(commands), decode=lambda _replies: None)
