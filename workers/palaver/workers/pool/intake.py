"""Celery's consumer, proof against messages that are not what they should be, and silent about what is in
them.

Celery logs the body of a message that it cannot use, and a few kinds of malformed message end its worker.
Here each of them costs one line of log, and the message.
"""

import math
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty
from typing import Any

from celery import signals
from celery.exceptions import CPendingDeprecationWarning
from celery.utils.threads import bound_open_broker_sockets  # type: ignore[attr-defined] # the stub is older
from celery.worker import state
from celery.worker.consumer.consumer import Consumer
from kombu.transport.redis import Channel as RedisChannel
from kombu.transport.redis import QoS as RedisQoS
from kombu.transport.redis import SentinelChannel
from kombu.transport.virtual import QoS as VirtualQoS
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads
from redis.exceptions import RedisError, ResponseError

from palaver.shared.names import TASK_CHAT, TASK_SUBMIT
from palaver.shared.outage import reason
from palaver.shared.settings import redacted_url
from palaver.workers.event_log import event_logger
from palaver.workers.pool.consumption import Taken
from palaver.workers.pool.malformed import MALFORMED, is_task_id, task_of

__all__ = ["Intake"]

logger = event_logger("palaver.workers.intake")

FETCH_SECONDS = 1.5  # kombu asks Redis to wait for a message for one second

BURST = 16
"""So many jobs' messages at most are fetched at once behind one that did not have to be waited for. A worker
that dies in between loses what only names jobs: sweeps send it again."""

AT_ONCE_SECONDS = 0.02  # within this Redis has a message without waiting for one

FAREWELL_SECONDS = 1.0  # that a broker has which is given up

LONGEST_SECONDS = 5.0  # from one try to reach the broker to the next: jobs that come again wait for it

AGAIN_SECONDS = 1.0  # after which one is tried again that refuses what it is told

EVENTS_SECONDS = 0.1  # so late an operator may see what a task does

SUBMIT_SECONDS = 300
"""A message with a whole job is its only copy until that is stored. If its worker has died before, it comes
again after so long; a job that was stored all the same is not made twice."""

NAME = re.compile(r"[\w.:@-]{1,200}")  # of a task, or its id

CELERYS_DELAYS = "celery.worker.consumer.delayed_delivery:DelayedDelivery"
DELAYS = "palaver.workers.pool.queues:Delays"

TOLD_OF_BROKER = ("transport", "hostname", "port", "virtual_host", "connect_timeout", "heartbeat")


class Intake(Consumer):
    """`worker_consumer = "palaver.workers.pool.intake:Intake"`."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[valid-type,misc] # the stub has a variable
        """The consumer's steps. When their connection is lost, they end without one."""

        default_steps = tuple(
            DELAYS if step == CELERYS_DELAYS else step for step in Consumer.Blueprint.default_steps
        )

        def restart(self, parent: Any, *args: Any, **kwargs: Any) -> None:
            """Have the steps say goodbye. Celery asks the connection which errors of that to ignore, and has
            forgotten it when it is lost.
            """
            forgotten = parent.connection is None
            if forgotten:
                parent.connection = _Lost(parent.connection_errors, parent.channel_errors)
            super().restart(parent, *args, **kwargs)
            if forgotten:
                parent.connection = None

        def info(self, parent: Any) -> dict[str, Any]:
            """What `inspect stats` and Flower tell of the consumer."""
            info: dict[str, Any] = super().info(parent)
            return {**info, "broker": broker_told(info["broker"])} if "broker" in info else info

    connection_errors: tuple[type[Exception], ...]
    event_dispatcher: Any
    hub: Any  # kombu's, or None under a transport without one
    _flush_events: Callable[[], None]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._restart_state: Any = Restarts(self._restart_state)
        self.taken = Taken(self.app)
        self.turned = time.monotonic()  # when Celery's thread last did
        self._events_due = 0.0  # monotonic seconds
        self._refused = ""  # why the broker did, when it was tried last
        self._connected = -math.inf  # when, by the monotonic clock

    def turn(self) -> None:
        """Celery's thread turns."""
        self.turned = time.monotonic()

    def connection_for_read(self, heartbeat: float | None = None) -> Any:
        return self.ensure_connected(_ours(self.app.connection_for_read(heartbeat=heartbeat)))

    def connection_for_write(self, url: str | None = None, heartbeat: float | None = None) -> Any:
        return self.ensure_connected(_ours(self.app.connection_for_write(url=url, heartbeat=heartbeat)))

    def ensure_connected(self, conn: Any) -> Any:
        conn.ensure_connection = partial(conn.ensure_connection, interval_max=LONGEST_SECONDS)
        return super().ensure_connected(conn)

    def connect(self) -> Any:
        connection = super().connect()
        self._refused = ""
        self._connected = time.monotonic()
        return connection

    def on_connection_error_before_connected(self, exc: Exception) -> None:
        """It lets us in and refuses what it is told, as a Redis that takes no writes: one line, however long
        that lasts. Celery would write one and try again at once.
        """
        if (why := reason(exc)) != self._refused:
            self._refused = why
            logger.warning("broker.refused", reason=why)
        time.sleep(AGAIN_SECONDS)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Celery says it in one line, and then what another setting would do. Later it says farewell on the
        connection for events, which may hang with the other one.
        """
        bound_open_broker_sockets(getattr(self.event_dispatcher, "connection", None), FAREWELL_SECONDS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            super().on_connection_error_after_connected(exc)
        if time.monotonic() - self._connected < AGAIN_SECONDS:
            time.sleep(AGAIN_SECONDS)  # it refuses what each connection begins with, as a queue's declaration

    def on_send_event_buffered(self) -> None:  # type: ignore[override] # the stub is wrong
        """Send the events of many tasks together: Celery would publish each task's at once, which costs as
        much as the task.
        """
        now = time.monotonic()
        if self.hub is not None and now >= self._events_due:
            self._events_due = now + EVENTS_SECONDS
            self.hub.call_later(EVENTS_SECONDS, self._flush_events)

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        handle = super().create_task_handler(*args, **kwargs)

        def on_task_received(message: Any) -> None:
            try:
                named = message.headers.get("id")
                # One with a whole job is refused by its own task: somebody may read there.
                if not (named is None or is_task_id(named) or _is_for(message, TASK_SUBMIT)):
                    raise ValueError("the id is no id")
                self.taken.note(message)
                handle(message)
            except MALFORMED as error:
                self._discard(message, error)

        return on_task_received

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        self._discard(message, exc)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        self._discard(message, exc)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        self._discard(message, None)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        self._discard(message, exc)

    def _discard(self, message: Any, error: Exception | None) -> None:
        """Reject it, and forget the request that Celery may have made of it already."""
        if not message.acknowledged:
            message.reject_log_error(logger, self.connection_errors)
        logger.warning("message.discarded", **_told(message, error))
        for request in list(state.reserved_requests):
            if request._message is message:  # noqa: SLF001 - Celery has no other way from a message to its request
                state.task_ready(request)
        signals.task_rejected.send(sender=self, message=message, exc=error)


def _told(message: Any, error: Exception | None) -> dict[str, Any]:
    """Which message it was, without what is in it: a task's name that is no name is content."""
    headers = message.headers if isinstance(message.headers, dict) else {}
    named = {"task": headers.get("task"), "task_id": headers.get("id")}
    delivery = message.delivery_info if isinstance(message.delivery_info, dict) else {}
    return {
        "error": type(error).__name__ if error is not None else None,
        **{fact: value for fact, value in named.items() if isinstance(value, str) and NAME.fullmatch(value)},
        "queue": delivery.get("routing_key"),
        "bytes": len(message.body) if isinstance(message.body, Sized) else None,
    }


def broker_told(connection: Any) -> Any:
    """What operators are told of the broker, of all that kombu knows of a connection: logins of sentinels and
    keys of certificates are among the options.
    """
    if not isinstance(connection, dict):
        return connection
    told = {name: connection.get(name) for name in TOLD_OF_BROKER}
    host = str(told["hostname"])
    return {**told, "hostname": redacted_url(host) if "://" in host else host}


def _is_for(message: Any, task: str) -> bool:
    return bool(task_of(message) == task)


def _ours(connection: Any) -> Any:
    """The connection, whose channels are of our kind if they are Redis's."""
    transport = connection.transport
    ours = {RedisChannel: _RedisChannel, SentinelChannel: _SentinelChannel}
    kind = getattr(transport, "Channel", None)
    if kind in ours:
        transport.Channel = ours[kind]
    return connection


@dataclass(frozen=True, slots=True)
class _Lost:
    """What is left of a connection: its kinds of errors."""

    connection_errors: tuple[type[Exception], ...]
    channel_errors: tuple[type[Exception], ...]
    connected: bool = False  # others ask meanwhile how the consumer is

    def __bool__(self) -> bool:
        return False


class Restarts:
    """Celery's count of lost connections. Too many within a second cost a pause and a line, no traceback."""

    def __init__(self, counter: Any) -> None:
        self._counter = counter

    def step(self) -> None:
        """Count one more."""
        try:
            self._counter.step()
        except self._counter.RestartFreqExceeded as error:
            logger.warning("broker.unsteady", connections_lost=str(error))
            time.sleep(1)


class _RedisQoS(RedisQoS):
    """Asks for room before each message, beside counting what is not acknowledged yet.

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

    def can_consume(self) -> bool:
        return bool(super().can_consume()) and bool(self.channel.room())

    def append(self, message: Any, delivery_tag: str) -> None:
        """A message that Redis does not let us note down is here, and nowhere else: it is run."""
        self.channel.answered = time.monotonic()
        if _is_for(message, TASK_CHAT):
            self.channel.job_from = message.delivery_info["routing_key"]
            VirtualQoS.append(self, message, delivery_tag)
            return
        try:
            super().append(message, delivery_tag)
        except RedisError as error:
            logger.warning("message.not_noted", tag=delivery_tag, error=type(error).__name__)
            VirtualQoS.append(self, message, delivery_tag)
            return
        if _is_for(message, TASK_SUBMIT):
            self._hold_briefly(delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        if _is_for(self._delivered.get(delivery_tag), TASK_CHAT):
            VirtualQoS.ack(self, delivery_tag)
            return
        try:
            super().ack(delivery_tag)
        except ResponseError:
            VirtualQoS.ack(self, delivery_tag)  # it comes again; what is done takes no room here
            raise

    def restore_visible(self, *args: Any, **options: Any) -> None:
        """Give back messages of workers that died: at each connection, before it consumes, and then every ten
        seconds. What a Redis without room refuses then, kombu would tell each time, with a traceback.
        """
        try:
            super().restore_visible(*args, **options)
        except ResponseError as error:
            if not self.channel.active_queues:
                raise  # the connection is of no use
            self.channel.tell_refused("messages.not_restored", error)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        """Give a message back. One whose job has begun is let be: its lease says what becomes of it."""
        message = self._delivered.get(tag)
        if not _is_for(message, TASK_CHAT):
            super().restore_by_tag(tag, client, leftmost)
        elif (raw := vars(message).get("_raw")) is not None:
            with self.channel.conn_or_acquire(client) as connected:
                delivery, pipe = message.delivery_info, connected.pipeline()
                route = (delivery["exchange"], delivery["routing_key"])
                self.channel._do_restore_message(raw, *route, pipe, leftmost)  # noqa: SLF001 - kombu's own way
                pipe.execute()

    def _hold_briefly(self, delivery_tag: str) -> None:
        """No sweep knows of it, so it must not wait for the timeout, which outlasts the longest job."""
        taken = time.time() - max(0, self.visibility_timeout - SUBMIT_SECONDS)
        with suppress(RedisError), self.channel.conn_or_acquire() as client:
            client.zadd(self.unacked_index_key, {delivery_tag: taken}, xx=True)

    def _remove_from_indices(self, delivery_tag: str, pipe: Any = None) -> Any:
        if pipe is not None:
            return super()._remove_from_indices(delivery_tag, pipe)  # type: ignore[misc]
        with self.channel.conn_or_acquire() as client:
            # The index last: what is left of a crash in between, kombu cleans up.
            removal = client.pipeline(transaction=False).hdel(self.unacked_key, delivery_tag)
            return removal.zrem(self.unacked_index_key, delivery_tag)


class _RedisMessage(RedisChannel.Message):  # type: ignore[valid-type,misc]
    """One whose acknowledgement the broker does not get comes again. Kombu tells that with a traceback."""

    def ack_log_error(self, _logger: Any, errors: Any, multiple: bool = False) -> None:
        self._tell(errors, "message.not_acknowledged", lambda: self.ack(multiple=multiple))

    def reject_log_error(self, _logger: Any, errors: Any, requeue: bool = False) -> None:
        self._tell(errors, "message.not_rejected", lambda: self.reject(requeue=requeue))

    def _tell(self, errors: Any, event: str, answer: Callable[[], None]) -> None:
        try:
            answer()
        except (*errors, ResponseError) as error:
            logger.warning(event, tag=self.delivery_tag, error=type(error).__name__)


@contextmanager
def _dropped() -> Iterator[None]:
    try:
        yield
    except MALFORMED as error:
        logger.warning("message.discarded", error=type(error).__name__, reason="not a message")


class _RedisChannel(RedisChannel):
    """A channel of kombu's Redis transport that ends no worker, whatever it reads and whatever breaks.

    `room` says how many messages more may be fetched now; `answered` is when there last was an answer to a
    fetch, or a message of one, by the monotonic clock.
    """

    QoS = _RedisQoS
    Message = _RedisMessage

    connection: Any
    qos: Any
    pool: Any
    _in_poll: Any
    _brpop_sent_at: float  # monotonic seconds
    _create_client: Callable[[], Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
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

    def _basic_cancel(self, consumer_tag: str) -> None:
        """A fetch that is under way when the last consumer goes would keep the message that it gets until
        the worker ends; so it is waited for, for as long as Redis would hold it, and its message goes back
        at once.
        """
        super()._basic_cancel(consumer_tag)  # type: ignore[misc]
        if not self.active_queues and self._in_poll and self._in_poll.can_read(timeout=FETCH_SECONDS):
            with suppress(Empty):
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


class _SentinelChannel(_RedisChannel, SentinelChannel):
    """The same, to the master that sentinels name."""
