"""Removing all that the ledger has of some sessions, as a conversation without I/O."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from palaver.shared.ledger import exchange
from palaver.shared.ledger.exchange import BATCH, Exchange
from palaver.shared.ledger.keys import Keys, due_member
from palaver.shared.ledger.operation import Command, Query, text
from palaver.shared.ledger.operations import reading
from palaver.shared.ledger.operations.webhooks import forgotten_webhook
from palaver.shared.names import QUEUES

PAGE: Final = 1000
"""Keys that Redis looks at in one step."""


def erase(keys: Keys, session_ids: Collection[str]) -> Exchange[int]:
    """Remove every key of these sessions, and what other keys say of their jobs; how many keys there were.

    Their jobs are to have ended, and none is to come: they are to be closed. A session costs what it holds.
    For batches all keys of the namespace are looked at, once. May be repeated after any failure.
    """
    found, unlisted = 0, set[str]()
    for session_id in sorted(set(session_ids)):
        own = yield from _listed(keys, session_id)
        if own is None:
            unlisted.add(session_id)
        else:
            found += yield from _removed(keys, own)
            # In one step: nobody stores anything with a session of which a part is gone. And last: whoever
            # erases the session again finds what is left, and it is closed until nothing is.
            whole = Command("UNLINK", *keys.of_session(session_id))
            found += yield from exchange.query(
                Query(commands=(whole,), decode=lambda replies: int(replies[0]))
            )
    if unlisted:
        found += yield from _sought(keys, unlisted)
    forget = [Command("ZREM", keys.unarchived, session_id) for session_id in sorted(set(session_ids))]
    if forget:
        yield from exchange.query(_carried_out(forget))
    return found


def _listed(keys: Keys, session_id: str) -> Exchange[list[str] | None]:
    """All keys that the session's jobs can have, each job's own last: it is what tells of the others. None if
    it is a batch.
    """
    jobs, ended, batches = yield from exchange.query(
        _carried_out(
            [
                Command("ZRANGE", keys.jobs(session_id), 0, -1),
                Command("ZRANGE", keys.ended(session_id), 0, -1),
                Command("EXISTS", keys.batch(session_id)),
            ]
        )
    )
    if batches:
        return None
    job_ids = [text(job_id) for job_id in (*jobs, *ended)]
    own: list[str] = []
    for start in range(0, len(job_ids), BATCH):
        page = job_ids[start : start + BATCH]
        asked = [Command("HGET", keys.job(session_id, job_id), "key") for job_id in page]
        named = yield from exchange.query(_carried_out(asked))
        own += [keys.idempotency(session_id, text(name)) for name in named if name]
    for job_id in job_ids:
        own += (keys.text(session_id, job_id), keys.reasoning(session_id, job_id))
        own.append(keys.job(session_id, job_id))
    return own


def _sought(keys: Keys, wanted: Collection[str]) -> Exchange[int]:
    found, cursor = 0, 0
    while True:
        cursor, page = yield from exchange.query(reading.scan(keys, cursor=cursor, count=PAGE))
        found += yield from _removed(keys, [key for key in page if keys.session_in(key) in wanted])
        if cursor == 0:
            return found


def _removed(keys: Keys, own: Sequence[str]) -> Exchange[int]:
    """How many of these keys there were."""
    found = 0
    for start in range(0, len(own), BATCH):
        page = own[start : start + BATCH]
        marks = [mark for key in page for mark in _marks(keys, key)]
        replies = yield from exchange.query(_carried_out([Command("UNLINK", key) for key in page] + marks))
        found += sum(int(reply) for reply in replies[: len(page)])
    return found


def _marks(keys: Keys, key: str) -> Iterator[Command]:
    """What there is of a job outside its session; a key that is no job's has nothing."""
    session_id, job_id = keys.session_in(key), keys.job_in(key)
    if session_id is None or job_id is None:
        return
    entry = due_member(session_id, job_id)
    yield Command("DEL", keys.index(job_id))
    yield forgotten_webhook(keys, session_id, job_id)
    for registry in (keys.due, keys.dead, *map(keys.sent, QUEUES)):
        yield Command("ZREM", registry, entry)


def _carried_out(commands: list[Command]) -> Query[Sequence[Any]]:
    return Query(commands=tuple(commands), decode=list)
