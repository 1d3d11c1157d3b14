"""Lines that wait in a temporary file, because memory shall not hold them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from palaver.shared.errors import ConfigurationError

_IN_MEMORY: Final = 4 * 1024 * 1024
"""Bytes, before they go to the disk."""


class Scratch:
    """Lines, each with its newline, that are read again. To be closed.

    All methods raise ConfigurationError where the folder for temporary files does not take them.
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile[bytes](_IN_MEMORY)
        self._end = 0
        self._at_end = True

    def append(self, line: bytes) -> int:
        """Add a line; its place, for `at`."""
        place = self._end
        with _told():
            if not self._at_end:
                self._file.seek(place)
                self._at_end = True
            self._end += self._file.write(line)
        return place

    def at(self, place: int) -> bytes:
        """The line of this place."""
        self._at_end = False
        with _told():
            self._file.seek(place)
            return self._file.readline()

    def __iter__(self) -> Iterator[bytes]:
        """All lines, in the order in which they were added."""
        place = 0
        while line := self.at(place):
            yield line
            place += len(line)

    def close(self) -> None:
        """Forget the lines."""
        with suppress(OSError):  # what a full disk did not take, it is asked to take once more
            self._file.close()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        folder = tempfile.tempdir or "The folder for temporary files"
        told = f"{folder} does not take the lines of a batch: {error.strerror}; name another folder in TMPDIR"
        raise ConfigurationError(told) from error
