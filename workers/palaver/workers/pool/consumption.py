"""What a Celery worker consumes now, told from what its consumer has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from palaver.shared.names import QUEUES
from palaver.workers.pool.queues import own_queue
from palaver.workers.readiness import Consumption

__all__ = ["consumption_of"]


def consumption_of(worker: Any) -> Callable[[], Consumption]:
    """Asks a Celery worker, from any thread. The queues that it has been told to consume when this is called
    are those that it should.
    """
    names = {own_queue(worker.app, queue): queue.value for queue in QUEUES}
    selected = worker.app.amqp.queues.consume_from
    expected = frozenset(queue for name, queue in names.items() if name in selected)

    def consumption() -> Consumption:
        consumer = worker.consumer
        tasks = getattr(consumer, "task_consumer", None)
        connection = getattr(consumer, "connection", None)
        consumed = [] if tasks is None else list(tasks.queues)
        return Consumption(
            connected=connection is not None and bool(connection.connected),
            missing=expected - {names.get(queue.name, "") for queue in consumed},
            queues=expected,
            room=worker.pool.slots.room,
        )

    return consumption
