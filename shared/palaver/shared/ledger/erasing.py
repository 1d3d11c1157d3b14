"""Removing all that the ledger has of some sessions, as a conversation without I/O."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final

from palaver.shared.ledger import exchange
from palaver.shared.ledger.exchange import BATCH, Exchange
from palaver.shared.ledger.keys import Keys, due_member
from palaver.shared.ledger.operation import Command, Query, text
from palaver.shared.ledger.operations import reading
from palaver.shared.ledger.operations.conversing import erase_session
from palaver.shared.ledger.operations.webhooks import forgotten_webhook
from palaver.shared.names import QUEUES

PAGE: Final = 1000
"""Keys that Redis looks at in one step."""


def erase(keys: Keys, session_ids: Collection[str]) -> Exchange[int]:
    """Remove every key of these sessions, and what other keys say of their jobs; how many keys there were.

    Their jobs are to have ended, and the sessions to be closed: a job that comes meanwhile goes with the
    others, however far it is. A session costs what it holds. For batches all keys of the namespace are looked
    at, once. May be repeated after any failure.
    """
    found, batches = 0, set[str]()
    for session_id in sorted(set(session_ids)):
        if (yield from exchange.query(_is_batch(keys, session_id))):
            batches.add(session_id)
        else:
            found += yield from _erase_session(keys, session_id)
    if batches:
        found += yield from _sought(keys, batches)
    forget = [Command("ZREM", keys.unarchived, session_id) for session_id in sorted(set(session_ids))]
    if forget:
        yield from exchange.query(_carried_out(forget))
    return found


def _erase_session(keys: Keys, session_id: str) -> Exchange[int]:
    """Its jobs, and once it has none all the rest: whoever does it again finds what is left."""
    found = 0
    while (rest := (yield from exchange.run(erase_session(keys, session_id)))) is None:
        job_ids = yield from _listed(keys, session_id)
        found += yield from _removed(keys, (yield from _keys_of_jobs(keys, session_id, job_ids)))
        lists = (keys.jobs(session_id), keys.ended(session_id))
        gone = [Command("ZREM", key, *page) for page in _pages(job_ids) for key in lists]
        yield from exchange.query(_carried_out(gone))
    return found + rest


def _is_batch(keys: Keys, session_id: str) -> Query[bool]:
    command = Command("EXISTS", keys.batch(session_id))
    return Query(commands=(command,), decode=lambda replies: bool(replies[0]))


def _listed(keys: Keys, session_id: str) -> Exchange[list[str]]:
    """The session's jobs."""
    lists = [Command("ZRANGE", key, 0, -1) for key in (keys.jobs(session_id), keys.ended(session_id))]
    jobs, ended = yield from exchange.query(_carried_out(lists))
    return [text(job_id) for job_id in (*jobs, *ended)]


def _keys_of_jobs(keys: Keys, session_id: str, job_ids: Sequence[str]) -> Exchange[list[str]]:
    """All keys that these jobs can have, each job's own last: it is what tells of the others."""
    own: list[str] = []
    for page in _pages(job_ids):
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
    for page in _pages(own):
        marks = [mark for key in page for mark in _marks(keys, key)]
        replies = yield from exchange.query(_carried_out([Command("UNLINK", key) for key in page] + marks))
        found += sum(int(reply) for reply in replies[: len(page)])
    return found


def _pages(of: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(of), BATCH):
        yield of[start : start + BATCH]


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
