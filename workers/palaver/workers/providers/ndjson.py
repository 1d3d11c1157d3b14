"""Newline-delimited JSON, split into lines without I/O."""

from palaver.shared.errors import MalformedStreamError
from palaver.workers.providers.decoder_options import MAX_EVENT_BYTES

_BOM = b"\xef\xbb\xbf"


class LineDecoder:
    """Bytes in, non-empty lines out. `error` is set, and nothing more comes out, once a line exceeds
    `limit` bytes.
    """

    def __init__(self, limit: int = MAX_EVENT_BYTES) -> None:
        self.error: MalformedStreamError | None = None
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0
        self._first = True

    def feed(self, data: bytes) -> list[bytes]:
        """All lines that this read completes. Line ends are LF; a CR before them is whitespace to JSON."""
        if self.error is not None:
            return []
        first, *rest = data.split(b"\n")
        self._pieces.append(first)
        self._size += len(first)
        lines: list[bytes] = []
        for piece in rest:
            self._take(lines)
            self._pieces = [piece]
            self._size = len(piece)
        self._check(self._size)
        return lines

    def finish(self) -> list[bytes]:
        """End of the stream: the last line, if it lacks its newline."""
        lines: list[bytes] = []
        self._take(lines)
        self._pieces = []
        return lines

    def _take(self, lines: list[bytes]) -> None:
        line = b"".join(self._pieces)
        self._check(len(line))
        if self._first and line:
            self._first = False
            line = line.removeprefix(_BOM)
        line = line.strip()
        if line and self.error is None:
            lines.append(line)

    def _check(self, size: int) -> None:
        if size > self._limit and self.error is None:
            self.error = MalformedStreamError(
                f"The provider sent a line of more than {self._limit} bytes. "
                "Raise max_event_bytes in the profile's options if answers of this size are meant."
            )
