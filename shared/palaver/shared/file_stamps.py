"""Whether files were written since somebody looked: those of a configuration that may change while it is
used.
"""

from collections.abc import Iterable
from pathlib import Path

__all__ = ["Stamps", "stamps_of"]

Stamps = dict[str, tuple[int, int, int] | None]
"""When a file was written, its size and its inode; None for one that is not there."""


def stamps_of(files: Iterable[str]) -> Stamps:
    """How these files are now."""
    return {file: _stamp(file) for file in files}


def _stamp(file: str) -> tuple[int, int, int] | None:
    try:
        found = Path(file).stat()  # follows links: a mounted secret is a link that is turned to another file
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
