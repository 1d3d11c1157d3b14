"""Reads of the ledger, and what workers announce about themselves."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Argument, Command, Operation, Query, R, milliseconds, reply_error
from palaver.shared.ledger.scripts import load
from palaver.shared.ledger.views import (
    Announcement,
    LogBounds,
    Snapshot,
    decode_announcements,
    decode_snapshot,
)

PAGE = 1_000
"""Entries of the log in one read."""

ANNOUNCED_SECONDS: Final = 3600.0


def events(keys: Keys, session_id: str, *, after: int = 0, count: int = PAGE) -> Query[list[bytes]]:
    """At most `count` events with a seq above `after`, as JSON, in order."""

    def decode(replies: Sequence[Any]) -> list[bytes]:
        return [fields[1] for _, fields in replies[0]]

    words = ("XRANGE", keys.events(session_id), f"({after}-0" if after else "-", "+", "COUNT", count)
    return Query(commands=(Command(*words),), decode=decode)


def log_bounds(keys: Keys, session_id: str) -> Query[LogBounds]:
    """What the log holds."""
    log = keys.events(session_id)

    def decode(replies: Sequence[Any]) -> LogBounds:
        first, last, seq = replies
        return LogBounds(first=_seq_of(first), last=_seq_of(last), seq=int(seq or 0))

    commands = (
        Command("XRANGE", log, "-", "+", "COUNT", 1),
        Command("XREVRANGE", log, "+", "-", "COUNT", 1),
        Command("HGET", keys.session(session_id), "seq"),
    )
    return Query(commands=commands, decode=decode)


def _seq_of(entries: Sequence[Any]) -> int:
    return int(entries[0][0].partition(b"-")[0]) if entries else 0


def seq(keys: Keys, session_id: str) -> Query[int]:
    """The seq of the session's last event; 0 for a session that never was."""
    command = Command("HGET", keys.session(session_id), "seq")
    return Query(commands=(command,), decode=lambda replies: int(replies[0] or 0))


def seqs(keys: Keys, session_ids: Sequence[str]) -> Query[list[int]]:
    """`seq` of many sessions."""
    commands = tuple(Command("HGET", keys.session(session_id), "seq") for session_id in session_ids)
    return Query(commands=commands, decode=lambda replies: [int(reply or 0) for reply in replies])


def time() -> Query[float]:
    """Redis's own time, in seconds."""

    def decode(replies: Sequence[Any]) -> float:
        seconds, microseconds = replies[0]
        return int(seconds) + int(microseconds) / 1e6

    return Query(commands=(Command("TIME"),), decode=decode)


def is_named(keys: Keys, session_id: str, idempotency_key: str) -> Query[bool]:
    """Whether the session has a job of this idempotency key."""
    command = Command("EXISTS", keys.idempotency(session_id, idempotency_key))
    return Query(commands=(command,), decode=lambda replies: bool(replies[0]))


def find(keys: Keys, job_id: str) -> Query[str | None]:
    """The session of a job."""
    command = Command("GET", keys.index(job_id))
    return Query(commands=(command,), decode=lambda replies: replies[0] and replies[0].decode())


def unended(keys: Keys) -> Query[int]:
    """How many jobs are watched, which is nearly how many have not ended."""
    return Query(commands=(Command("ZCARD", keys.due),), decode=lambda replies: int(replies[0]))


def scan(keys: Keys, *, cursor: int, count: int) -> Query[tuple[int, list[str]]]:
    """A part of the keys of all sessions, and the cursor of the next part; 0 begins and ends."""

    def decode(replies: Sequence[Any]) -> tuple[int, list[str]]:
        following, found = replies[0]
        return int(following), [key.decode() for key in found]

    command = Command("SCAN", cursor, "MATCH", f"{keys.namespace}:{{*", "COUNT", count)
    return Query(commands=(command,), decode=decode)


def snapshot(
    keys: Keys,
    session_id: str,
    job_ids: Sequence[str] = (),
    *,
    after: int | None = None,
    documents: bool = False,
) -> Operation[Snapshot]:
    """The session and these jobs at one moment; with `after`, a seq, also all that have not ended, and which
    ended after it.

    Jobs that the ledger does not have are left out. `documents` fetches the jobs themselves too.
    """
    args: tuple[Argument, ...] = ("1" if documents else "", "" if after is None else after, *job_ids)
    return Operation(
        script=load("snapshot"),
        keys=(keys.base(session_id),),
        args=args,
        decode=lambda raw: decode_snapshot(session_id, checked(raw)),
    )


def messages(
    keys: Keys, session_id: str, *, first: int = 0, limit: int | None = None
) -> Operation[list[bytes]]:
    """The session's messages as JSON, with those that the active job began with at the end: `limit` of them
    from `first` on, which counts from 0.
    """

    def decode(raw: Any) -> list[bytes]:
        history, pending, length = checked(raw)
        begun = [line for line in pending.split(b"\n") if line][max(0, first - length) :]
        return [*history, *begun][:limit]

    last = -1 if limit is None else first + limit - 1
    base = keys.base(session_id)
    return Operation(script=load("messages"), keys=(base,), args=(first, last), decode=decode)


def announce(
    registry: str,
    entries: Mapping[str, Mapping[str, Any]],
    *,
    seconds: float,
    kept: float = ANNOUNCED_SECONDS,
) -> Operation[None]:
    """Say in `keys.workers`, `keys.profiles` or `keys.agents` what is there for the next `seconds`. What has
    expired is dropped by who announces next, or when nobody has for so long as it is `kept`.
    """
    args: list[Argument] = [milliseconds(seconds), milliseconds(kept)]
    for name, data in entries.items():
        args += [name, orjson.dumps(data)]
    return Operation(script=load("announce"), keys=(registry,), args=tuple(args), decode=_nothing)


def withdraw(registry: str, names: Sequence[str]) -> Query[None]:
    """Take back announcements at once, at a clean stop."""
    return Query(commands=(Command("HDEL", registry, *names),), decode=lambda _replies: None)


def announced(registry: str) -> Operation[list[Announcement]]:
    """What has not expired, by name."""
    return Operation(
        script=load("announced"),
        keys=(registry,),
        args=(),
        decode=lambda raw: decode_announcements(checked(raw)),
    )


def checked(raw: Any) -> Any:
    """A raw reply; raises what an error reply means."""
    if isinstance(raw, Exception):
        raise reply_error(raw)
    return raw


def decode_query(query: Query[R], replies: Sequence[Any]) -> R:
    """The result of a query from its raw replies."""
    return query.decode([checked(reply) for reply in replies])


def _nothing(raw: Any) -> None:
    checked(raw)
