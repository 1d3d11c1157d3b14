"""Server-sent events, decoded without I/O.

Source: the WHATWG HTML standard, 9.2 "Server-sent events", with three liberties that real model servers need:
an event that the end of the stream cut short of its blank line is still handed out by `finish`, a field named
`error` (llama.cpp) is data of an event named `error`, and so is a bare JSON line that begins with `{"error"`.

Lines are split over bytes, so U+2028 and U+0085 inside a text are not line ends, and a character split
between two reads is whole again before anyone decodes it.
"""

import msgspec

from palaver.shared.errors import MalformedStreamError
from palaver.workers.providers.decoder_options import MAX_EVENT_BYTES

_FIELDS = frozenset((b"", b"data", b"event", b"id", b"retry", b"error"))
_BOM = b"\xef\xbb\xbf"


class ServerEvent(msgspec.Struct, frozen=True, gc=False):
    """One event: its data lines joined by newlines, and its type (empty: a plain message)."""

    data: bytes
    event: bytes = b""


class SseDecoder:
    """Bytes in, events out. `error` is set, and nothing more comes out, once a line or event exceeds
    `limit` bytes.

    The error is an attribute, not an exception out of `feed`, so that events before it in the same read
    arrive.
    """

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self.error: MalformedStreamError | None = None
        self.recognised = False  # some line was a field or a comment: this is an event stream
        self._limit = limit
        self._begun = False  # past a possible byte order mark
        self._head = b""  # the first bytes, while they could still be a byte order mark
        self._after_cr = False  # a line feed that comes next belongs to the line already ended
        self._line: list[bytes] = []  # pieces of the unfinished line
        self._line_size = 0
        self._data: list[bytes] = []  # data lines of the unfinished event
        self._data_size = 0
        self._event = b""
        self._clean = True  # nothing unfinished: the next byte begins an event

    def feed(self, data: bytes) -> list[ServerEvent]:
        """All events that this read completes."""
        # Nearly every read is whole events of one data line each: a split and two searches decide that.
        if self._clean and data[:6] == b"data: " and data[-2:] == b"\n\n" and len(data) <= self._limit:
            blocks = data[6:-2].split(b"\n\ndata: ")
            if data.count(b"\n") == 2 * len(blocks) and b"\r" not in data:
                self._begun = self.recognised = True
                return [ServerEvent(block) for block in blocks]
        out: list[ServerEvent] = []
        if data and self.error is None:
            self._feed_lines(data, out)
        return out

    def finish(self) -> list[ServerEvent]:
        """End of the stream: the event that still lacks its blank line, if there is one."""
        out: list[ServerEvent] = []
        if self.error is None:
            self._take_line(self._head + b"".join(self._line), out)
            self._dispatch(out)
            self._line = []
        return out

    def _feed_lines(self, data: bytes, out: list[ServerEvent]) -> None:
        if not self._begun:
            data = self._without_bom(data)
        first, *rest = self._to_line_feeds(data).split(b"\n")
        self._line.append(first)
        self._line_size += len(first)
        for piece in rest:
            self._take_line(b"".join(self._line), out)
            self._line = [piece]
            self._line_size = len(piece)
            if self.error is not None:
                break
        self._check_size(self._line_size)
        self._clean = (
            not (self._line_size or self._data or self._event or self._after_cr or self._head)
            and self.error is None
        )

    def _without_bom(self, data: bytes) -> bytes:
        whole = self._head + data
        if len(whole) < len(_BOM) and _BOM.startswith(whole):
            self._head = whole
            return b""
        self._head = b""
        self._begun = True
        return whole.removeprefix(_BOM)

    def _to_line_feeds(self, data: bytes) -> bytes:
        # A CR ends its line at once; waiting for a possible LF would hold back the event until the next read.
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data

    def _take_line(self, line: bytes, out: list[ServerEvent]) -> None:
        self._check_size(len(line))
        if not line:
            self._dispatch(out)
        elif line.startswith(b'{"error"'):
            self._event = b"error"
            self._add(line)
        else:
            self._take_field(line)

    def _take_field(self, line: bytes) -> None:
        # A comment has an empty name; id and retry mean nothing here, since nothing in here reconnects.
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        self.recognised = self.recognised or name in _FIELDS
        if name == b"data":
            self._add(value)
        elif name == b"event":
            self._event = value
        elif name == b"error":
            self._event = b"error"
            self._add(value)

    def _add(self, value: bytes) -> None:
        self._data.append(value)
        self._data_size += len(value) + 1  # its line end: an empty line costs memory too
        self._check_size(self._data_size)

    def _dispatch(self, out: list[ServerEvent]) -> None:
        if self._data and self.error is None:
            out.append(ServerEvent(b"\n".join(self._data), self._event))
        self._data = []
        self._data_size = 0
        self._event = b""

    def _check_size(self, size: int) -> None:
        if size > self._limit and self.error is None:
            self.error = MalformedStreamError(
                f"The provider sent an event of more than {self._limit} bytes. "
                "Raise max_event_bytes in the profile's options if answers of this size are meant."
            )
