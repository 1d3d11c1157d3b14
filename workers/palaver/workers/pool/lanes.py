"""Two lanes into one worker: jobs that go on, and jobs that have not begun.

`palaver.resume` has slots of its own. A consumer of all queues in strict order is not enough for that: a
worker whose slots are full asks for nothing, from whatever queue, and a job whose worker died would wait for
the end of somebody's answer. So that queue gets a channel of its own, on the same connection, and each lane
asks the broker for messages while there is room for its kind: new jobs up to the pool's slots, resumed ones
`reserve` further. A free slot serves either.

Why a channel and not a larger prefetch: prefetch counts messages of a whole channel and cannot tell queues
apart. Why not both queues on both channels: kombu's virtual transports know one consumer of a queue on a
connection, and would count one channel's messages on the other.

On Redis a lane is asked for its room before each message is fetched, so it is exact but for the one message
that may be on its way. Elsewhere (RabbitMQ) prefetch is all there is: the resumed lane's is as large as the
whole pool, and a message too many waits here until a slot is free or a sweep sends it to another worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from celery import bootsteps
from celery.worker.consumer.tasks import Tasks
from kombu import Queue as BrokerQueue

from palaver.shared.names import Queue
from palaver.workers.pool.pool import AsyncPool
from palaver.workers.pool.queues import own_queue

__all__ = ["Express", "Lanes"]


class Lanes:
    """Both lanes as Celery sees them: one task consumer, whose queues come from two channels."""

    def __init__(self, main: Any, express: Any, resumed: str) -> None:
        self._main = main
        self._express = express
        self._resumed = resumed  # the queue of the express lane

    def __getattr__(self, name: str) -> Any:
        return getattr(self._main, name)

    @property
    def on_message(self) -> Callable[[Any], object] | None:
        """What takes the messages."""
        taker: Callable[[Any], object] | None = self._main.on_message
        return taker

    @on_message.setter
    def on_message(self, taker: Callable[[Any], object]) -> None:
        self._main.on_message = self._express.on_message = taker

    @property
    def queues(self) -> list[BrokerQueue]:
        """What is consumed, as `inspect active_queues` and Flower show it."""
        return [*self._express.queues, *self._main.queues]

    def consume(self, no_ack: bool | None = None) -> None:
        self._express.consume(no_ack)
        self._main.consume(no_ack)

    def cancel(self) -> None:
        self._express.cancel()
        self._main.cancel()

    close = cancel

    def consuming_from(self, queue: Any) -> bool:
        return bool(self._express.consuming_from(queue) or self._main.consuming_from(queue))

    def add_queue(self, queue: BrokerQueue) -> Any:
        return (self._express if queue.name == self._resumed else self._main).add_queue(queue)

    def cancel_by_queue(self, queue: Any) -> None:
        self._express.cancel_by_queue(queue)
        self._main.cancel_by_queue(queue)


class Express(bootsteps.StartStopStep):
    """Gives the resumed jobs their lane, at each connection to the broker."""

    requires = (Tasks,)

    def start(self, parent: Any) -> None:
        pool, main = parent.pool, parent.task_consumer
        resumed = own_queue(parent.app, Queue.RESUME)
        queues = [queue for queue in main.queues if queue.name == resumed]
        if not isinstance(pool, AsyncPool) or not queues:
            return
        main.cancel_by_queue(resumed)
        channel = parent.connection.channel()
        _ask_for_room(main.channel, lambda: pool.slots.room)
        if not _ask_for_room(channel, lambda: pool.slots.room_to_resume):
            channel.basic_qos(0, pool.slots.count + pool.slots.reserve, False)
        parent.task_consumer = Lanes(main, _consumer(parent, channel, queues), resumed)

    def stop(self, parent: Any) -> None:
        """Nothing: the lanes end together."""


def _consumer(parent: Any, channel: Any, queues: Iterable[BrokerQueue]) -> Any:
    return parent.app.amqp.TaskConsumer(channel, queues=list(queues), on_decode_error=parent.on_decode_error)


def _ask_for_room(channel: Any, room: Callable[[], bool]) -> bool:
    """Have the channel fetch only while there is room; False if it is of a kind that fetches by itself."""
    if not hasattr(channel, "room"):
        return False
    channel.room = room
    return True
