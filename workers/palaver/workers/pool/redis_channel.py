"""kombu's channels of Redis, that end no worker, whatever they read and whatever breaks or is refused."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from queue import Empty
from typing import Any, Final

from kombu.transport.redis import Channel as KombuChannel
from kombu.transport.redis import QoS as KombuQoS
from kombu.transport.redis import SentinelChannel as KombuSentinelChannel
from kombu.transport.virtual import QoS as VirtualQoS
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads
from redis.exceptions import RedisError, ResponseError

from palaver.shared.names import TASK_CHAT, TASK_SUBMIT
from palaver.shared.outage import FULL, reason
from palaver.workers.event_log import event_logger
from palaver.workers.pool.malformed import MALFORMED, is_for
from palaver.workers.pool.message import Message

__all__ = ["SUBMIT_SECONDS", "Left", "RedisChannel", "SentinelChannel", "settle"]

logger = event_logger("palaver.workers.intake")

FETCH_SECONDS: Final = 1.5  # kombu asks Redis to wait for a message for one second

BURST: Final = 16
"""So many jobs' messages at most are fetched at once behind one that did not have to be waited for. A worker
that dies in between loses what only names jobs: sweeps send it again."""

AT_ONCE_SECONDS: Final = 0.02  # within this Redis has a message without waiting for one

SUBMIT_SECONDS: Final = 300
"""A message with a whole job is its only copy until that is stored. If its worker has died before, it comes
again after so long; a job that was stored all the same is not made twice."""


class Left:
    """What a connection left to the next one, by the messages' delivery tags: some are to be given back, of
    others Redis has not heard that they are done. What is `running` here may end yet, and is neither.
    """

    def __init__(self, running: Callable[[], Collection[str]] = tuple) -> None:
        self._running = running
        self._goes_on = False
        self._messages: dict[str, Any] = {}
        self._unheard: set[str] = set()

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """The worker outlives the connections that are closed in here: what runs is acknowledged later, and
        would run twice if its message went back to a Redis that is still there, or there again.
        """
        self._goes_on = True
        try:
            yield
        finally:
            self._goes_on = False

    def staying(self, messages: Mapping[str, Any]) -> set[str]:
        """What of these does not go back with its connection, though Redis may be there. One that runs and
        is nowhere else does.
        """
        if not self._goes_on:
            return set()
        running = self._running()
        return {
            tag
            for tag, message in messages.items()
            if message.answering or (tag in running and message.noted)
        }

    def keep(self, messages: Mapping[str, Any]) -> None:
        """To be given back, if nothing comes of what runs. One that names a job is not: its lease says what
        becomes of it.
        """
        for tag, message in messages.items():
            if not is_for(message, TASK_CHAT):
                self._messages[tag] = message

    def drop(self, tag: str) -> Any:
        """It has been given back, or acknowledged. Returns it; None if it was not here."""
        return self._messages.pop(tag, None)

    def note_unheard(self, tag: str) -> None:
        """It is done, and Redis has not heard so."""
        self._unheard.add(tag)

    def note_heard(self, tags: Collection[str]) -> None:
        """Now it has."""
        self._unheard.difference_update(tags)

    def unheard(self) -> list[str]:
        """What is done, and Redis has not heard so."""
        return list(self._unheard)

    def all(self) -> dict[str, Any]:
        """Each message that is not done, by its tag."""
        return dict(self._messages)

    def due(self) -> dict[str, Any]:
        """What can be given back now."""
        running = self._running() if self._messages else ()
        return {
            tag: message for tag, message in self.all().items() if not (message.answering or tag in running)
        }


def settle(connection: Any, messages: Mapping[str, Any]) -> None:
    """Give these back, and tell Redis what is done of which it has not heard, over a connection with our
    channels; on any other it does nothing.
    """
    channel = connection.default_channel
    if isinstance(channel, RedisChannel):
        channel.qos.settle(messages)


class _QoS(KombuQoS):
    """Asks for room before each message, beside counting what is not acknowledged yet. No second whole job is
    taken beside one that nobody could note: it would be lost with this process.

    Kombu notes in Redis which messages were taken, and takes the note away when they are acknowledged: two
    round trips of a message. One that only names a job has none: the ledger knows the job, and sends it again
    if its worker dies.

    A full Redis refuses every command of a transaction, and Celery's worker ends of such an error: so
    messages are acknowledged without one, which is never refused and sets memory free.
    """

    channel: Any
    _delivered: Any
    unacked_key: str
    unacked_index_key: str
    visibility_timeout: int

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._only_here: set[str] = set()  # whole jobs, by their tags

    def can_consume(self) -> bool:
        return bool(super().can_consume()) and not self._only_here and bool(self.channel.room())

    def append(self, message: Any, delivery_tag: str) -> None:
        """A message that Redis does not let us note down is here, and nowhere else: it is run."""
        self.channel.answered = time.monotonic()
        if is_for(message, TASK_CHAT):
            self.channel.job_from = message.delivery_info["routing_key"]
            VirtualQoS.append(self, message, delivery_tag)
            return
        try:
            super().append(message, delivery_tag)
        except RedisError as error:
            logger.warning("message.not_noted", tag=delivery_tag, error=type(error).__name__)
            message.noted = False
            if is_for(message, TASK_SUBMIT):
                self._only_here.add(delivery_tag)
            VirtualQoS.append(self, message, delivery_tag)
            return
        if is_for(message, TASK_SUBMIT):
            self._hold_briefly(delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        message = self._take_up(delivery_tag)
        if is_for(message, TASK_CHAT):
            VirtualQoS.ack(self, delivery_tag)
            return
        with self._heard_later(delivery_tag):
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        message = self._take_up(delivery_tag)
        if not requeue:
            with self._heard_later(delivery_tag):
                super().reject(delivery_tag)
            return
        try:
            self._give_back(delivery_tag, message, leftmost=True)
        except (RedisError, OSError):
            if message is not None:
                self.channel.left.keep({delivery_tag: message})
            VirtualQoS.ack(self, delivery_tag)  # it is given back from there alone
            raise
        VirtualQoS.ack(self, delivery_tag)

    def _take_up(self, delivery_tag: str) -> Any:
        """The message, of which it is said now what becomes of it."""
        self._only_here.discard(delivery_tag)
        left = self.channel.left.drop(delivery_tag)
        message = self._delivered.get(delivery_tag) or left
        if message is not None:
            message.answering = False
        return message

    @contextmanager
    def _heard_later(self, delivery_tag: str) -> Iterator[None]:
        """What Redis does not hear now it is told again: with the next connection, or in ten seconds."""
        try:
            yield
        except (RedisError, OSError):
            self.channel.left.note_unheard(delivery_tag)
            VirtualQoS.ack(self, delivery_tag)  # what is done takes no room here
            raise

    def settle(self, messages: Mapping[str, Any]) -> None:
        """These go back to their queues, and are left here no more; Redis forgets what is done."""
        left = self.channel.left
        if done := left.unheard():
            self._removal(done).execute()
            left.note_heard(done)
        for tag, message in messages.items():
            self._give_back(tag, message)
            left.drop(tag)

    def restore_visible(self, *args: Any, **options: Any) -> None:
        """Give back messages of workers that died, and those that were left here: at each connection, before
        it consumes, and then every ten seconds. What a Redis without room refuses then, kombu would tell each
        time, with a traceback.
        """
        try:
            self.settle(self.channel.left.due())
            super().restore_visible(*args, **options)
        except ResponseError as error:
            # A full one may be emptied; to any other the connection is of no use.
            if not (self.channel.active_queues or reason(error) == FULL):
                raise
            self.channel.tell_refused("messages.not_restored", error)

    def restore_unacked(self, client: Any = None) -> None:
        """What cannot be given back now, the next connection gives back: kombu would leave it, and what comes
        behind it, to the timeout.
        """
        left = dict(self._delivered)
        stay = self.channel.left.staying(left)
        try:
            # Also for what stays: a channel that is closed acknowledges by the client it has, and makes none.
            with self.channel.conn_or_acquire(client) as connected:
                for tag in [tag for tag in self._delivered if tag not in stay]:
                    self.restore_by_tag(tag, connected)
                    del left[tag]
        except (RedisError, OSError) as error:
            logger.warning("messages.not_given_back", messages=len(left.keys() - stay), reason=reason(error))
        self.channel.left.keep(left)
        self._delivered.clear()

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        """Give a message back. One whose job has begun is let be: its lease says what becomes of it."""
        self._give_back(tag, self._delivered.get(tag), client, leftmost)

    def _give_back(self, tag: str, message: Any, client: Any = None, leftmost: bool = False) -> None:
        with self.channel.conn_or_acquire(client) as connected:
            if self._is_noted(tag, message, connected):
                super().restore_by_tag(tag, connected, leftmost)
            elif (raw := vars(message).get("_raw")) is not None:
                delivery, pipe = message.delivery_info, connected.pipeline()
                route = (delivery["exchange"], delivery["routing_key"])
                self.channel._do_restore_message(raw, *route, pipe, leftmost)  # noqa: SLF001 - kombu's own way
                pipe.execute()

    def _is_noted(self, tag: str, message: Any, client: Any) -> bool:
        """Whether Redis has the message by its tag. Of a note the reply alone may have been lost."""
        if is_for(message, TASK_CHAT):
            return False
        return getattr(message, "noted", True) or client.hget(self.unacked_key, tag) is not None

    def _hold_briefly(self, delivery_tag: str) -> None:
        """No sweep knows of it, so it must not wait for the timeout, which outlasts the longest job."""
        taken = time.time() - max(0, self.visibility_timeout - SUBMIT_SECONDS)
        with suppress(RedisError), self.channel.conn_or_acquire() as client:
            client.zadd(self.unacked_index_key, {delivery_tag: taken}, xx=True)

    def _remove_from_indices(self, delivery_tag: str, pipe: Any = None) -> Any:
        if pipe is not None:
            return super()._remove_from_indices(delivery_tag, pipe)  # type: ignore[misc]
        return self._removal([delivery_tag])

    def _removal(self, delivery_tags: list[str]) -> Any:
        with self.channel.conn_or_acquire() as client:
            # The index last: what is left of a crash in between, kombu cleans up.
            removal = client.pipeline(transaction=False).hdel(self.unacked_key, *delivery_tags)
            return removal.zrem(self.unacked_index_key, *delivery_tags)


class _Message(Message, KombuChannel.Message):  # type: ignore[valid-type,misc]
    """A message that is in Redis too, as a rule."""

    refusals = (ResponseError,)
    noted = True  # in Redis, beside here


@contextmanager
def _dropped() -> Iterator[None]:
    try:
        yield
    except MALFORMED as error:
        logger.warning("message.discarded", error=type(error).__name__, reason="not a message")


class RedisChannel(KombuChannel):
    """A channel of kombu's Redis transport that ends no worker, whatever it reads and whatever breaks.

    `room` says how many messages more may be fetched now; `answered` is when there last was an answer to a
    fetch, or a message of one, by the monotonic clock.
    """

    QoS = _QoS
    Message = _Message

    connection: Any
    connection_errors: tuple[type[Exception], ...]
    qos: Any
    pool: Any
    priority_steps: list[int]
    _in_poll: Any
    _q_for_pri: Callable[[str, int], str]
    _brpop_sent_at: float  # monotonic seconds
    _create_client: Callable[[], Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.left: Left = getattr(self.connection, "left", None) or Left()
        self._address = self.connection.client
        self._commands: Any = None
        self.room: Callable[[], int] = lambda: 1
        self.answered = time.monotonic()
        self.job_from: str | None = None  # the queue of the last message, if it names a job
        self._refused: set[str] = set()  # the events by which a refusal was told

    def conn_or_acquire(self, client: Any = None) -> Any:
        """A client of this channel's pool; kombu would make one for every command, which costs more than
        sending it.
        """
        if client is None:
            if self._commands is None or self._commands.connection_pool is not self.pool:
                self._commands = self._create_client()
            client = self._commands
        return nullcontext(client)

    def maybe_refresh_binding_expiry(self) -> None:
        """Called every second. What a full Redis refuses, kombu would tell as often, with a traceback."""
        try:
            super().maybe_refresh_binding_expiry()  # type: ignore[misc]
        except ResponseError as error:
            self.tell_refused("bindings.not_refreshed", error)
        else:
            self._refused.discard("bindings.not_refreshed")

    def tell_refused(self, event: str, error: Exception) -> None:
        """One line, however often Redis refuses it."""
        if event not in self._refused:
            self._refused.add(event)
            logger.warning(event, reason=reason(error))

    def _size(self, queue: str) -> int:
        """Not in a transaction, of which a full Redis refuses every command."""
        with self.conn_or_acquire() as client:
            pipe = client.pipeline(transaction=False)
            for step in self.priority_steps:
                pipe.llen(self._q_for_pri(queue, step))
            return sum(pipe.execute())

    def _queue_bind(self, *args: Any) -> None:
        """A full Redis refuses it. Our queues need no binding, and broadcasts come all the same."""
        try:
            super()._queue_bind(*args)  # type: ignore[misc]
        except ResponseError as error:
            if reason(error) != FULL:
                raise
            self.tell_refused("queue.not_bound", error)

    def _delete(self, *args: Any, **options: Any) -> None:
        """What Redis keeps of a queue is nobody's: this channel, and those behind it, close all the same. A
        broker that is gone is asked once.
        """
        transport = self.connection
        if getattr(transport, "lost", False):
            return
        try:
            super()._delete(*args, **options)
        except ResponseError:
            pass
        except self.connection_errors:
            transport.lost = True

    def _do_restore_message(
        self, payload: Any, exchange: str, routing_key: str, pipe: Any, leftmost: bool = False
    ) -> None:
        """Of a channel that is closed, kombu would tell that it cannot, with all of the message, and forget
        it.
        """
        if self.connection is None:
            raise ConnectionResetError("the channel is closed")
        super()._do_restore_message(payload, exchange, routing_key, pipe, leftmost)  # type: ignore[misc]

    def close(self) -> None:
        if self._in_poll:
            with suppress(Empty, ResponseError, *self.connection_errors):  # it took nothing
                self._brpop_read()
        super().close()

    def _basic_cancel(self, consumer_tag: str) -> None:
        """A fetch that is under way when the last consumer goes would keep the message that it gets until
        the worker ends; so it is waited for, for as long as Redis would hold it, and its message goes back
        at once.
        """
        super()._basic_cancel(consumer_tag)  # type: ignore[misc]
        if not self.active_queues and self._in_poll and self._in_poll.can_read(timeout=FETCH_SECONDS):
            with suppress(Empty, ResponseError):
                self._brpop_read()

    def _brpop_read(self, **options: Any) -> Any:
        """Take a message, and those of other jobs that wait behind it: a round trip for each would take
        longer than many a job.

        A list takes anything; what is no message at all was popped already, and is dropped.
        """
        self.answered = time.monotonic()
        at_once = self.answered - self._brpop_sent_at < AT_ONCE_SECONDS
        self.job_from = None
        with _dropped():
            super()._brpop_read(**options)  # type: ignore[misc]
        if at_once and self.job_from is not None:
            self._take_more(self.job_from)
        return True

    def _take_more(self, queue: str) -> None:
        count = min(BURST, self.room(), self.qos.can_consume_max_estimate() or 0)
        if count < 1:
            return
        with self.conn_or_acquire() as client:
            found = client.execute_command("RPOP", queue, count)
        for message in found or ():
            with _dropped():
                self.connection._deliver(loads(bytes_to_str(message)), queue)  # noqa: SLF001 - as kombu does

    def _connparams(self, asynchronous: bool = False) -> Any:
        """kombu forgets the address of a connection that broke, and then fails with an AttributeError,
        which ends the worker, wherever a message that came over it is given back or acknowledged.
        """
        if self.connection.client is None:
            self.connection.client = self._address
        return super()._connparams(asynchronous=asynchronous)  # type: ignore[misc]


class SentinelChannel(RedisChannel, KombuSentinelChannel):
    """The same, to the master that sentinels name."""
