"""A response that was asked for as an event stream, and may be one JSON body instead: some servers cannot
stream, and many send an error this way.
"""

from typing import Final

from palaver.shared.errors import MalformedStreamError
from palaver.workers.providers.sse import ServerEvent, SseDecoder

_BLANK: Final = b"\xef\xbb\xbf \t\r\n"


class StreamOrBody:
    """Bytes in, events out; a body is kept until `finish`. `error` is set, and nothing more comes out, once
    an event or the body exceeds `limit` bytes.
    """

    def __init__(self, limit: int) -> None:
        self.body = b""  # the JSON body, after `finish`
        self._sse = SseDecoder(limit)
        self._limit = limit
        self._peek = True  # only blanks so far, or a body: not (yet) a stream
        self._pieces: list[bytes] = []
        self._size = 0
        self._too_large: MalformedStreamError | None = None

    @property
    def error(self) -> MalformedStreamError | None:
        """Why nothing more comes out."""
        return self._too_large or self._sse.error

    @property
    def recognised(self) -> bool:
        """Whether what came is nothing, a stream of events, or the beginning of JSON."""
        return self._peek or self._sse.recognised

    def feed(self, data: bytes) -> list[ServerEvent]:
        """All events that this read completes."""
        if self._peek:
            data = self._without_body(data)
        return self._sse.feed(data)

    def finish(self) -> list[ServerEvent]:
        """The end: the event that still lacks its blank line, if there is one. Sets `body`."""
        self.body, self._pieces = b"".join(self._pieces), []
        return self._sse.finish()

    def _without_body(self, data: bytes) -> bytes:
        """The bytes of a stream; those of a body are kept aside."""
        if self._too_large is not None:
            return b""
        if not self._pieces:
            # A byte order mark may come in pieces too; to the stream's decoder it makes no difference.
            data = data.lstrip(_BLANK)
            if data and data[:1] not in b"{[":
                self._peek = False
                return data
        if data:
            self._pieces.append(data)
            self._size += len(data)
        if self._size > self._limit:
            self._too_large = MalformedStreamError(
                f"The provider sent a body of more than {self._limit} bytes."
            )
            self._pieces = []
        return b""
