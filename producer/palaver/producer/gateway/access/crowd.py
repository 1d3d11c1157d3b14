"""How many requests of one key, or of one reader token, are answered at once: none may take a process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from palaver.shared.errors import TooManyRequestsError

_AGAIN_SECONDS: Final = 5.0


class Crowd:
    """Those whose requests a process answers now, streams included."""

    def __init__(self) -> None:
        self._requests: Counter[str] = Counter()

    @contextmanager
    def place(self, name: str, most: int) -> Iterator[None]:
        """While a request of this name is answered. Raises TooManyRequestsError."""
        if self._requests[name] >= most:
            told = f"{most} requests of this key or token are open here, and that is what it may have."
            raise TooManyRequestsError(told, retry_after=_AGAIN_SECONDS)
        self._requests[name] += 1
        try:
            yield
        finally:
            self._requests[name] -= 1
            if not self._requests[name]:
                del self._requests[name]
