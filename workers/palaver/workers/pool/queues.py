"""The queues of a worker's own system: several may share a broker."""

from collections.abc import Iterable
from typing import Any

from celery.worker.consumer.delayed_delivery import DelayedDelivery
from kombu import Exchange, Queue
from kombu.transport.native_delayed_delivery import bind_queue_to_native_delayed_delivery_exchange

from palaver.shared.broker_url import QUORUM
from palaver.shared.names import DEFAULT_NAMESPACE, QUEUES, queue_name
from palaver.workers.event_log import event_logger
from palaver.workers.pool.silence import leaving_the_silent

__all__ = ["Delays", "declare", "lengths", "other_queues", "own_queue"]

logger = event_logger("palaver.workers.pool")


def own_queue(app: Any, queue: str) -> str:
    """The name on the broker of one of Palaver's queues, in the namespace of this Celery application."""
    return queue_name(queue, app.conf.get("palaver_namespace") or DEFAULT_NAMESPACE)


def declare(app: Any) -> None:
    """Have the application know our queues, before its own, in the order in which they are to be consumed.

    They are reached by name through the default exchange: no binding that could be lost with a broker's data.
    """
    amqp = app.connection_for_write().transport.driver_type == "amqp"
    arguments = QUORUM if amqp else None
    names = [own_queue(app, queue) for queue in QUEUES]
    ours = [Queue(name, Exchange(""), routing_key=name, queue_arguments=arguments) for name in names]
    app.amqp.queues = [*ours, *other_queues(app)]
    for queue in ours:
        # Celery gives a queue without an exchange its default one
        app.amqp.queues[queue.name].exchange = Exchange("")


def other_queues(app: Any) -> list[Queue]:
    """Those of the application's own tasks."""
    names = [own_queue(app, queue) for queue in QUEUES]
    return [queue for name, queue in app.amqp.queues.items() if name not in names]


def lengths(app: Any, names: Iterable[str]) -> dict[str, int]:
    """How many messages wait in each of these queues of the broker; nothing where it fails. It may take its
    time: in a thread that nobody has to wait for.
    """
    try:
        with app.connection_or_acquire() as connection, leaving_the_silent(connection):
            queues = [app.amqp.queues[name].bind(connection.default_channel) for name in names]
            return {queue.name: queue.queue_declare().message_count for queue in queues}
    except Exception as error:  # noqa: BLE001 - every transport has errors of its own
        logger.debug("broker.silent", error=type(error).__name__)
        return {}


class Delays(DelayedDelivery):
    """Celery's way with countdowns on RabbitMQ, 28 queues large, for an application's own queues: what waits
    in Palaver waits in the ledger.
    """

    name = "DelayedDelivery"  # by which other steps may know it

    def include_if(self, c: Any) -> bool:
        return super().include_if(c) and any(_is_quorum(queue) for queue in other_queues(c.app))

    def _bind_queues(self, app: Any, connection: Any) -> None:
        for queue in other_queues(app):
            bind_queue_to_native_delayed_delivery_exchange(connection, queue)


def _is_quorum(queue: Queue) -> bool:
    return (queue.queue_arguments or {}).get("x-queue-type") == "quorum"
