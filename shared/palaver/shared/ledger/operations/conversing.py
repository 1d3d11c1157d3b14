"""Conversations in the ledger: what their sessions are, what was said in them, and which jobs' messages are
not stored yet.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import orjson

from palaver.shared.conversations import (
    ConversationMessage,
    ConversationSession,
    Page,
    microseconds,
)
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Argument, Command, Operation, Query, Retention, milliseconds, text
from palaver.shared.ledger.operations.reading import checked
from palaver.shared.ledger.scripts import load
from palaver.shared.owner import Owner
from palaver.shared.sessions import SessionStatus

_FIELDS: Final = ("agent_path", "user", "anonymous_id", "tenant", "context", "status", "created")
_KEPT: Final = 400 * 24 * 3600
"""Seconds, as `due`: the registry lives while somebody submits at least yearly."""


def open_session(
    keys: Keys, session: ConversationSession, *, retention: Retention, in_database: bool = False
) -> Operation[bool]:
    """Store what the session is, also for the worker's agents; False if it is there, and stays as it is.

    `in_database`: its messages are kept in a database, from now on if not before.
    """
    known = {
        "agent_path": session.agent_path,
        "user": session.user,
        "anonymous_id": session.anonymous_id,
        "tenant": session.tenant,
        "context": orjson.dumps(session.context),
        "status": session.status.value,
        "created": microseconds(session.created),
    }
    fields = [word for name, value in known.items() if value is not None for word in (name, value)]
    return Operation(
        script=load("open_session"),
        keys=(keys.base(session.session_id),),
        args=(milliseconds(retention.session), int(in_database), *fields),
        decode=lambda raw: bool(checked(raw)[1]),
    )


def keep_session(
    keys: Keys, session_id: str, *, retention: Retention, in_database: bool = False
) -> Operation[bool]:
    """Keep what was opened as if it had been now; False if it is gone. `in_database`: as `open_session`."""
    return Operation(
        script=load("open_session"),
        keys=(keys.base(session_id),),
        args=(milliseconds(retention.session), int(in_database)),
        decode=lambda raw: text(checked(raw)[0]) == "ok",
    )


def erase_session(keys: Keys, session_id: str) -> Operation[int | None]:
    """Remove all that there is of a session without jobs; how many keys that were, None if it has jobs."""

    def decode(raw: Any) -> int | None:
        return int(raw[1]) if text(checked(raw)[0]) == "ok" else None

    return Operation(
        script=load("erase_session"),
        keys=(keys.base(session_id), *keys.of_session(session_id)),
        args=(),
        decode=decode,
    )


def session(keys: Keys, session_id: str) -> Query[ConversationSession | None]:
    """What was opened under this id; None for a session of jobs alone, or of nobody."""

    def decode(replies: Sequence[Any]) -> ConversationSession | None:
        return _session(session_id, replies[0])

    return Query(commands=(_record(keys, session_id),), decode=decode)


def kept_in(keys: Keys, session_id: str) -> Query[Literal["redis", "database"] | None]:
    """Where the messages of what was opened under this id are kept; None if nothing was."""

    def decode(replies: Sequence[Any]) -> Literal["redis", "database"] | None:
        created, database = replies[0]
        if created is None:
            return None
        return "redis" if database is None else "database"

    return Query(commands=(Command("HMGET", keys.session(session_id), "created", "database"),), decode=decode)


def sessions(keys: Keys, session_ids: Sequence[str]) -> Query[list[ConversationSession | None]]:
    """As `session`, of many."""

    def decode(replies: Sequence[Any]) -> list[ConversationSession | None]:
        return [_session(sid, values) for sid, values in zip(session_ids, replies, strict=True)]

    return Query(commands=tuple(_record(keys, sid) for sid in session_ids), decode=decode)


def _record(keys: Keys, session_id: str) -> Command:
    return Command("HMGET", keys.session(session_id), *_FIELDS)


def _session(session_id: str, values: Sequence[bytes | None]) -> ConversationSession | None:
    known = {name: value for name, value in zip(_FIELDS, values, strict=True) if value}
    if "created" not in known:
        return None
    words = {name: text(value) for name, value in known.items() if name not in ("context", "created")}
    context, created = orjson.loads(known["context"]), int(known["created"]) / 1e6
    return ConversationSession(id=session_id, context=context, created=created, **words)


def set_status(keys: Keys, session_id: str, status: SessionStatus) -> Operation[bool]:
    """Open or close a session; False if there is none."""
    return Operation(
        script=load("set_status"),
        keys=(keys.base(session_id),),
        args=(status.value,),
        decode=lambda raw: bool(checked(raw)[1]),
    )


def list_session(keys: Keys, session: ConversationSession, owner: Owner) -> Query[None]:
    """Put a session on the list of its owner, before it is opened."""
    key = keys.owner(owner)
    commands = (Command("ZADD", key, 0, session.order), Command("EXPIRE", key, _KEPT))
    return Query(commands=commands, decode=lambda _replies: None)


def listed(keys: Keys, owner: Owner, *, after: str | None, limit: int) -> Query[list[str]]:
    """Entries of an owner's list, the latest session first: each is a cursor and ends with the id."""

    def decode(replies: Sequence[Any]) -> list[str]:
        return [entry.decode() for entry in replies[0]]

    top = "+" if after is None else f"({after}"
    return Query(
        commands=(Command("ZREVRANGEBYLEX", keys.owner(owner), top, "-", "LIMIT", 0, limit),), decode=decode
    )


def unlist(keys: Keys, owner: Owner, entries: Sequence[str]) -> Query[None]:
    """Take entries off an owner's list."""
    return Query(commands=(Command("ZREM", keys.owner(owner), *entries),), decode=lambda _replies: None)


def store_messages(
    keys: Keys, session_id: str, messages: Sequence[ConversationMessage], *, retention: Retention
) -> Operation[bool]:
    """Keep messages of a session, each once; False if there is none, and then nothing is kept."""
    words = (word for message in messages for word in (message.order, message.to_json()))
    return Operation(
        script=load("store_messages"),
        keys=(keys.base(session_id),),
        args=(milliseconds(retention.session), *words),
        decode=lambda raw: bool(checked(raw)[1]),
    )


def stored_messages(
    keys: Keys, session_id: str, *, after: str | None, limit: int
) -> Query[Page[ConversationMessage]]:
    """Messages that are kept, in their order."""

    def decode(replies: Sequence[Any]) -> Page[ConversationMessage]:
        found = [ConversationMessage.model_validate_json(entry.partition(b"\n")[2]) for entry in replies[0]]
        return Page(found, found[-1].order if len(found) == limit else None)

    start = "-" if after is None else b"(%s\n\xff" % after.encode()
    command = Command("ZRANGEBYLEX", keys.stored(session_id), start, "+", "LIMIT", 0, limit)
    return Query(commands=(command,), decode=decode)


def drop_stored(keys: Keys, session_id: str) -> Query[None]:
    """Remove the messages that are kept."""
    command = Command("UNLINK", keys.stored(session_id))
    return Query(commands=(command,), decode=lambda _replies: None)


def note_unarchived(keys: Keys, session_id: str, job_id: str, run_at: int) -> tuple[Command, ...]:
    """Before a job is stored: its messages are to be archived, so a crash cannot leave some that are not.

    The score of its session changes by it, so that no archiver drops the session for having found nothing.
    """
    jobs = keys.unarchived_jobs(session_id)
    return (
        Command.call(load("watch"), jobs, job_id, run_at, 1),
        Command("ZINCRBY", keys.unarchived, 1, session_id),
        Command("EXPIRE", keys.unarchived, _KEPT),
    )


def unarchived_jobs(keys: Keys, session_id: str) -> Query[dict[str, float]]:
    """The session's jobs whose messages are not stored yet, and since when: Unix time of Redis."""

    def decode(replies: Sequence[Any]) -> dict[str, float]:
        flat = replies[0]
        return {text(flat[i]): float(flat[i + 1]) / 1000 for i in range(0, len(flat), 2)}

    command = Command("ZRANGE", keys.unarchived_jobs(session_id), 0, -1, "WITHSCORES")
    return Query(commands=(command,), decode=decode)


def archived(keys: Keys, session_id: str, job_ids: Sequence[str]) -> Query[None]:
    """The messages of these jobs are stored."""
    command = Command("ZREM", keys.unarchived_jobs(session_id), *job_ids)
    return Query(commands=(command,), decode=lambda _replies: None)


def prolong(keys: Keys, session_id: str, job_ids: Sequence[str], *, retention: Retention) -> Operation[None]:
    """Keep these jobs, ended or not, for as long as if they had ended now."""
    return Operation(
        script=load("prolong"),
        keys=(keys.base(session_id),),
        args=(milliseconds(retention.job), *job_ids),
        decode=_nothing,
    )


def take_archivers_turn(keys: Keys, *, period: float) -> Query[bool]:
    """The archivers' turn for `period` seconds; False while another has it. It only saves work."""
    command = Command("SET", keys.archiver, 1, "NX", "PX", milliseconds(period))
    return Query(commands=(command,), decode=lambda replies: replies[0] is not None)


def unarchived_sessions(keys: Keys, *, time: float, limit: int) -> Query[dict[str, int]]:
    """At most `limit` sessions for an archiver to look at by `time` (of Redis), with their scores."""

    def decode(replies: Sequence[Any]) -> dict[str, int]:
        flat = replies[0]
        return {text(flat[i]): int(float(flat[i + 1])) for i in range(0, len(flat), 2)}

    words = ("ZRANGEBYSCORE", keys.unarchived, "-inf", milliseconds(time), "WITHSCORES", "LIMIT", 0, limit)
    return Query(commands=(Command(*words),), decode=decode)


def unarchived_among(keys: Keys, session_ids: Sequence[str]) -> Query[list[str]]:
    """Those of these sessions, of one at least, of which something is not stored yet."""

    def decode(replies: Sequence[Any]) -> list[str]:
        scores = zip(session_ids, replies[0], strict=True)
        return [session_id for session_id, score in scores if score is not None]

    return Query(commands=(Command("ZMSCORE", keys.unarchived, *session_ids),), decode=decode)


def put_off(keys: Keys, scores: Mapping[str, int], next_looks: Mapping[str, float | None]) -> Operation[None]:
    """After a look: when the next one is (Unix time), None for never. A session that got another job since,
    and so another score, is looked at again.
    """
    args: list[Argument] = []
    for session_id, at in next_looks.items():
        args += [session_id, scores[session_id], "" if at is None else milliseconds(at)]
    return Operation(script=load("settle"), keys=(keys.unarchived,), args=tuple(args), decode=_nothing)


def _nothing(raw: Any) -> None:
    checked(raw)
