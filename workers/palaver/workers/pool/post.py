"""Messages from a worker to the broker, and what it asks of the broker, all off the stream loop.

A message holds ids and nothing else, and may be lost: the ledger knows the job, and a sweep sends again.
"""

import asyncio
import threading
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from queue import Empty, PriorityQueue
from typing import Any, Final, TypeVar

from celery import Celery

from palaver.shared.ledger import Sendable
from palaver.shared.names import QUEUES, TASK_BATCH
from palaver.workers.event_log import event_logger
from palaver.workers.pool.queues import lengths, own_queue
from palaver.workers.pool.silence import leaving_the_silent

__all__ = ["Post"]

logger = event_logger("palaver.workers.post")

T = TypeVar("T")

SEND_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 1.0
"""So long a sweep waits for the broker's answer; after that it goes on without."""
BATCH: Final = 200
"""So many messages are sent before a more urgent one is looked for."""

_URGENCY: Final = {queue.value: place for place, queue in enumerate(QUEUES)}


class Post:
    """The broker of one Celery application, for code on the worker's loop.

    Its threads are daemons: a worker that is told to stop does not wait for a broker that hangs.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._outgoing: PriorityQueue[_Message] = PriorityQueue()
        self._number = count()
        self._waiting: set[Sendable] = set()  # messages of jobs that are among the outgoing
        self._sender: threading.Thread | None = None
        self._asking: asyncio.Future[list[str]] | None = None
        self._telling: asyncio.Future[None] | None = None
        self._turn_to_tell = asyncio.Lock()

    def put(self, dispatches: Sequence[Sendable]) -> asyncio.Future[None]:
        """Have the messages of jobs that have their turn sent; done when they are, or have failed (logged).

        What goes on goes before what has not begun, also of earlier calls: a crash must not wait behind a
        backlog. A job's message that waits here already is not put twice, nor waited for again: sweeps bring
        it again and again for as long as a broker is away.
        """
        if self._sender is None:
            self._sender = threading.Thread(target=self._serve, name="palaver-post", daemon=True)
            self._sender.start()
        fresh = [dispatch for dispatch in dispatches if dispatch not in self._waiting]
        # Of a batch there are as many messages as drivers.
        self._waiting.update(dispatch for dispatch in fresh if dispatch.task != TASK_BATCH)
        letter = _Letter(len(fresh))
        for dispatch in fresh:
            urgency = _URGENCY.get(dispatch.queue, len(_URGENCY))
            self._outgoing.put(_Message(urgency, next(self._number), dispatch, letter))
        return letter.sent

    async def send(self, dispatches: Sequence[Sendable]) -> None:
        """As `put`, and wait for it."""
        # A broker that hangs must not keep the job's slot, nor a worker that stops.
        await asyncio.wait([self.put(dispatches)], timeout=SEND_SECONDS)

    async def empty_queues(self) -> Collection[str]:
        """Our queues, as the ledger names them, that held no message at some time since the call; none while
        the broker is silent.
        """
        if self._asking is not None and not self._asking.done():
            return ()  # its answer would be of an earlier time
        asking = self._asking = _in_thread(self._empty)  # until this answer is read another may have asked
        done, _ = await asyncio.wait([asking], timeout=ANSWER_SECONDS)
        return asking.result() if done else ()

    async def tell(self, event: str, task_id: str, *, worker: str, **facts: Any) -> None:
        """Send an event of a task that this worker runs, for those who watch. It may be lost: a broker that
        hangs has one to wait for, and the connections are for messages.
        """
        async with self._turn_to_tell:
            if self._telling is None or self._telling.done():
                self._telling = _in_thread(lambda: self._tell(event, {"uuid": task_id, **facts}, worker))
            await asyncio.wait([self._telling], timeout=ANSWER_SECONDS)

    def _serve(self) -> None:
        """Send what has gathered, one batch after the other."""
        while True:
            messages = [self._outgoing.get()]
            with suppress(Empty):
                while len(messages) < BATCH:
                    messages.append(self._outgoing.get_nowait())
            dispatches = [message.dispatch for message in messages]
            self._waiting.difference_update(dispatches)  # before: what comes now may be news
            self._publish(dispatches)
            for message in messages:
                message.letter.count_down()

    def _publish(self, dispatches: Sequence[Sendable]) -> None:
        try:
            with self._app.producer_or_acquire() as producer, leaving_the_silent(producer.connection):
                if len(dispatches) == 1:
                    self._send(dispatches[0], producer)
                else:
                    with producer.batch():
                        for dispatch in dispatches:
                            self._send(dispatch, producer)
                _hear(producer.channel)
        except Exception as error:  # noqa: BLE001 - every transport has errors of its own
            logger.warning("send.failed", error=type(error).__name__, messages=len(dispatches))

    def _send(self, dispatch: Sendable, producer: Any) -> None:
        self._app.send_task(
            dispatch.task,
            args=dispatch.args,
            task_id=dispatch.task_id,
            queue=own_queue(self._app, dispatch.queue),
            ignore_result=True,
            producer=producer,
        )

    def _tell(self, event: str, facts: dict[str, Any], worker: str) -> None:
        try:
            with (
                self._app.events.default_dispatcher(hostname=worker) as dispatcher,
                leaving_the_silent(dispatcher.connection),
            ):
                dispatcher.send(event, **facts)
        except Exception as error:  # noqa: BLE001 - every transport has errors of its own
            logger.info("event.not_sent", error=type(error).__name__)

    def _empty(self) -> list[str]:
        names = {own_queue(self._app, queue): queue.value for queue in QUEUES}
        return [names[name] for name, length in lengths(self._app, names).items() if not length]


def _hear(channel: Any) -> None:
    """Have RabbitMQ say something after messages, for which it says nothing: it takes one after the other, so
    its answer shows that it has them. What is asked changes nothing on a channel that consumes nothing.
    """
    if hasattr(channel, "confirm_select"):
        channel.basic_qos(0, 0, False)


class _Letter:
    """How the loop that had so many messages sent learns that they are on their way."""

    def __init__(self, messages: int) -> None:
        self._left = messages
        self._loop = asyncio.get_running_loop()
        self.sent: asyncio.Future[None] = self._loop.create_future()
        if not messages:
            self.sent.set_result(None)

    def count_down(self) -> None:
        self._left -= 1
        if not self._left:
            _settle(self._loop, self.sent, None)


@dataclass(frozen=True, slots=True, order=True)
class _Message:
    urgency: int  # 0 is the highest
    number: int
    dispatch: Sendable = field(compare=False)
    letter: _Letter = field(compare=False)


def _in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """What `work`, which does not raise, returns from a thread of its own."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    thread = threading.Thread(
        target=lambda: _settle(loop, future, work()), name="palaver-broker", daemon=True
    )
    thread.start()
    return future


def _settle(loop: asyncio.AbstractEventLoop, future: asyncio.Future[T], result: T) -> None:
    def settle() -> None:
        if not future.done():
            future.set_result(result)

    with suppress(RuntimeError):  # the loop has ended meanwhile
        loop.call_soon_threadsafe(settle)
