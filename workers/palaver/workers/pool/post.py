"""Messages from a worker to the broker, and what it asks of the broker, all off the stream loop.

A message holds ids and nothing else, and may be lost: the ledger knows the job, and a sweep sends again.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, TypeVar

from celery import Celery
from kombu import Exchange, Queue

from palaver.shared.ledger import Dispatch
from palaver.shared.names import QUEUES, TASK_CHAT

__all__ = ["Post"]

logger = logging.getLogger("palaver.workers.post")

T = TypeVar("T")

ANSWER_SECONDS: Final = 1.0
"""So long a sweep waits for the broker's answer; after that it goes on without."""


class Post:
    """The broker of one Celery application, for code on the worker's loop."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._asking: asyncio.Future[list[str]] | None = None

    async def send(self, dispatches: Sequence[Dispatch]) -> None:
        """Send the messages of jobs that have their turn, in this order. Failing is logged, not raised."""
        if not dispatches:
            return
        try:
            await _in_thread(lambda: self._publish(dispatches))
        except Exception as error:  # noqa: BLE001 - every transport has errors of its own
            logger.warning("send.failed %s, %d messages", type(error).__name__, len(dispatches))

    async def empty_queues(self) -> Collection[str]:
        """Our queues that hold no message now; none while the broker does not say so at once."""
        if self._asking is None or self._asking.done():
            self._asking = _in_thread(self._empty)
        done, _ = await asyncio.wait([self._asking], timeout=ANSWER_SECONDS)
        if not done:
            return ()
        error = self._asking.exception()
        if error is not None:
            logger.info("broker.silent %s", type(error).__name__)
            return ()
        return self._asking.result()

    def _publish(self, dispatches: Sequence[Dispatch]) -> None:
        with self._app.producer_or_acquire() as producer:
            if len(dispatches) == 1:
                self._send(dispatches[0], producer)
                return
            with producer.batch():
                for dispatch in dispatches:
                    self._send(dispatch, producer)

    def _send(self, dispatch: Dispatch, producer: Any) -> None:
        self._app.send_task(
            TASK_CHAT,
            args=(dispatch.session_id, dispatch.job_id),
            task_id=dispatch.job_id,
            queue=str(dispatch.queue),
            ignore_result=True,
            producer=producer,
        )

    def _empty(self) -> list[str]:
        with self._app.connection_or_acquire() as connection:
            channel = connection.default_channel
            return [str(name) for name in QUEUES if not _length(channel, str(name))]


def _length(channel: Any, name: str) -> int:
    queue: Any = Queue(name, Exchange(""), routing_key=name, channel=channel)
    return int(queue.queue_declare().message_count)


def _in_thread(work: Callable[[], T]) -> asyncio.Future[T]:
    """A broker that is slow or gone must not hold the streams of the loop."""
    return asyncio.get_running_loop().run_in_executor(None, work)
