"""The hot path: deltas of a thousand streams become few, large writes to the ledger.

Self-clocking, without a timer: when no batch is on its way, what a stream says leaves in the same turn of the
loop; while one is, everything gathers and leaves together when the last reply of the batch is in. An idle
worker adds nothing to a chunk's way, a busy one makes longer batches.

A batch is one `append` script per job: fenced by its claim, deduplicated by the producer sequence of its
first event. Adjacent deltas of one kind are merged, but only before they are first sent: the bytes of a batch
never change afterwards, and the link writes them again, the same, when a connection is lost before the
replies came.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from palaver.shared.errors import InternalError, LedgerUnavailableError, PalaverError
from palaver.shared.ledger import Claimed, Keys, load, operations
from palaver.workers.answer_writer import too_large
from palaver.workers.frames import forget_frames
from palaver.workers.link import Replies, Sender
from palaver.workers.stop import asked_to_end

__all__ = ["Publisher", "Writer", "inner_event"]

HIGH_WATER = 32 * 1024  # bytes that a stream may gather before its provider is read no further

_TEXT = b'"type":"text_chunk","data":{"delta":"'
_REASONING = b'"type":"reasoning_chunk","data":{"delta":"'
_DELTA_END = b'"}'

_WORDS = 4 + operations.APPEND_FIXED  # EVALSHA, sha, number of keys, key, and the arguments before the events


class Writer:
    """One attempt's hand on its session's log. Made by `Publisher.open`; belongs to the loop of its
    publisher.

    `text`, `reasoning` and `event` never block and never fail for the ledger's sake: a verdict (cancelled,
    fenced, ended, out of memory) reaches the callback given to `on_stop`, once, and `flush` raises it. That
    the answer is larger than its bound is told there too.
    """

    __slots__ = (
        "_confirmed_until", "_events", "_head", "_job", "_next", "_on_stop", "_publisher", "_reasoning",
        "_reset", "_run", "_run_head", "_sent", "_size", "_text", "_too_large", "_waiters", "cancelled",
        "queued", "said", "thought", "verdict",
    )  # fmt: skip

    def __init__(
        self, publisher: Publisher, head: bytes, claimed: Claimed, *, confirmed_until: float
    ) -> None:
        self.said = bytearray(
            claimed.text.encode()
        )  # the whole text so far, in UTF-8: a quarter of a list of deltas
        self.thought = bytearray(claimed.reasoning.encode())
        self.verdict: PalaverError | None = None  # why nothing can be written any more
        self.cancelled = False
        self._too_large = False
        self._job = (claimed.session_id, claimed.job_id, claimed.fence)
        self._publisher = publisher
        self._head = head
        self._confirmed_until = confirmed_until
        self._on_stop: Callable[[PalaverError], None] | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._next = 1  # producer sequence of the next event
        self._sent = 0  # events of ours in the batch on its way
        self.queued = False  # the publisher will ask for what has gathered
        self._drop_pending()

    def _drop_pending(self) -> None:
        self._events: list[bytes] = []
        self._run: list[bytes] = []  # deltas of one kind that will be one event
        self._run_head = b""
        self._text: list[bytes] = []
        self._reasoning: list[bytes] = []
        self._reset = False
        self._size = 0

    # What the runner says

    def text(self, delta: str, raw: bytes | None = None) -> None:
        """Add to the answer's text; with `raw`, the provider's own JSON, it stays an event of its own."""
        if not delta and raw is None:
            return
        piece, plain = _encoded(delta)
        self.said += plain
        self._text.append(plain)
        self._add(_TEXT, piece, raw)

    def reasoning(self, delta: str, raw: bytes | None = None) -> None:
        """Add to the answer's reasoning."""
        if not delta and raw is None:
            return
        piece, plain = _encoded(delta)
        self.thought += plain
        self._reasoning.append(plain)
        self._add(_REASONING, piece, raw)

    def event(self, kind: str, data: Mapping[str, Any]) -> None:
        """Add an event of another kind; `data` is JSON-able."""
        self._close_run()
        inner = inner_event(kind, data)
        self._events.append(inner)
        self._gathered(len(inner))

    def start(
        self, *, model: str, provider: str, offset: int, metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Begin to write: at offset 0 everything written so far is dropped, here, in the ledger and by
        readers.
        """
        if offset == 0:
            self.said.clear()
            self.thought.clear()
            self._text.clear()
            self._reasoning.clear()
            self._reset = True
        self.event(
            "stream_start",
            {"model": model, "provider": provider, "offset": offset, "metadata": dict(metadata or {})},
        )

    # Backpressure and certainty

    @property
    def full(self) -> bool:
        """Whether enough waits that `drain` would wait; asked once per network read, so it is cheap."""
        return self._size > HIGH_WATER

    async def drain(self) -> None:
        """Return when what waits to be sent is within bounds again, or can never be sent any more."""
        while self._size > HIGH_WATER and self.verdict is None:
            await self._turn()

    async def flush(self) -> None:
        """Return when everything said is in the ledger; raises the verdict when it never will be."""
        while self.verdict is None and (self._sent or self._size):
            await self._turn()
        if self.verdict is not None:
            raise self.verdict

    def on_stop(self, callback: Callable[[PalaverError], None]) -> None:
        """Have `callback` told, once, why the work should stop: the cancel flag or the ledger's verdict."""
        self._on_stop = callback

    def confirm(self, until: float) -> None:
        """The lease is known to hold until this time of `time.monotonic`; beyond it nothing is sent."""
        self._confirmed_until = until
        if self._size and not self.queued:
            self._publisher.enqueue(self)

    def recall(self, text: str, reasoning: str) -> None:
        """After a verdict: this is what the ledger has of what was said."""
        self.said, self.thought = bytearray(text.encode()), bytearray(reasoning.encode())

    def close(self) -> None:
        """Take no part any more; what was not sent is dropped."""
        self._on_stop = None
        self._drop_pending()

    # What the publisher asks

    def take(self, now: float) -> bytes | None:
        """The append command of all that gathered; None while the lease is unconfirmed or nothing is left."""
        self.queued = False
        if not self._size or now >= self._confirmed_until:
            return None
        self._check_size()
        self._close_run()
        events, first = self._events, self._next
        self._sent = len(events)
        self._next += self._sent
        text, reasoning = b"".join(self._text), b"".join(self._reasoning)
        command = _packed(self._head, events, first=first, reset=self._reset, text=text, reasoning=reasoning)
        self._drop_pending()
        return command

    def fail(self, verdict: PalaverError) -> None:
        """Nothing can be written any more."""
        self._sent = 0
        if self.verdict is None:
            self.verdict = verdict
            self._tell(verdict)
        self._drop_pending()
        self._wake()

    def settle(self, reply: Any) -> None:
        """Take the ledger's answer to what was sent."""
        self._sent = 0
        if reply.__class__ is not list or reply[0] != b"ok":
            self.fail(self._verdict(reply))
            return
        if reply[1] and not self.cancelled:
            self.cancelled = True
            self._tell(asked_to_end(reply[1].decode(), self._job[1]))
        if self._waiters:
            self._wake()

    def _check_size(self) -> None:
        """Looked at once a batch: a little beyond the bound does no harm, and is told all the same."""
        bound = self._publisher.answer_bytes
        if len(self.said) + len(self.thought) > bound and not self._too_large:
            self._too_large = True
            self._tell(too_large(bound, self._job[1]))

    def _verdict(self, reply: Any) -> PalaverError:
        """Why an append was not taken. The ledger's own decoder knows; here it is off the hot path."""
        session_id, job_id, fence = self._job
        keys = self._publisher.keys
        refused = operations.append(keys, session_id, job_id, fence=fence, first=1, events=())
        try:
            refused.decode(reply)
        except PalaverError as verdict:
            return forget_frames(verdict)  # it is kept
        return InternalError("the ledger's answer to an append has an unknown form", job_id=job_id)

    def _add(self, head: bytes, piece: bytes, raw: bytes | None) -> None:
        if raw is not None:
            self._close_run()
            inner = b'%b%b","raw":%b}' % (head, piece, raw)
            self._events.append(inner)
            self._gathered(len(inner))
            return
        if self._run_head is not head:
            self._close_run()
            self._run_head = head
        self._run.append(piece)
        self._gathered(len(piece))

    def _close_run(self) -> None:
        if self._run:
            self._events.append(b"".join((self._run_head, *self._run, _DELTA_END)))
            self._run = []
        self._run_head = b""

    def _gathered(self, size: int) -> None:
        if self.verdict is not None:
            self._drop_pending()
            return
        self._size += size
        if not self.queued:
            self._publisher.enqueue(self)

    def _tell(self, reason: PalaverError) -> None:
        if self._on_stop is not None:
            self._on_stop(reason)

    async def _turn(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Publisher:
    """The process's writers, and the one batch of theirs that is on its way."""

    def __init__(
        self,
        sender: Sender,
        keys: Keys,
        *,
        log_entries: int,
        answer_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keys = keys
        self.answer_bytes = answer_bytes
        self._sender = sender
        self._log_entries = log_entries
        self._clock = clock
        self._gathering: list[Writer] = []  # have something to send, in the order in which they first spoke
        self._gathered_since = 0.0  # the first of them has spoken then, by the clock
        self._canary = ""  # the channel that is to be told how old the next batch is
        self._batch: list[Writer] = []  # wait for the reply to what they sent
        self._busy = False  # a batch is on its way, or will be before this turn of the loop ends
        self.batches = 0
        self.appends = 0

    def open(self, claimed: Claimed, *, confirmed_until: float) -> Writer:
        """The writer of a claimed job; `confirmed_until` as for `Writer.confirm`."""
        base = self.keys.base(claimed.session_id)
        words = (
            load("append").sha,
            1,
            base,
            claimed.session_id,
            claimed.job_id,
            claimed.fence,
            self._log_entries,
        )
        return Writer(self, _bulks("EVALSHA", *words), claimed, confirmed_until=confirmed_until)

    def enqueue(self, writer: Writer) -> None:
        """Take what this writer gathers along with the next batch."""
        writer.queued = True
        if not self._gathering:
            self._gathered_since = self._clock()
        self._gathering.append(writer)
        if not self._busy:
            self._begin()

    def send_canary(self, channel: str) -> None:
        """Tell the channel's subscribers, right behind the next batch, when its oldest word was said, by the
        clock. If nothing has gathered they are told at once.
        """
        if not self._gathering:
            self._gathered_since = self._clock()
        self._canary = channel
        if not self._busy:
            self._begin()

    def _begin(self) -> None:
        self._busy = True
        asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        now = self._clock()
        writers, self._gathering = self._gathering, []
        commands: list[bytes] = []
        for writer in writers:
            command = writer.take(now)
            if command is not None:
                commands.append(command)
                self._batch.append(writer)
        self.batches += bool(commands)
        self.appends += len(commands)
        if self._canary:
            commands.append(_packed_canary(self._canary, self._gathered_since))
            self._canary = ""
        self._busy = bool(commands)
        if commands:
            self._sender.send(b"".join(commands), len(commands), self._replied)

    def _replied(self, replies: Replies) -> None:
        batch, self._batch = self._batch, []
        if not replies:
            stopped = LedgerUnavailableError(
                "the worker closed its connection to Redis before the reply came"
            )
            for writer in batch:
                writer.fail(stopped)
        for writer, reply in zip(batch, replies, strict=False):
            writer.settle(reply)
        self._busy = False
        if self._gathering or self._canary:
            self._send()


def inner_event(kind: str, data: Mapping[str, Any]) -> bytes:
    """An event as the ledger's scripts take it: the JSON of `type` and `data`, without braces."""
    return b'"type":"%b","data":%b' % (kind.encode(), orjson.dumps(data))


def _encoded(delta: str) -> tuple[bytes, bytes]:
    """A delta as the inside of a JSON string, and as plain UTF-8."""
    try:
        return orjson.dumps(delta)[1:-1], delta.encode()
    except (orjson.JSONEncodeError, UnicodeEncodeError):
        # Half a surrogate pair is no text: pairs are joined, what stays alone becomes U+FFFD.
        clean = delta.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return orjson.dumps(clean)[1:-1], clean.encode()


def _bulks(*words: str | int) -> bytes:
    """Words as Redis's wire format has them inside a command."""
    encoded = [str(word).encode() for word in words]
    return b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded])


def _packed_canary(channel: str, since: float) -> bytes:
    words = _bulks("PUBLISH", channel, repr(since))
    return b"*3\r\n%b" % words


def _packed(
    head: bytes, events: Sequence[bytes], *, first: int, reset: bool, text: bytes, reasoning: bytes
) -> bytes:
    """One EVALSHA of `append` in Redis's wire format; the header of append.lua has the order of its
    arguments.
    """
    number = b"%d" % first
    command = b"*%d\r\n%b$%d\r\n%b\r\n$1\r\n%d\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (
        _WORDS + len(events), head, len(number), number, reset, len(text), text, len(reasoning), reasoning,
    )  # fmt: skip
    if len(events) == 1:
        return b"%b$%d\r\n%b\r\n" % (command, len(events[0]), events[0])
    return command + b"".join([b"$%d\r\n%b\r\n" % (len(event), event) for event in events])
