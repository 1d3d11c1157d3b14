"""The link of a broker that is none: a worker in this process takes the messages, at once."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Final

from palaver.producer.task_message import TaskMessage
from palaver.shared.errors import BrokerUnavailableError
from palaver.shared.in_process import Receiver, receiver_at


class LocalLink:
    """As the link of a real broker, whose part it plays in tests."""

    trusted: Final = False

    def __init__(self, url: str) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self._url = url

    def heed(self, asked: float) -> None:
        """Nobody waits here, so nobody has found out anything."""

    def round_trip(self) -> None:
        """Raises BrokerUnavailableError if nobody takes messages."""
        self._receiver()

    def publish(self, messages: Sequence[TaskMessage]) -> None:
        """Hand the messages over."""
        take = self._receiver()
        for message in messages:
            take(message.task, message.args)

    def lengths(self) -> dict[str, int]:
        """No message ever waits."""
        return {}

    def close(self) -> None:
        """There is nothing to close."""

    def _receiver(self) -> Receiver:
        found = receiver_at(self._url)
        if found is None:
            raise BrokerUnavailableError(f"No worker in this process takes messages to {self._url}.")
        return found
