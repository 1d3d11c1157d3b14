"""What a Celery worker consumes now, told from what its consumer has, and what it has taken lately."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from palaver.shared.names import QUEUES
from palaver.workers.pool.queues import own_queue
from palaver.workers.readiness import Consumption

__all__ = ["Taken", "consumption_of"]

WAIT_SECONDS: Final = 1.0
"""So long a broker waits for a message before it says that there is none."""


class Taken:
    """When a consumer last took a message of each of our queues, by the monotonic clock. Celery's thread
    notes it, any may read.
    """

    def __init__(self, app: Any) -> None:
        self._names = {own_queue(app, queue): queue.value for queue in QUEUES}
        self._at: dict[str, float] = {}

    def note(self, message: Any) -> None:
        """This one was taken now."""
        name = message.delivery_info.get("routing_key")
        if name in self._names:
            self._at[name] = time.monotonic()

    @property
    def by_name(self) -> dict[str, float]:
        """Seconds since then, of the queues from which there was one, by their names on the broker."""
        now = time.monotonic()
        return {name: now - at for name, at in self._at.copy().items()}

    @property
    def ago(self) -> dict[str, float]:
        """The same, by the names that the ledger has for them."""
        return {self._names[name]: seconds for name, seconds in self.by_name.items()}


def consumption_of(worker: Any) -> Callable[[], Consumption]:
    """Asks a Celery worker, from any thread. The queues that it has been told to consume when this is called
    are those that it should.
    """
    names = {own_queue(worker.app, queue): queue.value for queue in QUEUES}
    selected = worker.app.amqp.queues.consume_from
    expected = frozenset(queue for name, queue in names.items() if name in selected)

    def consumption() -> Consumption:
        consumer, slots = worker.consumer, worker.pool.slots
        tasks = getattr(consumer, "task_consumer", None)
        connection = getattr(consumer, "connection", None)
        consumed = [] if tasks is None else list(tasks.queues)
        now = time.monotonic()
        return Consumption(
            connected=connection is not None and bool(connection.connected),
            missing=expected - {names.get(queue.name, "") for queue in consumed},
            queues=expected,
            roomy=now - slots.roomy_since if slots.room else 0.0,
            silent=max(0.0, now - _asked(consumer, tasks, now) - WAIT_SECONDS),
            taken={} if consumer is None else consumer.taken.ago,
        )

    return consumption


def _asked(consumer: Any, tasks: Any, now: float) -> float:
    """When the consumer last had an answer to its question for messages: the lane that waits longest; or,
    where the broker delivers without being asked, when the thread that takes them last turned.
    """
    answered: float | None = getattr(tasks, "answered", None)
    turned: float = getattr(consumer, "turned", now)
    return turned if answered is None else answered
