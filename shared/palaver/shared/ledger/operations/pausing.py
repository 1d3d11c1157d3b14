"""Providers that an operator has paused: their gates give no place until they are resumed; workers are told.

A pause is a key beside the gate's, with a time to live: it survives every worker, and its end needs nobody.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from palaver.shared.ledger.keys import Keys
from palaver.shared.ledger.operation import Command, Query, milliseconds
from palaver.shared.ledger.operations.gating import GATES_MS
from palaver.shared.ledger.views import Pause

LONGEST_PAUSE: Final = 30 * 24 * 3600.0
"""Seconds. Every key has an end, this one too."""


def pause_profile(keys: Keys, profile: str, *, by: str, seconds: float = LONGEST_PAUSE) -> Query[None]:
    """Have nobody ask the provider for so long, or until it is resumed. `by` is who wants it."""
    ms = milliseconds(min(seconds, LONGEST_PAUSE))
    return Query(
        commands=(Command("SET", keys.pause(profile), by, "PX", ms), _notice(keys, "paused", profile, by)),
        decode=lambda _replies: None,
    )


def resume_profile(keys: Keys, profile: str, *, by: str) -> Query[bool]:
    """Have the provider asked again; whether it was paused. Who waits there is sent for by the workers, by
    their next sweep at the latest.
    """
    commands = (
        Command("DEL", keys.pause(profile)),
        Command("ZADD", keys.gates, 1, profile),
        Command("PEXPIRE", keys.gates, GATES_MS),
        _notice(keys, "resumed", profile, by),
    )
    return Query(commands=commands, decode=lambda replies: bool(replies[0]))


def pauses(keys: Keys, profiles: Sequence[str]) -> Query[dict[str, Pause]]:
    """Those of these profiles that are paused, by name."""

    def decode(replies: Sequence[Any]) -> dict[str, Pause]:
        found = {}
        for profile, by, left in zip(profiles, replies[::2], replies[1::2], strict=True):
            if by is not None and int(left) > 0:
                found[profile] = Pause(by=by.decode(errors="replace"), seconds=int(left) / 1000)
        return found

    words = (Command(word, keys.pause(profile)) for profile in profiles for word in ("GET", "PTTL"))
    return Query(commands=tuple(words), decode=decode)


def drain_notice(keys: Keys, worker: str, *, by: str) -> Query[None]:
    """Tell the worker of this name to leave, as SIGTERM does. Who does not listen now never hears of it."""
    notice = orjson.dumps({"type": "drain", "worker": worker, "by": by})
    return Query(commands=(Command("PUBLISH", keys.control, notice),), decode=lambda _replies: None)


def _notice(keys: Keys, kind: str, profile: str, by: str) -> Command:
    return Command("PUBLISH", keys.control, orjson.dumps({"type": kind, "profile": profile, "by": by}))
