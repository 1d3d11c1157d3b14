"""Whether a broker that delivers by itself still does. RabbitMQ tells a consumer that it ends it; one that it
has lost without a word, on a connection that stands, looks to its worker like an empty queue.

So the queues are asked how many messages wait in them, in a thread and on another connection: a broker that
hangs is not to hold Celery's thread, whose heartbeat finds that out. Some that wait while this worker has
room, and nothing comes, are not delivered here: the queue is consumed anew. On a channel that RabbitMQ has
forgotten, that ends the connection, and Celery makes another one.
"""

import threading
from collections.abc import Collection, Mapping
from typing import Any, Final

from palaver.workers.event_log import event_logger
from palaver.workers.pool.queues import lengths

__all__ = ["LOOK_SECONDS", "Deliveries", "Lengths"]

logger = event_logger("palaver.workers.pool")

LOOK_SECONDS: Final = 5.0
"""From one look to the next. What was delivered since then shows that its consumer lives."""


class Lengths:
    """In which of these queues of a Celery app's broker messages wait, as it said last."""

    def __init__(self, app: Any, names: Collection[str]) -> None:
        self._app = app
        self._names = names
        self._found: set[str] = set()
        self._asking: threading.Thread | None = None

    def waiting(self) -> Collection[str]:
        """What the question before this one was answered with, and a new one is asked; nothing while there is
        no answer.
        """
        if self._asking is not None and self._asking.is_alive():
            return ()
        found, self._found = self._found, set()
        self._asking = threading.Thread(target=self._ask, name="palaver-broker", daemon=True)
        self._asking.start()
        return found

    def _ask(self) -> None:
        self._found = {name for name, length in lengths(self._app, self._names).items() if length}


class Deliveries:
    """From the queues of these names on the broker, by one connection. Belongs to Celery's thread."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._suspect: set[str] = set()  # where messages waited in vain at the last look

    def look(
        self,
        lanes: Any,
        waiting: Collection[str],
        *,
        taken: Mapping[str, float],
        full: Collection[str] = (),
    ) -> None:
        """Look once, while there is room, at the queues in which messages are `waiting`. `taken` is how many
        seconds ago a message of each queue came, and `full` are those of which as many as may be are here
        unacknowledged: a broker brings no more of them. Raises what the broker's transport raises.
        """
        consumed = {queue.name: queue for queue in lanes.queues if queue.name in self._names}
        silent = {name for name in consumed if taken.get(name, LOOK_SECONDS) >= LOOK_SECONDS}
        suspect = silent.intersection(waiting).difference(full)
        for name in suspect & self._suspect:
            logger.warning("intake.consumer_lost", queue=name)
            suspect.remove(name)
            lanes.cancel_by_queue(name)
            lanes.add_queue(consumed[name])
            lanes.consume()
        self._suspect = suspect

    def forget(self) -> None:
        """There is no room: messages may wait."""
        self._suspect.clear()
