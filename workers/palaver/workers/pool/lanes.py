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
that may be on its way. Elsewhere (RabbitMQ) prefetch is all there is, for each queue by itself. A job's
message is acknowledged when the job gets its slot, so prefetch bounds what waits here, not what runs: a few
messages of each queue, the urgent ones first. A sweep sends them to a worker that has room, if there is one.

A worker that is cut off from the ledger, and not from the broker, can claim nothing, and so takes nothing: it
would be missing where jobs can be run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from celery import bootsteps
from celery.worker import state
from celery.worker.consumer.tasks import Tasks
from kombu import Queue as BrokerQueue

from palaver.shared.names import QUEUES
from palaver.workers.event_log import event_logger
from palaver.workers.pool.deliveries import LOOK_SECONDS, Deliveries, Lengths
from palaver.workers.pool.pool import AsyncPool
from palaver.workers.pool.queues import own_queue

__all__ = ["PREFETCH", "Express", "Lanes"]

logger = event_logger("palaver.workers.pool")

PREFETCH: Final = 10
"""Of each queue, where the broker delivers by itself: what is on its way while acknowledgements are, too."""
BEAT_SECONDS: Final = 1.0


class Lanes:
    """All lanes as Celery sees them: one task consumer, whose queues come from several channels."""

    def __init__(self, main: Any, beside: Sequence[Any]) -> None:
        self._main = main
        self._all = (*beside, main)
        self._homes = {queue.name: lane for lane in beside for queue in lane.queues}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._main, name)

    @property
    def on_message(self) -> Callable[[Any], object] | None:
        """What takes the messages."""
        taker: Callable[[Any], object] | None = self._main.on_message
        return taker

    @on_message.setter
    def on_message(self, taker: Callable[[Any], object]) -> None:
        for lane in self._all:
            lane.on_message = taker

    @property
    def queues(self) -> list[BrokerQueue]:
        """What is consumed, as `inspect active_queues` and Flower show it."""
        return [queue for lane in self._all for queue in lane.queues]

    @property
    def answered(self) -> float | None:
        """When the broker last answered the lane that waits longest for it, by the monotonic clock; None: it
        delivers without being asked.
        """
        channels = [lane.channel for lane in self._all if lane.queues]
        answers = [channel.answered for channel in channels if hasattr(channel, "answered")]
        return min(answers, default=None)

    def consume(self, no_ack: bool | None = None) -> None:
        for lane in self._all:
            lane.consume(no_ack)

    def cancel(self) -> None:
        for lane in self._all:
            lane.cancel()

    close = cancel

    def consuming_from(self, queue: Any) -> bool:
        return any(lane.consuming_from(queue) for lane in self._all)

    def add_queue(self, queue: BrokerQueue) -> Any:
        return self._homes.get(queue.name, self._main).add_queue(queue)

    def cancel_by_queue(self, queue: Any) -> None:
        for lane in self._all:
            lane.cancel_by_queue(queue)


class Express(bootsteps.StartStopStep):
    """Gives the resumed jobs their lane, at each connection to the broker, and sees the thread turn that
    takes messages, and whether they can be of use here.
    """

    requires = (Tasks,)

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._beats: list[Any] = []
        self._cut_off = False
        self._asks = True

    def start(self, parent: Any) -> None:
        if not isinstance(parent.pool, AsyncPool):
            return
        self._cut_off = False
        self._beats.append(parent.timer.call_repeatedly(BEAT_SECONDS, partial(self._turn, parent)))
        parent.turn()
        slots, main = parent.pool.slots, parent.task_consumer
        resumed, *new = (own_queue(parent.app, queue) for queue in QUEUES)
        asks = self._asks = _ask_for_room(main.channel, lambda: 0 if self._cut_off else slots.room)
        beside = []
        for names in [[resumed]] if asks else [[resumed], new]:
            queues = [queue for queue in main.queues if queue.name in names]
            for queue in queues:
                main.cancel_by_queue(queue.name)
            if queues:
                channel = parent.connection.channel()
                if not _ask_for_room(channel, lambda: 0 if self._cut_off else slots.room_to_resume):
                    channel.basic_qos(0, PREFETCH, False)
                beside.append(_consumer(parent, channel, queues))
        parent.task_consumer = Lanes(main, beside)
        if not asks:
            names = [resumed, *new]
            look = partial(self._look, parent, Deliveries(names), Lengths(parent.app, names))
            self._beats.append(parent.timer.call_repeatedly(LOOK_SECONDS, look))

    def _turn(self, parent: Any) -> None:
        parent.turn()
        service = getattr(parent.app, "palaver_service", None)
        if service is None or service.cut_off == self._cut_off:
            return
        self._cut_off = service.cut_off
        logger.warning("intake.paused" if self._cut_off else "intake.resumed", reason="the ledger")
        if not self._asks:  # the broker delivers by itself, to whoever consumes
            lanes = parent.task_consumer
            with _connects_anew(parent):
                lanes.cancel() if self._cut_off else lanes.consume()

    def _look(self, parent: Any, deliveries: Deliveries, lengths: Lengths) -> None:
        if self._cut_off or not parent.pool.slots.room:
            deliveries.forget()
        else:
            held = Counter(
                _queue_of(request) for request in state.reserved_requests if not request.acknowledged
            )
            full = [name for name, count in held.items() if count >= PREFETCH]
            with _connects_anew(parent):
                deliveries.look(
                    parent.task_consumer, lengths.waiting(), taken=parent.taken.by_name, full=full
                )

    def stop(self, parent: Any) -> None:
        """The lanes end together, by themselves."""
        while self._beats:
            self._beats.pop().cancel()


def _queue_of(request: Any) -> str:
    name: str = request.delivery_info.get("routing_key", "")
    return name


def _consumer(parent: Any, channel: Any, queues: Iterable[BrokerQueue]) -> Any:
    return parent.app.amqp.TaskConsumer(channel, queues=list(queues), on_decode_error=parent.on_decode_error)


def _ask_for_room(channel: Any, room: Callable[[], int]) -> bool:
    """Have the channel fetch only while there is room; False if it is of a kind that fetches by itself."""
    if not hasattr(channel, "room"):
        return False
    channel.room = room
    return True


@contextmanager
def _connects_anew(parent: Any) -> Iterator[None]:
    """What closes a channel, as a queue that is gone, has Celery connect anew; of a timer it would only be
    logged, with a traceback, and other queues be consumed no more.
    """
    try:
        yield
    except parent.channel_errors as error:
        raise ConnectionResetError from error
