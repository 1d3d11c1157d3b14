"""Who may come in through the gateway: its keys, how often they may be used, and whose a session is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from palaver.shared.api_keys import ApiKey
from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Command, Operation, Query, reply_error, text
from palaver.shared.ledger.scripts import load

_KEPT: Final = 400 * 24 * 3600
"""Seconds, as `due`: the keys live while a gateway reads them at least yearly."""
_MINUTE: Final = 60_000_000
_AT_ONCE: Final = 10
"""A tenth of a minute's requests may come at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOwner:
    """Whose a session is; `exists` is False for one that never was. `tenant` and `user` are those of its
    conversation, or else of its first job. `born` tells it from others that had its id, or will have it.
    """

    exists: bool
    tenant: str | None
    user: str | None
    is_conversation: bool
    born: str | None


def keep_api_key(keys: Keys, key: ApiKey) -> Query[None]:
    """Have the gateways take this key."""
    commands = (
        Command("HSET", keys.api_keys, key.id, key.to_json()),
        Command("EXPIRE", keys.api_keys, _KEPT),
    )
    return Query(commands=commands, decode=lambda _replies: None)


def api_keys(keys: Keys) -> Query[dict[str, ApiKey]]:
    """All keys, by id."""

    def decode(replies: Sequence[Any]) -> dict[str, ApiKey]:
        flat = replies[0]
        fields = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
        return {text(name): ApiKey.model_validate_json(value) for name, value in fields.items()}

    return Query(commands=(Command("HGETALL", keys.api_keys),), decode=decode)


def some_api_keys(keys: Keys, ids: Sequence[str]) -> Query[list[ApiKey | None]]:
    """The keys of these ids, at least one."""

    def decode(replies: Sequence[Any]) -> list[ApiKey | None]:
        return [None if value is None else ApiKey.model_validate_json(value) for value in replies[0]]

    commands = (Command("HMGET", keys.api_keys, *ids), Command("EXPIRE", keys.api_keys, _KEPT))
    return Query(commands=commands, decode=decode)


def drop_api_key(keys: Keys, key_id: str) -> Query[bool]:
    """Have it taken nowhere any more; False if there was none of this id."""
    command = Command("HDEL", keys.api_keys, key_id)
    return Query(commands=(command,), decode=lambda replies: bool(replies[0]))


def throttle(keys: Keys, name: str, *, per_minute: int, token: str) -> Operation[float]:
    """Take one of the minute's requests of this name; 0, or after how many seconds there will be one."""

    def decode(raw: Any) -> float:
        if isinstance(raw, Exception):
            raise reply_error(raw)
        return int(raw) / 1e6

    args = (_MINUTE // per_minute, max(1, per_minute // _AT_ONCE), token)
    return Operation(script=load("throttle"), keys=(keys.throttle(name),), args=args, decode=decode)


def session_owners(keys: Keys, session_ids: Sequence[str]) -> Query[list[SessionOwner]]:
    """Whose each of these sessions is."""
    fields = ("seq", "tenant", "created", "user", "born")
    commands = tuple(Command("HMGET", keys.session(session_id), *fields) for session_id in session_ids)
    return Query(commands=commands, decode=lambda replies: [_owner(*values) for values in replies])


def _owner(seq: Any, tenant: Any, created: Any, user: Any, born: Any) -> SessionOwner:
    birth = born or created  # that of a conversation may come later
    return SessionOwner(
        exists=seq is not None or created is not None,
        tenant=text(tenant) if tenant else None,
        user=text(user) if user else None,
        is_conversation=created is not None,
        born=text(birth) if birth else None,
    )
