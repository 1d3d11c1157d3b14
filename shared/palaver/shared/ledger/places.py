"""What many threads say to Redis, over a bounded number of connections."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

import redis

from palaver.shared import redis_commands
from palaver.shared.redis_commands import Words
from palaver.shared.signs import Signs

CONNECTIONS: Final = 64


class Places:
    """The connections of a client. A thread waits for one as long as Redis answers those that have one.

    Once it has answered nobody for `patience` seconds, or failed one and answered nobody meanwhile, those who
    wait are told so with the others. A forked child begins anew.
    """

    def __init__(self, client: redis.Redis, *, patience: float) -> None:
        self._client = client
        self._patience = patience
        self._signs = Signs()
        self._begin()

    def send(self, commands: Sequence[Words]) -> list[Any]:
        """The reply to each command; an error reply stands in its place as an exception.

        Raises redis-py's errors of the connection.
        """
        if self._pid != os.getpid():
            self._begin()
        free = self._free
        self._wait_for(free)
        begun = time.monotonic()
        try:
            replies = redis_commands.run(self._client, commands)
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            self._signs.failed(error, begun=begun)
            raise
        finally:
            free.release()
        self._signs.answered()
        return replies

    def close(self) -> None:
        """Close the connections; the next call opens others."""
        self._client.close()

    def _begin(self) -> None:
        self._free = threading.Semaphore(CONNECTIONS)
        self._pid = os.getpid()

    def _wait_for(self, free: threading.Semaphore) -> None:
        asked = time.monotonic()
        taken = False
        while not taken:
            taken = free.acquire(timeout=self._patience)
            problem = self._given_up(asked)
            if problem is not None:
                if taken:
                    free.release()
                raise problem

    def _given_up(self, asked: float) -> BaseException | None:
        """Why whoever waits since `asked` need not wait any longer."""
        silent = self._signs.silence(asked) >= self._patience
        return self._signs.failure(asked) or (redis.TimeoutError("Redis answers nobody") if silent else None)
