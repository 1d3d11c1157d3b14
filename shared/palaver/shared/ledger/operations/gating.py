"""The gates of profiles: how many requests, tokens and concurrent requests there may be, over all workers;
and those of tenants: how many of their jobs, and of each user's, may run.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import orjson

from palaver.shared.ids import new_token
from palaver.shared.ledger.keys import Keys, due_member, parse_due_member
from palaver.shared.ledger.operation import (
    Argument,
    Command,
    Operation,
    Query,
    milliseconds,
    reply_error,
    text,
)
from palaver.shared.ledger.replies import Dispatch, HandedOut, Place, Visited
from palaver.shared.ledger.scripts import load
from palaver.shared.ledger.views import Gate, Pause, Prospect
from palaver.shared.names import Queue
from palaver.shared.profiles import Limits

LONGEST_CLOSURE: Final = 3600.0
"""Seconds after which a provider is asked again, whatever it has said."""

_DIGEST: Final = 16  # characters

GATES_MS: Final = 10 * 24 * 3_600_000

TENANT: Final = "tenant/"
"""The names of tenants' gates begin with this; no profile's has a slash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line at a gate: of a tenant at a profile's, of a user at a tenant's. Its jobs wait apart from what is
    `of_batch`; they share its turns and its places.
    """

    name: str = ""  # "": of nobody, and without a bound of its own
    of_batch: bool = False
    weight: int = 1  # turns, where others have one
    most: int | None = None  # places that one line may have, 0: any number; None: they are not counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many tokens a request is to use, as far as that is known before it is made."""

    prompt: int = 0
    most: int | None = None  # of the answer; None: any number
    guess: int = 0  # of the answer, until some of its model have ended
    model: str = ""


NO_TOKENS: Final = Size()


def tenant_gate(tenant: str) -> str:
    """The name of a tenant's gate; those who name no tenant are `""`."""
    return TENANT + tenant


def user_line(user: str, *, most: int, of_batch: bool = False) -> Line:
    """A user's line at the gate of its tenant, by a digest: ids of users are in no key."""
    return Line(name=digest_of(user), most=most, of_batch=of_batch)


def digest_of(user: str) -> str:
    """What stands for a user in keys; nobody is `""`."""
    return hashlib.sha256(user.encode()).hexdigest()[:_DIGEST] if user else ""


def enter_gate(
    keys: Keys,
    name: str,
    place: Place,
    *,
    token: str,
    line: Line,
    limits: Limits,
    lease: float,
    parked: bool = False,
    later: bool = False,
    ahead: bool = False,
    size: Size = NO_TOKENS,
) -> Operation[Visited]:
    """Ask for the place of one request of a job, or of the job itself, which it then has for `lease` seconds
    unless it is kept. What goes on with something comes `ahead` of those in its line that have not begun.

    Asked again with the same token it says how that stands now. With `parked` nobody is there to take the
    place: who has one to give sends the job's message. With `later` it takes none yet, and counts for
    nothing: one that it is given is kept for it for some seconds.
    """

    def decode(raw: Any) -> Visited:
        handed = _handed_out(raw)
        return Visited(
            has_place=text(raw[0]) == "place",
            ahead=int(raw[3]),
            seconds=int(raw[4]) / 1000,
            closed_for=int(raw[5]) / 1000,
            dispatches=handed.dispatches,
        )

    asked = {
        "line": line.name,
        "kind": "batch" if line.of_batch else "",
        "weight": line.weight,
        "prompt": size.prompt,
        "most": size.most,
        "guess": size.guess,
        "model": size.model,
        "ahead": ahead,
        "parked": parked,
        "later": later,
    }
    allowed = {**_limits(limits), "of_line": line.most}
    args = (due_member(*place), token, milliseconds(lease), _known(asked), _known(allowed))
    return _operation(keys, name, "gate_enter", args, decode)


def _known(fields: Mapping[str, Any]) -> bytes:
    """As JSON, without what is not known: to Lua, null is something."""
    return orjson.dumps({name: value for name, value in fields.items() if value is not None})


def _limits(limits: Limits) -> dict[str, int]:
    """See gate_enter.lua. A window in which not one request has room is as long as that one needs."""
    window = limits.window
    if limits.requests_per_minute is not None:
        window = max(window, 60 / limits.requests_per_minute)
    return {
        "requests": _most(limits.requests_per_minute, window),
        "tokens": _most(limits.tokens_per_minute, window),
        "window": milliseconds(window),
        "concurrent": limits.concurrent or 0,
    }


def _most(per_minute: float | None, window: float) -> int:
    """In a window of so many seconds; 0: any number."""
    return 0 if per_minute is None else max(1, int(per_minute * window / 60))


def leave_gate(
    keys: Keys,
    name: str,
    place: Place,
    *,
    token: str,
    tokens: int | None = None,
    answer_tokens: int | None = None,
    whole: bool = True,
    asked: bool = True,
) -> Operation[HandedOut]:
    """Give the request's place back, or its place in the line. `tokens` were used, `answer_tokens` of them by
    the answer; None: nobody knows, and what was expected stays counted. An answer that is not `whole` is
    counted with no less than was expected; a request that has not `asked` its provider is not counted at all.
    """
    used = ("" if count is None else count for count in (tokens, answer_tokens))
    ended = ("whole" if whole else "cut") if asked else "unasked"
    args: tuple[Argument, ...] = (due_member(*place), token, *used, ended)
    return _operation(keys, name, "gate_leave", args, _handed_out)


def pump_gate(keys: Keys, name: str, *, ended: Place | None = None) -> Operation[HandedOut]:
    """Hand out what time has made free, and what was given to a job that has `ended` meanwhile."""
    args = (new_token(), "" if ended is None else due_member(*ended))
    return _operation(keys, name, "gate_pump", args, _handed_out)


def keep_places(
    keys: Keys,
    name: str,
    held: Mapping[Place, str],
    *,
    lease: float,
    used: Mapping[Place, tuple[int, int]] = MappingProxyType({}),
) -> Operation[None]:
    """Hold the places of these requests, by their tokens, for `lease` seconds from now. Some have `used` so
    many tokens by now, and so many of them by their answers.
    """
    uncounted = ("", "")
    words = (
        word
        for place, token in held.items()
        for word in (due_member(*place), token, *used.get(place, uncounted))
    )
    args: tuple[Argument, ...] = (milliseconds(lease), *words)
    return Operation(script=load("gate_keep"), keys=(keys.gate(name),), args=args, decode=_nothing)


def forget_at_gate(keys: Keys, name: str, place: Place) -> tuple[Command, ...]:
    """A job that waited there has ended: it waits no more, and a sweep hands on what it was given."""
    return (
        Command.call(load("gate_forget"), keys.gate(name), due_member(*place)),
        *_look_at(keys, name, 1),
    )


def close_gate(keys: Keys, name: str, seconds: float) -> Operation[None]:
    """Have nobody ask the provider for so long, and tell the workers."""
    seconds = min(seconds, LONGEST_CLOSURE)
    notice = orjson.dumps({"type": "closed", "profile": name, "seconds": seconds})

    def after(raw: Any) -> tuple[Command, ...]:
        if isinstance(raw, Exception):
            return ()
        return (*_look_at(keys, name, int(raw[1])), Command("PUBLISH", keys.control, notice))

    args = (new_token(), milliseconds(seconds))
    return Operation(
        script=load("gate_close"), keys=(keys.gate(name),), args=args, decode=_nothing, after=after
    )


def where_at_gate(keys: Keys, name: str, place: Place) -> Operation[Prospect | None]:
    """What a waiting job has to expect; None for one that does not wait."""

    def decode(raw: Any) -> Prospect | None:
        _nothing(raw)
        return Prospect(int(raw[1]), int(raw[2]) / 1000) if text(raw[0]) == "wait" else None

    args = (due_member(*place),)
    return Operation(script=load("gate_where"), keys=(keys.gate(name),), args=args, decode=decode)


def gates_due(keys: Keys, *, time: float, limit: int) -> Query[dict[str, int]]:
    """Gates to look at by `time` (of Redis), and the ms for which that was noted."""
    return _gates(keys, milliseconds(time), limit)


def gates(keys: Keys, *, limit: int = 1000) -> Query[dict[str, int]]:
    """Gates at which something waits, or that are closed, and when they are to be looked at, in ms."""
    return _gates(keys, "+inf", limit)


def _gates(keys: Keys, until: Argument, limit: int) -> Query[dict[str, int]]:
    words = ("ZRANGEBYSCORE", keys.gates, "-inf", until, "WITHSCORES", "LIMIT", 0, limit)

    def decode(replies: Sequence[Any]) -> dict[str, int]:
        flat = replies[0]
        return {text(flat[i]): int(float(flat[i + 1])) for i in range(0, len(flat), 2)}

    return Query(commands=(Command(*words),), decode=decode)


def settle_gates(keys: Keys, looked: Mapping[str, int]) -> Operation[None]:
    """Look no more at these gates, for which these ms were noted, unless somebody has come meanwhile."""
    args = tuple(word for name, seen in looked.items() for word in (name, seen, ""))
    return Operation(script=load("settle"), keys=(keys.gates,), args=args, decode=_nothing)


def gate(keys: Keys, name: str) -> Query[Gate]:
    """How a gate is."""
    base = keys.gate(name)

    def decode(replies: Sequence[Any]) -> Gate:
        (seconds, microseconds), closed, by, left, known, held, given = replies
        now = int(seconds) + int(microseconds) / 1e6
        busy = int(held) + int(given)
        return Gate(
            name=name,
            closed_for=max(0.0, int(closed or 0) / 1000 - now),
            paused=None if by is None else Pause(by=text(by), seconds=max(0, int(left)) / 1000),
            waiting=max(0, int(known) - busy),
            running=busy,
        )

    commands = (
        Command("TIME"),
        Command("HGET", base, "closed"),
        *(Command(word, keys.pause(name)) for word in ("GET", "PTTL")),
        Command("HLEN", f"{base}:records"),
        *(Command("ZCARD", f"{base}:{zset}") for zset in ("places", "given")),
    )
    return Query(commands=commands, decode=decode)


def _operation(keys: Keys, name: str, script: str, args: tuple[Argument, ...], decode: Any) -> Operation[Any]:
    def after(raw: Any) -> tuple[Command, ...]:
        return () if isinstance(raw, Exception) else _look_at(keys, name, int(raw[1]))

    return Operation(script=load(script), keys=(keys.gate(name),), args=args, decode=decode, after=after)


def _look_at(keys: Keys, name: str, time_ms: int) -> tuple[Command, ...]:
    """Somebody is to look at the gate then; 0: nothing waits there."""
    if not time_ms:
        return ()
    return (
        Command("ZADD", keys.gates, time_ms, name),
        Command("PEXPIRE", keys.gates, GATES_MS),
    )


def _handed_out(raw: Any) -> HandedOut:
    _nothing(raw)
    places = (parse_due_member(entry) for entry in raw[2])
    return HandedOut(
        dispatches=[Dispatch(*place, Queue.RESUME.value) for place in places], next_look=int(raw[1])
    )


def _nothing(raw: Any) -> None:
    if isinstance(raw, Exception):
        raise reply_error(raw)
