"""Jobs that keep coming while something befalls what runs them."""

import threading
from typing import Any, Self

from palaver.shared.errors import ServiceUnavailableError
from tests.faults.stand import Job, Stand


class Load:
    """Four jobs ten times a second, some of them in sessions that go on, until told to stop.

    `refused` counts what a service that was away would not take; nothing of that was stored.
    """

    def __init__(self, stand: Stand) -> None:
        self.jobs: list[Job] = []
        self.refused = 0
        self._stand = stand
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._enough.wait(0.1):
            number += 1
            self._submit(words=10, session_id=f"line-{number % 10}", history=[])
            self._submit(words=40)

    def _submit(self, **fields: Any) -> None:
        try:
            self.jobs += self._stand.submit(2, rate=20, **fields)
        except ServiceUnavailableError:
            self.refused += 1
