"""The last events of a session, encoded, and the places of those who read them; pure.

A place is absolute: it counts all frames that there ever were. What a client has up to a `seq` tells its
place only while each frame is the next one of the log: behind what a reader made (a `resync`) places begin
anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from palaver.producer.cursor import Entry
from palaver.producer.gateway.fanout.frames import encode

RING_FRAMES: Final = 256
RING_BYTES: Final = 256 * 1024
LARGEST_PIECE: Final = 64 * 1024
"""Bytes that are handed to a client's connection at once, unless one event is larger."""


class Piece(NamedTuple):
    """Some events, the seq of the last one, and the place behind it."""

    data: bytes
    seq: int
    place: int


class Ring:
    """`seq` is that of the last event, at first that of the moment from which on events come."""

    def __init__(self, seq: int) -> None:
        self.seq = seq
        self._frames: deque[tuple[int, bytes]] = deque()
        self._bytes = 0
        self._end = 0  # the place behind the last frame
        self._dense_from = 0  # behind this place each frame is the next one of the log

    def add(self, entries: Iterable[Entry]) -> None:
        """Take the next events; the oldest leave when there are too many."""
        for entry in entries:
            data = encode(entry)
            self._frames.append((entry.seq, data))
            self._bytes += len(data)
            self._end += 1
            if entry.made or entry.seq != self.seq + 1:
                self._dense_from = self._end
            self.seq = entry.seq
        while len(self._frames) > RING_FRAMES or (self._bytes > RING_BYTES and len(self._frames) > 1):
            self._bytes -= len(self._frames.popleft()[1])

    def place_behind(self, seq: int) -> int | None:
        """Where a client goes on that has everything up to `seq`; None if that is not in the ring."""
        place = self._end - (self.seq - seq)
        first = max(self._end - len(self._frames), self._dense_from)
        return place if first <= place <= self._end else None

    def behind(self, place: int) -> Piece | None:
        """What is behind a place, as much as fits into one piece; None once it has left the ring."""
        missing = self._end - place
        if missing == 1:
            seq, data = self._frames[-1]
            return Piece(data, seq, self._end)
        return self._joined(place, missing) if missing <= len(self._frames) else None

    def _joined(self, place: int, missing: int) -> Piece:
        pieces, size, last = list[bytes](), 0, self.seq
        for number in range(len(self._frames) - missing, len(self._frames)):
            seq, data = self._frames[number]
            size += len(data)
            if pieces and size > LARGEST_PIECE:
                break
            pieces.append(data)
            last = seq
        return Piece(b"".join(pieces), last, place + len(pieces))
