"""Whether a broker that delivers by itself still does. RabbitMQ tells a consumer that it ends it; one that it
has lost without a word, on a connection that stands, looks to its worker like an empty queue.

So the queues are asked how many messages wait in them, on the very channels that are to bring these. Some
that wait while this worker has room, and nothing comes, are not delivered here: the queue is consumed anew.
Asked on a channel that it has forgotten, RabbitMQ ends the connection, and Celery makes another one.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from palaver.workers.event_log import event_logger

__all__ = ["LOOK_SECONDS", "Deliveries"]

logger = event_logger("palaver.workers.pool")

LOOK_SECONDS: Final = 5.0
"""From one look to the next. What was delivered since then shows that its consumer lives."""


class Deliveries:
    """From the queues of these names on the broker, by one connection. Belongs to Celery's thread."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._waited: set[str] = set()  # where messages waited at the last look

    def look(self, lanes: Any, taken: Mapping[str, float], full: Collection[str] = ()) -> None:
        """Look once, while there is room; `taken` is how many seconds ago a message of each queue came, and
        `full` are those of which as many as may be are here unacknowledged: a broker brings no more of them.
        Raises what the broker's transport raises.
        """
        queues = [queue for queue in lanes.queues if queue.name in self._names and queue.name not in full]
        silent = [queue for queue in queues if taken.get(queue.name, LOOK_SECONDS) >= LOOK_SECONDS]
        waiting = {queue.name: queue for queue in silent if queue.queue_declare().message_count}
        for name in waiting.keys() & self._waited:
            logger.warning("intake.consumer_lost", queue=name)
            lanes.cancel_by_queue(name)
            lanes.add_queue(waiting.pop(name))
            lanes.consume()
        self._waited = set(waiting)

    def forget(self) -> None:
        """There is no room: messages may wait."""
        self._waited.clear()
