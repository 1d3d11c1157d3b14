"""Where a batch's input comes from, entry by entry: a file of JSON lines, or whatever a caller has."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO, Final, cast

from palaver.producer.prepare import JobLike
from palaver.shared.batches import BatchLine
from palaver.shared.errors import ValidationError
from palaver.shared.jobs import ChatJob
from palaver.shared.plain import refuse, shape

BatchSource = str | os.PathLike[str] | BinaryIO | Iterable[JobLike | BatchLine]
"""The path of a file of JSON lines, such a file that is open for bytes, or jobs."""

Entry = tuple[int, object]
"""Its number, counted from 1, and what it is: of a file, the line as bytes."""

_BOM: Final = b"\xef\xbb\xbf"


def entries(source: BatchSource, longest: int) -> Iterator[Entry]:
    """The entries, as they are read; blank lines of a file are counted and left out.

    Of a line that is longer than `longest` bytes there is one byte more than that. Raises ValidationError.
    """
    if isinstance(source, str | os.PathLike):
        return _of_path(source, longest)
    if hasattr(source, "readline"):
        return _lines(cast("BinaryIO", source), longest)
    if isinstance(source, bytes | Mapping | ChatJob) or not isinstance(source, Iterable):
        refuse("jobs", f"must be jobs or the path of a file, not {shape(source)}")
    return enumerate(source, 1)


def _of_path(path: str | os.PathLike[str], longest: int) -> Iterator[Entry]:
    try:
        with open(path, "rb") as file:
            yield from _lines(file, longest)
            return
    except OSError as error:
        problem = f"{os.fspath(path)} cannot be read: {error.strerror}"
    raise ValidationError(problem, param="jobs")


def _lines(file: BinaryIO, longest: int) -> Iterator[Entry]:
    number = 0
    while line := file.readline(longest + 1):
        if not isinstance(line, bytes):
            refuse("jobs", f"must be a file that was opened for bytes, not one that gives {shape(line)}")
        number += 1
        text = line.removeprefix(_BOM) if number == 1 else line
        if text.strip():
            yield number, text
        while len(line) > longest and not line.endswith(b"\n"):
            line = file.readline(longest + 1)  # the rest of it
