"""Whether anything moves on a connection that waits: a path that is slow is not one that is dead."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

__all__ = ["LARGE", "Movement"]

LARGE = 64 * 1024
"""Bytes that may take long on a slow path. Of fewer, the way is not watched, only the reply waited for."""

# Of the kernel's struct tcp_info: tcpi_unacked, tcpi_bytes_acked, tcpi_bytes_received and tcpi_notsent_bytes.
COUNTS = struct.Struct("@24xI92xQQ8xI")


class Movement:
    """Of one connection: what its kernel says of it, compared from look to look.

    The kernel's counts are used, not how full a buffer is: what is written later fills that again, and TLS
    has buffers of its own.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._front: object = None
        self.sent = self._received = 0
        self.idle = False  # the other side had all that the kernel was given, at the last look
        self._still = 0

    def end_of(self, unanswered: int) -> int:
        """The count of bytes that have left for good when all these have that wait for replies now. Too high,
        if some of them have left already.
        """
        return self._counts()[0] + unanswered

    def look(self, front: object, end: int) -> int:
        """How many looks in a row have seen nothing move of `front`, the first thing that is waited for, and
        whose bytes end at this count (0: not watched). What is written behind it says nothing of its path:
        also a server that hangs has a kernel that takes some in.
        """
        sent, received, waiting = self._counts()
        moved = front is not self._front or received != self._received or self.sent < min(sent, end)
        self._front, self.sent, self._received, self.idle = front, sent, received, not waiting
        self._still = 0 if moved else self._still + 1
        return self._still

    def passed(self, end: int) -> bool:
        """Whether the other side has all bytes up to this count: a proxy may have to pass them on yet."""
        return 0 < end <= self.sent

    def _counts(self) -> tuple[int, int, int]:
        """Bytes that the other side has acknowledged, and that it has sent; and more than 0 if some wait here
        for that. Zeros where nobody counts them: on a Unix socket, on a system that is not Linux.
        """
        if sys.platform != "linux" or self._sock is None or self._sock.family == socket.AF_UNIX:
            return 0, 0, 0
        try:
            told = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        except OSError:  # closed meanwhile
            return 0, 0, 0
        if len(told) < COUNTS.size:
            return 0, 0, 0
        unacked, sent, received, unsent = COUNTS.unpack_from(told)
        return sent, received, unacked + unsent
