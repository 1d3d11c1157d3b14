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
    """What is known of a session's owner; `exists` is False for one that never was. `user` is that of a
    conversation.
    """

    exists: bool
    tenant: str | None
    user: str | None
    is_conversation: bool


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


def api_key(keys: Keys, key_id: str) -> Query[ApiKey | None]:
    """One key."""

    def decode(replies: Sequence[Any]) -> ApiKey | None:
        return None if replies[0] is None else ApiKey.model_validate_json(replies[0])

    commands = (Command("HGET", keys.api_keys, key_id), Command("EXPIRE", keys.api_keys, _KEPT))
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


def session_owner(keys: Keys, session_id: str) -> Query[SessionOwner]:
    """Whose a session is: its conversation's tenant's, else that of its first job, or its batch's."""

    def decode(replies: Sequence[Any]) -> SessionOwner:
        (seq, tenant, created, user), batch = replies
        owner = tenant or batch
        return SessionOwner(
            exists=seq is not None or created is not None,
            tenant=text(owner) if owner else None,
            user=text(user) if user else None,
            is_conversation=created is not None,
        )

    commands = (
        Command("HMGET", keys.session(session_id), "seq", "tenant", "created", "user"),
        Command("HGET", f"{keys.base(session_id)}:batch", "tenant"),
    )
    return Query(commands=commands, decode=decode)
