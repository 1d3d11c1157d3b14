"""Celery's consumer, proof against messages that are not what they should be, and silent about what is in
them.

Celery logs the body of a message that it cannot use, and a few kinds of malformed message end its worker.
Here each of them costs one line of log, and the message.
"""

import logging
import math
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from celery import signals
from celery.exceptions import CPendingDeprecationWarning
from celery.utils.threads import bound_open_broker_sockets  # type: ignore[attr-defined] # the stub is older
from celery.worker import loops, state
from celery.worker.consumer.consumer import Consumer
from kombu.common import ignore_errors
from kombu.exceptions import OperationalError

from palaver.shared.names import TASK_SUBMIT
from palaver.shared.outage import reason
from palaver.shared.settings import redacted_url
from palaver.workers.event_log import event_logger
from palaver.workers.pool.channels import with_our_channels
from palaver.workers.pool.consumption import Taken
from palaver.workers.pool.malformed import MALFORMED, is_for, is_task_id
from palaver.workers.pool.message import Message
from palaver.workers.pool.redis_channel import Left, settle

__all__ = ["Intake"]

logger = event_logger("palaver.workers.intake")

FAREWELL_SECONDS = 1.0  # that a broker has which is given up

LONGEST_SECONDS = 5.0  # from one try to reach the broker to the next: jobs that come again wait for it

AGAIN_SECONDS = 1.0  # after which one is tried again that refuses what it is told

EVENTS_SECONDS = 0.1  # so late an operator may see what a task does

NAME = re.compile(r"[\w.:@-]{1,200}")  # of a task, or its id

STEPS = {
    "celery.worker.consumer.delayed_delivery:DelayedDelivery": "palaver.workers.pool.queues:Delays",
    "celery.worker.consumer.heart:Heart": "palaver.workers.pool.heart:Heart",
}
"""Celery's, and ours in their places."""

TOLD_OF_BROKER = ("transport", "hostname", "port", "virtual_host", "connect_timeout", "heartbeat")


class Intake(Consumer):
    """`worker_consumer = "palaver.workers.pool.intake:Intake"`."""

    class Blueprint(Consumer.Blueprint):  # type: ignore[valid-type,misc] # the stub has a variable
        """The consumer's steps. When their connection is lost, they end without one."""

        default_steps = tuple(STEPS.get(step, step) for step in Consumer.Blueprint.default_steps)

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

    amqheartbeat: float | None
    channel_errors: tuple[type[Exception], ...]
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
        self._left = Left(_running)
        self._link: Any = None  # py-amqp's connection, which the hub reads
        logging.getLogger(loops.__name__).addFilter(self._is_news)

    def turn(self) -> None:
        """Celery's thread turns. Raises ConnectionResetError if it does so for nothing: that RabbitMQ ends a
        connection Celery swallows within its first moment, and as it sends an event; and kombu makes another
        one at the next of AMQP's heartbeats, that nobody reads.
        """
        self.turned = time.monotonic()
        connection, events = self.connection, self.event_dispatcher
        if self._link is None or connection is None:
            return
        if not connection.connected or connection.connection is not self._link:
            raise ConnectionResetError("the connection has ended without a word")
        if events is not None and events.connection is not None and not events.connection.connected:
            raise ConnectionResetError("the connection for events has ended without a word")

    def connection_for_read(self, heartbeat: float | None = None) -> Any:
        return self.ensure_connected(self._proof(self.app.connection_for_read(heartbeat=heartbeat)))

    def connection_for_write(self, url: str | None = None, heartbeat: float | None = None) -> Any:
        return self.ensure_connected(self._proof(self.app.connection_for_write(url=url, heartbeat=heartbeat)))

    def ensure_connected(self, conn: Any) -> Any:
        conn.ensure_connection = partial(conn.ensure_connection, interval_max=LONGEST_SECONDS)
        return super().ensure_connected(conn)

    def _proof(self, connection: Any) -> Any:
        return with_our_channels(connection, self._left)

    def connect(self) -> Any:
        connection = self.connection_for_read(heartbeat=self.amqheartbeat)
        try:
            link = connection.connection
            if self.hub:
                connection.transport.register_with_event_loop(link, self.hub)
        except Exception:
            # A note of kombu's for the end of the process would keep the sockets of its channels until then.
            bound_open_broker_sockets(connection, FAREWELL_SECONDS)
            ignore_errors(connection, connection.close)
            raise
        self._refused = ""
        self._connected = time.monotonic()
        self._link = link if connection.transport.driver_type == "amqp" else None
        return connection

    def call_soon_ack(self, p: Any, *args: Any, **kwargs: Any) -> Any:
        """Celery knows no more of the request then, and the broker knows not yet."""
        message = getattr(p, "__self__", None)
        if isinstance(message, Message):
            message.answering = True
        return super().call_soon_ack(p, *args, **kwargs)  # type: ignore[misc] # the stub is older

    def shutdown(self) -> None:
        """What has not ended here goes back before the connection does; by another one, if that is lost."""
        left = self._left.all()
        if left or self._left.unheard():
            with suppress(OperationalError), self._farewell() as connection:
                ignore_errors(connection, partial(settle, connection, left))
        super().shutdown()

    @contextmanager
    def _farewell(self) -> Iterator[Any]:
        """The connection, or another one, to which each node has a short try. Raises OperationalError."""
        if self.connection:
            yield self.connection
            return
        with self._proof(self.app.connection_for_read()) as connection:
            patience = {"socket_timeout": FAREWELL_SECONDS, "socket_connect_timeout": FAREWELL_SECONDS}
            connection.transport_options = {**connection.transport_options, **patience}
            tries = max(1, len(connection.alt))
            connection.ensure_connection(max_retries=tries, interval_start=0, timeout=FAREWELL_SECONDS)
            yield connection

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
        with warnings.catch_warnings(), self._left.going_on():
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            super().on_connection_error_after_connected(exc)
        if time.monotonic() - self._connected < AGAIN_SECONDS:
            time.sleep(AGAIN_SECONDS)  # it refuses what each connection begins with, as a queue's declaration

    def _is_news(self, record: logging.LogRecord) -> bool:
        """Celery may read from a lost connection once more while it leaves its loop, and would log the second
        error with a traceback. That the connection is lost is a line of its own.
        """
        error = record.exc_info[1] if record.exc_info else None
        lost = (*self.connection_errors, *self.channel_errors)
        return not (isinstance(error, lost) and isinstance(error.__context__, lost))

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
                if not (named is None or is_task_id(named) or is_for(message, TASK_SUBMIT)):
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


def _running() -> set[str]:
    """The delivery tags of what runs. The request of a job has forgotten its message."""
    messages = [request._message for request in list(state.active_requests)]  # noqa: SLF001 - as above
    return {message.delivery_tag for message in messages if message is not None}


def broker_told(connection: Any) -> Any:
    """What operators are told of the broker, of all that kombu knows of a connection: logins of sentinels and
    keys of certificates are among the options.
    """
    if not isinstance(connection, dict):
        return connection
    told = {name: connection.get(name) for name in TOLD_OF_BROKER}
    host = str(told["hostname"])
    return {**told, "hostname": redacted_url(host) if "://" in host else host}


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
