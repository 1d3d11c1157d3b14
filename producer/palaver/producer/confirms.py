"""RabbitMQ's word that it has taken what was published, awaited once for many messages.

py-amqp itself waits for it after each message: a round trip and a write to disk for every job of a burst.
"""

import time
from typing import Any

__all__ = ["Confirms"]


class Confirms:
    """The confirmations of one channel of kombu's AMQP transport, from its beginning on.

    `refused` counts the messages that the broker would not take: a policy bounds their queue.
    """

    def __init__(self, channel: Any) -> None:
        self.refused = 0
        self._connection = channel.connection
        self._last = 0  # the number of the latest message, as the broker counts them
        self._open: set[int] = set()
        channel.events["basic_ack"].add(self._answered)
        channel.events["basic_nack"].add(self._not_taken)
        channel.confirm_select()

    def expect(self) -> None:
        """A message was published."""
        self._last += 1
        self._open.add(self._last)

    def wait(self, seconds: float) -> None:
        """Return when the broker has spoken of all of them. Raises TimeoutError; connections that break
        raise what they always do.
        """
        end = time.monotonic() + seconds
        while self._open:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.drain_events(timeout=left)

    def _answered(self, delivery_tag: int, multiple: bool) -> int:
        told = {number for number in self._open if number <= delivery_tag} if multiple else {delivery_tag}
        self._open -= told
        return len(told)

    def _not_taken(self, delivery_tag: int, multiple: bool) -> None:
        self.refused += self._answered(delivery_tag, multiple)
