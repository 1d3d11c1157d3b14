"""Servers whose clock a test moves: fakeredis, or a real Redis that is told the time.

The scripts run unchanged on both. fakeredis gets another clock, by which its keys expire too. On a real
server each script gets a prologue that lets `redis.call('TIME')` answer the test's time; keys expire by the
real clock there, which in a test that lasts seconds means never.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Protocol

import fakeredis
import redis

from palaver.shared.errors import PalaverError
from palaver.shared.ledger.exchange import Exchange
from palaver.shared.ledger.operation import R
from palaver.shared.ledger.scripts import Script, load, script_names

EPOCH: Final = 2_700_000_000_000
"""The time at which every run begins, ms. Far ahead: a real Redis keeps nothing until a time gone by."""


@dataclass(frozen=True, slots=True)
class State:
    """Every key with its content, and its time to live in ms.

    A hash is a dict, a sorted set a dict of scores, a log its length and last entry.
    """

    content: dict[str, Any] = field(repr=False)
    ttl: dict[str, int] = field(repr=False)


class Server(Protocol):
    """What the machine needs of a server."""

    now: int  # ms
    expires: bool  # whether keys expire by `now`

    def reset(self) -> None:
        """Empty, at EPOCH."""

    def advance(self, milliseconds: int) -> None:
        """Let time pass."""

    def send(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Raw replies, error replies as exceptions."""

    def state(self) -> State:
        """All there is."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The caller died or lost its connection, and saw no reply."""


def run(server: Server, conversation: Exchange[R], *, cut: str = "") -> R | PalaverError | Lost:
    """The conversation's result or verdict.

    `cut` stops the caller "before" the script, which ends its sending, or "after" that, so that what is to
    follow is never sent.
    """
    try:
        words = next(conversation)
        while True:
            ends_here = cut and words[-1][0] == "EVALSHA"
            replies = server.send(words[:-1] if ends_here and cut == "before" else words)
            if ends_here:
                return Lost()
            words = conversation.send(replies)
    except StopIteration as stop:
        return Lost() if cut else stop.value
    except PalaverError as verdict:
        return Lost() if cut else verdict
    finally:
        conversation.close()


class FakeServer:
    """fakeredis under a clock of its own."""

    expires = True

    def __init__(self) -> None:
        self.now = EPOCH
        self._server = fakeredis.FakeServer(version=(7, 0))
        self._client = fakeredis.FakeRedis(server=self._server, protocol=2)
        self._client.response_callbacks.clear()
        self.send([("SCRIPT", "LOAD", load(name).source) for name in script_names()])

    def reset(self) -> None:
        self.now = EPOCH
        self._client.flushall()

    def advance(self, milliseconds: int) -> None:
        self.now += milliseconds
        # fakeredis removes what has expired when somebody asks for it, and its clock may be set back before.
        entries = self._server.dbs[0]._dict
        for name in [name for name, item in entries.items() if self._has_expired(item)]:
            del entries[name]

    def _has_expired(self, item: Any) -> bool:
        return item.expireat is not None and item.expireat < self.now / 1000

    def time(self) -> float:
        return self.now / 1000

    def send(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        return [self._execute(words) for words in commands]

    def _execute(self, words: tuple[Any, ...]) -> Any:
        try:
            return self._client.execute_command(*words)  # type: ignore[no-untyped-call]
        except redis.ResponseError as error:
            return error

    def state(self) -> State:
        """Read from its memory: commands would take longer than all that is tested."""
        content, ttl = {}, {}
        for name, item in self._server.dbs[0]._dict.items():
            if not self._has_expired(item):
                key = name.decode()
                content[key] = _CONTENT[type(item.value).__name__](item.value)
                ttl[key] = -1 if item.expireat is None else round(item.expireat * 1000) - self.now
        return State(content, ttl)


_CONTENT: Final[dict[str, Callable[[Any], Any]]] = {
    "bytes": lambda value: value,
    "list": list,
    "Hash": lambda value: dict(value._values),
    "ZSet": lambda value: dict(value._bylex),
    "XStream": lambda value: (len(value._ids), b"%d-%d" % value._ids[-1] if value._ids else b""),
}


@contextmanager
def fake_server() -> Iterator[FakeServer]:
    """fakeredis with its clock replaced: all that asks for the time in it asks one of these modules."""
    from fakeredis import _helpers
    from fakeredis._socket import _base
    from fakeredis.commands_mixins import server_mixin

    server = FakeServer()
    modules: Sequence[Any] = (_helpers, _base, server_mixin)
    clocks = [module.time for module in modules]
    try:
        for module in modules:
            module.time = server
        yield server
    finally:
        for module, clock in zip(modules, clocks, strict=True):
            module.time = clock


class RealServer:
    """A real Redis, emptied for each run."""

    expires = False

    def __init__(self, connection: Any) -> None:
        self.now = self._told = EPOCH
        self._connection = connection  # redis-py's, without its client: pool and pipelines take half the time
        self.send([("SCRIPT", "LOAD", script.source) for script in _clocked().values()])
        (self._dump,) = self.send([("SCRIPT", "LOAD", _DUMP)])

    def reset(self) -> None:
        self.now = self._told = EPOCH
        self.send([("FLUSHALL",), ("SET", CLOCK, self.now)])

    def advance(self, milliseconds: int) -> None:
        self.now += milliseconds

    def send(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        clock = [] if self.now == self._told else [("SET", CLOCK, self.now)]
        self._told = self.now
        told = [*clock, *map(_told_the_time, commands)]
        self._connection.send_packed_command(self._connection.pack_commands(told))
        return [self._reply() for _ in told][len(clock) :]

    def _reply(self) -> Any:
        try:
            return self._connection.read_response()
        except redis.ResponseError as error:
            return error

    def state(self) -> State:
        content: dict[str, Any] = {}
        ttl: dict[str, int] = {}
        for name, kind, left, raw in self.send([("EVALSHA", self._dump, 0)])[0]:
            key = name.decode()
            ttl[key] = int(left)
            content[key] = raw
            if kind == b"hash":
                content[key] = dict(zip(raw[::2], raw[1::2], strict=True))
            elif kind == b"zset":
                content[key] = {raw[i]: float(raw[i + 1]) for i in range(0, len(raw), 2)}
            elif kind == b"stream":
                content[key] = (int(raw[0]), raw[1][0][0] if raw[1] else b"")
        return State(content, ttl)


@contextmanager
def real_server(port: int) -> Iterator[RealServer]:
    """A real Redis that is nobody else's."""
    connection: Any = redis.Connection(port=port, protocol=2)  # type: ignore[no-untyped-call]
    try:
        yield RealServer(connection)
    finally:
        connection.disconnect()


CLOCK: Final = "clock"
_PROLOGUE: Final = f"""local real = redis
local redis = {{pcall = real.pcall}}
function redis.call(name, ...)
  if name ~= 'TIME' then return real.call(name, ...) end
  local now = real.call('GET', '{CLOCK}')
  return {{string.sub(now, 1, -4), tostring(tonumber(string.sub(now, -3)) * 1000)}}
end
"""
_DUMP: Final = f"""local all = {{}}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, content = redis.call('TYPE', key).ok
  if kind == 'hash' then content = redis.call('HGETALL', key)
  elseif kind == 'list' then content = redis.call('LRANGE', key, 0, -1)
  elseif kind == 'zset' then content = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  elseif kind == 'stream' then
    content = {{redis.call('XLEN', key), redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)}}
  else content = redis.call('GET', key) end
  if key ~= '{CLOCK}' then all[#all + 1] = {{key, kind, redis.call('PTTL', key), content}} end
end
return all
"""


@cache
def _clocked() -> dict[str, Script]:
    """Every script with the prologue, by the hash that it has without."""
    return {script.sha: _with_prologue(script.name, script.source) for script in map(load, script_names())}


def _with_prologue(name: str, source: str) -> Script:
    source = _PROLOGUE + source
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _told_the_time(words: tuple[Any, ...]) -> tuple[Any, ...]:
    match words:
        case "EVALSHA", sha, *rest if sha in _clocked():
            return ("EVALSHA", _clocked()[sha].sha, *rest)
        case "EVAL", source, *rest:
            return ("EVAL", _PROLOGUE + source, *rest)
    return words
