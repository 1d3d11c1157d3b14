"""What a process writes, line by line and within a bound, as an encoding: that is what the package lets its
callers choose of how it reads a pipe.
"""

import codecs
from typing import Final

__all__ = ["ENCODING", "MOST_BYTES"]

ENCODING: Final = "palaver_lines"
MOST_BYTES: Final = 16 * 1024 * 1024


class _Decoder(codecs.IncrementalDecoder):
    """UTF-8 without what a line has beyond the bound: its reader, which keeps a line until it is whole, finds
    it broken.
    """

    def __init__(self, errors: str = "strict") -> None:
        super().__init__(errors)
        self._text = codecs.getincrementaldecoder("utf-8")(errors)
        self._size = 0  # of the line so far

    def decode(self, data: bytes, final: bool = False) -> str:  # type: ignore[override] # a pipe's
        """See `codecs.IncrementalDecoder`."""
        head, newline, rest = data.partition(b"\n")
        self._size += len(head)
        if self._size > MOST_BYTES:
            head = b""
        if newline:
            self._size = len(rest) - rest.rfind(b"\n") - 1
        return self._text.decode(head + newline + rest, final)


def _found(name: str) -> codecs.CodecInfo | None:
    if name != ENCODING:
        return None
    utf8 = codecs.lookup("utf-8")
    return codecs.CodecInfo(utf8.encode, utf8.decode, incrementaldecoder=_Decoder, name=ENCODING)


codecs.register(_found)
