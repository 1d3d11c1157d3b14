"""One raw connection to the ledger's Redis, shared by everything that a worker process writes.

Order is kept, across lost connections too: what has no reply yet is written again, byte for byte and in its
old order, before anything newer. That is safe because every script of the ledger survives a blind repeat, and
it is the only place in a worker that resends. While Redis is away, callers wait; nobody sees a connection
error but the caller of `Link.start`. A call of a script that Redis has forgotten is sent again with the
script's source, behind what was written meanwhile: nobody writes what needs a reply that is still to come.

Commands are packed by the caller (the publisher by hand) or by hiredis (`Link.run`), replies are parsed by
hiredis: half of what a worker spends on a chunk with a general client is the packing of its pipelines.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any, Protocol, TypeVar, cast

import hiredis

from palaver.shared.errors import LedgerUnavailableError, PalaverError
from palaver.shared.ledger import Operation, reply_error, sources
from palaver.shared.outage import reason
from palaver.shared.redis_address import Address
from palaver.shared.settings import DEFAULT_CONNECT_SECONDS, redacted_url
from palaver.workers.event_log import event_logger
from palaver.workers.frames import forget_frames
from palaver.workers.movement import LARGE, Movement

__all__ = ["STALLS", "Link", "Replies", "Sender"]

logger = event_logger("palaver.workers.link")

R = TypeVar("R")
Replies = list[Any]

STALL_SECONDS = 10.0  # a reply is waited for and nothing moves: a dead path; the connection is replaced
LOOKS = 5  # in that time; counted, not timed: a process that stood still itself blames no path
# In a row: a path that dies without a word costs one; who goes on so has lost its place among replies.
STALLS = 3
BACKOFF_SECONDS = (0.02, 1.0)  # first and longest pause between tries
STEADY_SECONDS = 5.0  # a connection that has lasted so long is followed by another without a pause
SLOWEST = 100_000  # bytes a second: a proxy that has a large write may pass it on as slowly as that

NO_SCRIPT = "NOSCRIPT"  # the server has forgotten its scripts

# Replies of a server that cannot serve now but will, or that is the wrong one after a failover: connect anew.
TRANSIENT = {
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOREPLICAS",
    "READONLY",
    "TRYAGAIN",
    "UNKILLABLE",
}

_OF_A_SCRIPT = re.compile(
    r"ERR Error running script \(call to f_[0-9a-f]{40}\): @user_script:\d+: @user_script: \d+: -([A-Z]+) "
)


class Sender(Protocol):
    """What the publisher needs of a link."""

    def send(self, data: bytes, expects: int, done: Callable[[Replies], None]) -> None: ...


class _Frame:
    """Bytes on their way and the replies that they are owed."""

    __slots__ = ("data", "done", "dropped", "end", "expects", "faulty", "replies")

    def __init__(self, data: bytes, expects: int, done: Callable[[Replies], None]) -> None:
        self.data = data
        self.expects = expects
        self.done = done
        self.replies: Replies = []
        self.faulty = False  # a reply is an error
        self.dropped = False  # nobody waits any more: not worth a resend
        self.end = 0  # of a large one: see `Movement.look`

    def reset(self) -> _Frame:
        self.replies, self.faulty = [], False
        return self


class _Wire(asyncio.Protocol):
    """One connection: frames in the order of their writing, and the replies that fill them."""

    def __init__(self, done: Callable[[_Wire, _Frame], None], slowest: float) -> None:
        self._slowest = slowest
        self.frames: deque[_Frame] = deque()
        self._gathered: list[bytes] = []  # of this turn of the loop
        self.lost: Callable[[], object] = _ignored
        self._done = done
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._movement = Movement(None)
        self._given_up = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._movement = Movement(sock)

    def write(self, frame: _Frame) -> None:
        self.frames.append(frame)
        if len(frame.data) >= LARGE:
            frame.end = self._movement.end_of(sum(len(frame.data) for frame in self.frames))
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._write_gathered)
        self._gathered.append(frame.data)

    def _write_gathered(self) -> None:
        """What many jobs say in one turn of the loop leaves in one system call."""
        gathered, self._gathered = self._gathered, []
        if self._transport is not None:
            self._transport.write(b"".join(gathered))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        gets, frames = self._reader.gets, self.frames
        while frames and not self._given_up and (reply := gets()) is not False:
            frame = frames[0]
            frame.replies.append(reply)
            if reply.__class__ is hiredis.ReplyError:
                frame.faulty = True
            if len(frame.replies) == frame.expects:
                frames.popleft()
                self._done(self, frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.lost()

    @property
    def open(self) -> bool:
        return self._transport is not None

    def still(self) -> tuple[int, float]:
        """How many looks in a row have seen replies waited for, and nothing move; and for how many seconds
        that would be no wonder.
        """
        front = self.frames[0] if self.frames else None
        still = self._movement.look(front, front.end if front else 0)
        if front is None:
            return 0, 0.0
        transport = self._transport
        if self._movement.idle and transport and not (self._gathered or transport.get_write_buffer_size()):
            front.end = min(front.end, self._movement.sent)  # it has left, whatever was counted twice
        return still, len(front.data) / self._slowest if self._movement.passed(front.end) else 0.0

    def abort(self) -> None:
        """Give it up; what it still answers is nobody's: whoever waits is to ask again."""
        self._given_up = True
        if self._transport is not None:
            self._transport.abort()


class Link:
    """The process's connection to the ledger. Belongs to one event loop; start and stop it there."""

    def __init__(
        self,
        url: str,
        *,
        connect_seconds: float = DEFAULT_CONNECT_SECONDS,
        stall_seconds: float = STALL_SECONDS,
        slowest: float = SLOWEST,
    ):
        self._address = Address.parse(url, name="palaver-worker")
        self._shown_url = redacted_url(url)
        self._connect_seconds = connect_seconds
        self._stall_seconds, self._slowest = stall_seconds, slowest
        self._wire: _Wire | None = None
        self._waiting: deque[_Frame] = deque()  # unanswered when the connection went, then newer ones
        self._sources = {sha.encode(): source for sha, source in sources().items()}
        self._reconnecting: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._closed = False
        self._since = 0.0  # the loop's time; the connection's
        self._refused = ""  # what Redis answers for now
        self.stalls = 0
        """Connections in a row that were replaced because Redis greeted, and then nothing moved."""
        self.on_dead: Callable[[], object] = _ignored
        """Called, once, when STALLS were in a row first: only a new process mends that."""
        self._backoff = BACKOFF_SECONDS[0]

    @property
    def connected(self) -> bool:
        """Whether there is a connection, on which Redis does what it is asked."""
        return self._wire is not None and not self._refused

    async def start(self) -> None:
        """Connect. Raises `LedgerUnavailableError`, with the URL but no password, after `connect_seconds`."""
        try:
            await self._connect()
        except (OSError, hiredis.HiredisError) as error:
            # what Redis itself says to a greeting quotes nothing of it
            why = str(error) if isinstance(error, hiredis.ReplyError) else reason(error)
            raise LedgerUnavailableError(
                f"The ledger at {self._shown_url} cannot be reached: {why}."
            ) from error
        self._watch_for_stalls()

    async def stop(self) -> None:
        """Close the connection; whoever still waits for a reply gets a LedgerUnavailableError."""
        self._closed = True
        if self._watch is not None:
            self._watch.cancel()
        if self._reconnecting is not None:
            self._reconnecting.cancel()
        wire, self._wire = self._wire, None
        if wire is not None:
            self._waiting.extendleft(reversed(wire.frames))
            wire.frames.clear()
            wire.abort()
        for frame in self._waiting:
            frame.done([])
        self._waiting.clear()

    def send(self, data: bytes, expects: int, done: Callable[[Replies], None]) -> None:
        """Write packed commands that have `expects` replies; `done` gets them all, errors among them as
        values.

        `done` gets an empty list when the link is stopped before the replies came.
        """
        self._submit(_Frame(data, expects, done))

    async def run(self, operation: Operation[R]) -> R:
        """Carry out one operation and return its decoded reply; raises the verdict as the operation does."""
        result = (await self.run_all([operation]))[0]
        if isinstance(result, PalaverError):
            try:
                raise result
            finally:
                del result  # it knows this frame: no cycle
        return result

    async def run_all(self, operations: Sequence[Operation[R]]) -> list[R | PalaverError]:
        """Carry out operations in one write; a verdict stands in its operation's place as a value."""
        if not operations:  # what expects no reply would take those of others
            return []
        commands = [words for operation in operations for words in _commands(operation)]
        replies = await self._ask(b"".join([_pack(*words) for words in commands]), len(commands))
        return self._decoded(operations, replies)

    def post(self, operation: Operation[R], then: Callable[[R], object] | None = None) -> None:
        """Carry out an operation for whose outcome nobody waits; `then` is given it, and a verdict logged."""

        def done(replies: Replies) -> None:
            for result in self._decoded([operation], replies) if replies else ():
                if isinstance(result, PalaverError):
                    script = operation.script.name
                    logger.warning("link.operation_refused", script=script, error=result.type)
                elif then is not None:
                    then(result)

        commands = _commands(operation)
        self.send(b"".join([_pack(*words) for words in commands]), len(commands), done)

    async def caught_up(self) -> None:
        """Return when Redis has carried out everything that was written before."""
        await self._ask(_pack("PING"), 1)

    async def _ask(self, data: bytes, expects: int) -> Replies:
        future: asyncio.Future[Replies] = asyncio.get_running_loop().create_future()

        def done(replies: Replies) -> None:
            if future.done():
                return
            if replies:
                future.set_result(replies)
            else:
                future.set_exception(LedgerUnavailableError("the worker has closed its connection to Redis"))

        frame = _Frame(data, expects, done)
        self._submit(frame)
        try:
            return await future
        except asyncio.CancelledError:
            frame.dropped = True
            raise

    def _decoded(self, operations: Sequence[Operation[R]], replies: Replies) -> list[R | PalaverError]:
        results: list[R | PalaverError] = []
        following: list[bytes] = []
        rest = iter(replies)
        for operation in operations:
            refused = [raw for raw in islice(rest, len(operation.before)) if isinstance(raw, Exception)]
            raw = next(rest)
            if refused:
                results.append(reply_error(refused[0]))
                continue
            if not isinstance(raw, Exception):
                following.extend(_pack(*command.words) for command in operation.after(raw))
            try:
                results.append(operation.decode(raw))
            except PalaverError as verdict:
                results.append(forget_frames(verdict))
        if following:
            # Order is kept and nothing is lost on the way: who must wait for them has `caught_up`.
            self.send(b"".join(following), len(following), _logged)
        return results

    def _submit(self, frame: _Frame) -> None:
        if self._closed:
            frame.done([])
        elif self._wire is None:
            self._waiting.append(frame)
        else:
            self._wire.write(frame)

    def _answered(self, wire: _Wire, frame: _Frame) -> None:
        if frame.faulty:
            words = {_word(reply) for reply in frame.replies}
            if refused := words & TRANSIENT:
                self._tell_refusal(min(refused))
                wire.frames.appendleft(frame.reset())
                wire.abort()
                return
            if NO_SCRIPT in words:
                self._send_sources(wire, frame)
                return
        if self._refused and wire is self._wire:  # the first reply is to what was refused
            self._tell_refusal("")
        frame.done(frame.replies)

    def _tell_refusal(self, word: str) -> None:
        """Log what Redis refuses everything with, once however long that lasts, and its end."""
        if word and not self._refused:
            logger.warning("link.refused", reply=word)
        elif not word:
            logger.info("link.accepted", reply=self._refused)
        self._refused = word

    def _send_sources(self, wire: _Wire, frame: _Frame) -> None:
        """Send again what Redis did not know by its hash, the first call of each script with its source.

        EVAL needs no cache and fills it for the others, so each round trip gets further, however often
        somebody empties it.
        """
        missing = [place for place, reply in enumerate(frame.replies) if _word(reply) == NO_SCRIPT]
        calls = _unpacked(frame.data)
        sources = dict(self._sources)
        packed = []
        for _, sha, *rest in (calls[place] for place in missing):
            source = sources.pop(sha, None)
            packed.append(_pack("EVALSHA", sha, *rest) if source is None else _pack("EVAL", source, *rest))

        def done(replies: Replies) -> None:
            for place, reply in zip(missing, replies, strict=False):
                frame.replies[place] = reply
            frame.done(frame.replies if replies else [])

        wire.write(_Frame(b"".join(packed), len(packed), done))

    def _lost(self, wire: _Wire) -> None:
        if self._closed:
            return
        self._wire = None
        self._waiting.extendleft(frame.reset() for frame in reversed(wire.frames))
        if not self._refused:
            logger.warning("link.lost", url=self._shown_url, unanswered=len(self._waiting))
        if self._lasted() > STEADY_SECONDS:
            self._backoff = BACKOFF_SECONDS[0]
        self._reconnecting = asyncio.get_running_loop().create_task(self._reconnect(), name="palaver-link")

    async def _reconnect(self) -> None:
        """Connect anew: at once if the last connection has lasted a while, else after a pause."""
        told: set[bool] = set()
        while True:
            pause, self._backoff = self._backoff, min(self._backoff * 2, BACKOFF_SECONDS[1])
            if pause > BACKOFF_SECONDS[0]:
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            try:
                await self._connect()
            except (OSError, hiredis.HiredisError) as error:
                away = isinstance(error, OSError)  # or there, and refuses us: a password, say
                if away not in told:  # once, however long that lasts
                    told.add(away)
                    logger.warning("link.unreachable", url=self._shown_url, error=type(error).__name__)
            else:
                if not self._refused:
                    logger.info("link.restored", url=self._shown_url)
                return

    async def _connect(self) -> None:
        """Open a connection, greet, send the scripts that it lacks, and again what has no reply yet."""
        async with asyncio.timeout(self._connect_seconds):
            new = partial(_Wire, self._answered, self._slowest)
            wire = await self._address.connect(new, seconds=self._connect_seconds)
            try:
                missing = await self._greet(wire)
            except BaseException:
                wire.abort()
                raise
        wire.lost = lambda: self._lost(wire)
        self._wire, self._since = wire, asyncio.get_running_loop().time()
        if missing:  # not in the greeting: a slow path takes its time for them
            wire.write(_Frame(b"".join(missing), len(missing), _logged))
        waiting, self._waiting = self._waiting, deque()
        for frame in waiting:
            if not frame.dropped:
                wire.write(frame)

    async def _greet(self, wire: _Wire) -> list[bytes]:
        """Say who it is; the commands with the scripts that this server does not know."""
        greeted: asyncio.Future[Replies] = asyncio.get_running_loop().create_future()
        commands = [_pack(*words) for words in self._address.greeting]
        commands.append(_pack("SCRIPT", "EXISTS", *self._sources))

        def done(replies: Replies) -> None:
            if not greeted.done():
                greeted.set_result(replies)

        def lost() -> None:
            if not greeted.done():
                greeted.set_exception(ConnectionResetError("the connection was closed during the greeting"))

        wire.lost = lost
        wire.write(_Frame(b"".join(commands), len(commands), done))
        replies = await greeted
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise reply
        if not wire.open:
            raise ConnectionResetError("the connection was closed after the greeting")
        known = zip(self._sources.values(), replies[-1], strict=True)
        return [_pack("SCRIPT", "LOAD", source) for source, there in known if not there]

    def _lasted(self) -> float:
        """Seconds since it is connected."""
        return asyncio.get_running_loop().time() - self._since

    def _watch_for_stalls(self) -> None:
        """Replace a connection whose path died without a word; the resend rule makes that safe."""
        wire, between = self._wire, self._stall_seconds / LOOKS
        still, more = wire.still() if wire is not None else (0, 0.0)
        if wire is not None and not still and self._lasted() > 2 * self._stall_seconds:
            self.stalls = 0
        if wire is not None and still * between >= self._stall_seconds + more:
            self.stalls += 1
            logger.warning(
                "link.stalled", url=self._shown_url, seconds=self._stall_seconds, in_a_row=self.stalls
            )
            wire.abort()
            if self.stalls == STALLS:
                on_dead, self.on_dead = self.on_dead, _ignored
                on_dead()
        self._watch = asyncio.get_running_loop().call_later(between, self._watch_for_stalls)


def _pack(*words: str | bytes | int) -> bytes:
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type] # its stub knows tuples of one word only
    return packed


def _ignored(*_: object) -> None:
    """For what nobody needs to know."""


def _logged(replies: Replies) -> None:
    """For commands that nobody waits for."""
    for reply in replies:
        if isinstance(reply, hiredis.ReplyError):
            logger.error("link.command_refused", reply=_word(reply))


def _word(reply: Any) -> str:
    """An error reply's first word, the others may quote arguments; of other replies none. Redis 6 puts the
    words of a command that a script was refused behind its own.
    """
    if not isinstance(reply, hiredis.ReplyError):
        return ""
    said = str(reply)
    refused = _OF_A_SCRIPT.match(said)
    return refused[1] if refused else said.partition(" ")[0]


def _unpacked(data: bytes) -> list[list[bytes]]:
    """The words of packed commands: they have the form of replies."""
    reader = hiredis.Reader()
    reader.feed(data)
    return list(iter(reader.gets, False))


def _commands(operation: Operation[Any]) -> tuple[tuple[str | bytes | int, ...], ...]:
    return (*(command.words for command in operation.before), operation.evalsha())
