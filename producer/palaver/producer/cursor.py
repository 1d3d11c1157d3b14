"""How a reader follows a session's log without missing or repeating an event; pure, no I/O.

A `LogCursor` is told what arrives (a confirmed subscription, live messages, a page of the log, silence) and
says in `need` what it wants done next; what may be handed to the consumer gathers in `take()`. The shell in
`reader.py` does the I/O. The rules:

- the log is the truth, the channel only wakes readers: a live message counts if its `seq` follows the last;
- after every confirmation of the subscription the log is read from the cursor, and the entry *at* the cursor
  is compared with what was delivered: another event, or a session that ends below it, shows a failover;
- a gap is read from the log; a log that begins above the gap needs a `Snapshot`, the source of `resync`;
- after silence the session's `seq` is compared, so that a lost message is found without a further one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

PAGE = 500
"""Entries asked of the log at a time."""


class Entry(NamedTuple):
    """One event as it stands in the log: its JSON and the three fields that reading needs.

    `made`: it stands in no log, a reader made it.
    """

    seq: int
    job_id: str
    type: str
    raw: bytes
    fields: dict[str, Any]
    made: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """Read a page of entries after `after`; if `compare`, read the session's `seq` before them."""

    after: int
    compare: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """Ask the ledger for these jobs' state: has one ended, is one past its deadline?"""

    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The log cannot tell what is missing: take the jobs' state and the session's `seq` at one moment.

    `jobs` are the unended ones that the consumer knows. Of a session, others are concerned too: all that have
    not ended, and those that ended after the seq `after`, which is 0 when the consumer has seen another past
    than the ledger's.
    """

    jobs: tuple[str, ...]
    after: int


Need = Read | Look | Snapshot


def decode(raw: bytes) -> Entry:
    """One log entry or message. Raises: `ValueError` if it is no event."""
    fields = orjson.loads(raw)
    try:
        return Entry(fields["seq"], fields["job_id"], fields["type"], raw, fields)
    except (KeyError, TypeError):
        raise ValueError("the log holds an entry without seq, job_id or type") from None


class LogCursor:
    """Where one consumer stands in a session's log.

    `after` is the `seq` of the last event that the consumer has. With `job_id` only that job's events are
    handed out, and `done` is set after its `stream_end`. `open_jobs` are unended ones that began before.
    """

    def __init__(self, after: int = 0, *, job_id: str | None = None, open_jobs: Iterable[str] = ()) -> None:
        self.seq = after
        self.done = False
        self.need: Need | None = None
        self._job_id = job_id
        self._known = after  # the highest seq that was seen to exist
        self._anchor: Entry | None = None  # the event at the cursor, as delivered
        self._verify = False
        self._settled = False  # the job was seen to be ended: its stream_end is in the log now or never
        self._open: dict[str, None] = dict.fromkeys([job_id] if job_id else open_jobs)
        self._out: list[Entry] = []

    @property
    def open_jobs(self) -> tuple[str, ...]:
        """Jobs whose events the consumer has, but not their `stream_end`."""
        return tuple(self._open)

    def take(self) -> list[Entry]:
        """What may be handed to the consumer now, in order."""
        out, self._out = self._out, []
        return out

    def confirmed(self) -> None:
        """The subscription is confirmed, for the first time or after a reconnect: read from the cursor."""
        self._known = self.seq
        self._read_from_cursor()

    def overrun(self) -> None:
        """The buffer of live messages was dropped: catch up from the log."""
        if not isinstance(self.need, Snapshot):
            self._read_from_cursor()

    def silence(self) -> None:
        """Nothing came for a while: compare with the session, and look whether a job is past its deadline."""
        if self.need is None:
            self.need = Read(self.seq, compare=True)

    def live(self, messages: Iterable[bytes]) -> None:
        """Messages from the channel, in order of arrival."""
        for raw in messages:
            try:
                entry = decode(raw)
            except ValueError:  # somebody else's noise on the channel; the log would have what is ours
                continue
            if entry.seq <= self.seq or self.done:
                if self._contradicted_by(entry) and self.need is None:
                    self._read_from_cursor()
                continue
            if self.need is None and entry.seq == self.seq + 1:
                self._deliver(entry)
                continue
            self._known = max(self._known, entry.seq)
            if self.need is None:
                self.need = Read(self.seq)

    def page(self, entries: Collection[bytes], seq: int | None = None) -> None:
        """The answer to `Read`; `seq` is the session's, read before the entries, when `compare` was asked."""
        compared = seq is not None
        if seq is not None:
            if seq < self.seq:  # the session was set back: writes were lost
                return self._lose(after=0)
            self._known = max(self._known, seq)
        before = self.seq
        lost_after = self._walk(map(decode, entries))
        if lost_after is not None:
            return self._lose(lost_after)
        if self.done:
            self.need = None
        elif self.seq == self._known:
            self._caught_up(compared)
        elif self.seq > before:
            self.need = Read(self.seq)  # the log is longer than a page
        else:  # nothing of what exists was in the log
            self._lose(self.seq)
        return None

    def vanished(self) -> None:
        """The answer to `Look`, when the ledger no longer knows one of the jobs: writes were lost."""
        self._lose(self.seq)

    def looked(self, ended: Collection[str]) -> None:
        """The answer to `Look`: which of the jobs have ended, by now or just now."""
        self.need = None
        if self._job_id is None:
            if ended:  # they stay open until their ends are read: a failover may still take these back
                self.need = Read(self.seq, compare=True)
        elif self._job_id in ended:
            self._settled = True
            self.need = Read(self.seq, compare=True)

    def resumed(self, seq: int, open_jobs: Iterable[str]) -> None:
        """The answer to `Snapshot`: the `resync` events for the state at `seq` are made; these jobs go on."""
        self.seq = self._known = seq
        self._anchor = None
        self._open = dict.fromkeys(open_jobs)
        self.done = self._job_id is not None and not self._open
        self._read_from_cursor()  # the log has the messages that came meanwhile
        if self.done:
            self.need = None

    def _walk(self, entries: Iterable[Entry]) -> int | None:
        """Deliver what follows the cursor. If the log does not go on from what was delivered: the seq after
        which the consumer knows nothing for sure.
        """
        for entry in entries:
            if entry.seq > self.seq:
                if self._unverified or entry.seq > self.seq + 1:  # trimmed
                    return self.seq
                self._deliver(entry)
                if self.done:
                    break
            elif entry.seq == self.seq:
                if self._contradicted_by(entry):
                    return 0
                self._anchor = entry
                self._verify = False
        lost_after = self.seq if self._unverified else None
        self._verify = False
        return lost_after

    def _contradicted_by(self, entry: Entry) -> bool:
        """Whether it is another event than the one that was delivered at the cursor."""
        return (
            self._anchor is not None and entry.seq == self._anchor.seq and entry.fields != self._anchor.fields
        )

    @property
    def _unverified(self) -> bool:
        """The log was to show the entry at the cursor and has not, so nobody knows whether it is the same."""
        return self._verify and self._anchor is not None

    def _read_from_cursor(self) -> None:
        """Read what follows the cursor, and the entry at it once more."""
        self._verify = self.seq > 0
        self.need = Read(self.seq - self._verify, compare=True)

    def _deliver(self, entry: Entry) -> None:
        self.seq = entry.seq
        self._known = max(self._known, entry.seq)
        self._anchor = entry
        ended = entry.type == "stream_end"
        if self._job_id is None:
            if ended:
                self._open.pop(entry.job_id, None)
            else:
                self._open[entry.job_id] = None
        elif entry.job_id != self._job_id:
            return
        self._out.append(entry)
        self.done = ended and self._job_id is not None

    def _lose(self, after: int) -> None:
        self._verify = False
        self.need = Snapshot(self.open_jobs, after)

    def _caught_up(self, compared: bool) -> None:
        self.need = None
        if not compared:
            return
        if self._settled:  # its end lies at or before the cursor that the consumer came with
            self.done = True
        elif self._open:
            self.need = Look(self.open_jobs)
