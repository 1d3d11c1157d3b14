"""Messages to workers: kombu and Celery's task protocol 2, so that no producer imports Celery.

A message (`task_message`) goes through the broker's default exchange to a durable queue of the same name:
that needs no binding, which a flushed Redis would have lost. Queues are declared by every new connection, as
workers declare them too.

A message may be delivered twice (a send whose answer was lost is repeated); only one claim of the job
succeeds.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from palaver.producer.broker_errors import BrokerAlarmError, broker_error, refusal
from palaver.producer.confirms import Confirms
from palaver.producer.local_link import LocalLink
from palaver.producer.task_message import TaskMessage
from palaver.shared.broker_url import BrokerURL
from palaver.shared.errors import ConfigurationError
from palaver.shared.in_process import SCHEME
from palaver.shared.ledger import Dispatch
from palaver.shared.names import DEFAULT_NAMESPACE, QUEUES, queue_name
from palaver.shared.outage import SILENT, reason
from palaver.shared.settings import DEFAULT_CONNECT_SECONDS, Settings, redacted_url
from palaver.shared.signs import Signs

if TYPE_CHECKING:  # imported at the first connection: a program that only reads never needs it
    from kombu import Connection, Producer

TRUSTED_SECONDS: Final = 1.0
"""A connection that was idle for longer is checked before something is stored that needs it."""
BATCH: Final = 500


class Broker:
    """The Celery broker, as producers use it. Safe to use from several threads and after a fork.

    `connect_seconds` bounds connecting (or a second for each node of a RabbitMQ's, if that is more) and every
    answer: then `BrokerUnavailableError` is raised, naming the URL without its password, and
    `BrokerFullError` for a message that finds no room. Callers use one connection in turn; who waits for it
    while another finds the broker away is told so with that one.
    `asked` is when a caller began to wait, by the monotonic clock, if it has waited before this call.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str = DEFAULT_NAMESPACE,
        connect_seconds: float = DEFAULT_CONNECT_SECONDS,
    ) -> None:
        self.url = url
        self._namespace = namespace
        self._connect_seconds = connect_seconds
        self._link = self._new_link()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The broker of this system."""
        return cls(
            settings.broker_url, namespace=settings.namespace, connect_seconds=settings.connect_seconds
        )

    def __repr__(self) -> str:
        return f"Broker({redacted_url(self.url)})"

    def check(self, *, asked: float | None = None) -> None:
        """One round trip to the broker, connecting if need be."""
        with self._using(asked) as link:
            link.round_trip()

    @property
    def trusted(self) -> bool:
        """Whether it answered a moment ago, so that there is nothing to `prepare`. Waits for nobody."""
        return self._link.pid == os.getpid() and self._link.trusted

    def prepare(self, *, asked: float | None = None) -> None:
        """Make sure that a message can be sent now; no round trip if one succeeded a moment ago."""
        with self._using(asked) as link:
            if not link.trusted:
                link.round_trip()

    def send(self, dispatches: Iterable[Dispatch], *, asked: float | None = None) -> None:
        """Send the messages of stored jobs; see `post`."""
        self.post(map(TaskMessage.of, dispatches), asked=asked)

    def post(self, messages: Iterable[TaskMessage], *, asked: float | None = None) -> None:
        """Send messages, pipelined where the transport can; all of them once more if it was cut."""
        waiting = list(messages)
        if not waiting:
            return
        with self._using(asked) as link:
            link.publish(waiting)

    def queue_lengths(self) -> dict[str, int]:
        """Messages waiting in each of Palaver's queues."""
        with self._using() as link:
            return link.lengths()

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        link = self._link
        if link.pid == os.getpid():
            with link.lock:
                link.close()

    @contextmanager
    def _using(self, asked: float | None = None) -> Iterator[_Link | LocalLink]:
        asked = time.monotonic() if asked is None else asked
        if self._link.pid != os.getpid():
            # The parent's connection is left to the parent: closing it here would speak on its socket.
            _INHERITED.append(self._link)
            self._link = self._new_link()
        with self._link.lock:
            self._link.heed(asked)
            yield self._link

    def _new_link(self) -> _Link | LocalLink:
        if self.url.startswith(f"{SCHEME}:"):
            return LocalLink(self.url)
        return _Link(self.url, self._namespace, self._connect_seconds)


_INHERITED: list[_Link | LocalLink] = []


class _Link:
    """One connection with its channel, in the process that opened it; used under its lock."""

    def __init__(self, url: str, namespace: str, connect_seconds: float) -> None:
        self.pid = os.getpid()
        self._namespace = namespace
        self._connect_seconds = connect_seconds
        self.lock = threading.Lock()
        self._url = url
        broker = BrokerURL.parse(url)
        self._queue_arguments, self._nodes = broker.queue_arguments, broker.nodes
        self._origin = f"palaver-{self.pid}@{socket.gethostname()}"
        self._connection: Connection | None = None
        self._producer: Producer | None = None
        self._confirms: Confirms | None = None
        self._used = float("-inf")
        self._signs = Signs()

    def heed(self, asked: float) -> None:
        """Raises what another caller has found since `asked`: who waited for that need not wait again."""
        failure = self._signs.failure(asked)
        if failure is not None:
            raise broker_error(self._url, failure)

    @property
    def trusted(self) -> bool:
        """Whether the connection answered a moment ago."""
        return self._producer is not None and time.monotonic() - self._used < TRUSTED_SECONDS

    def round_trip(self) -> None:
        """Have the broker answer."""

        def ask() -> None:
            # a new connection begins with declaring the queues
            if self._producer is None:
                self._connected()
            else:
                self._declare()

        self._reliably(ask)

    def publish(self, messages: list[TaskMessage]) -> None:
        """Send messages; several in one round trip where the transport can."""

        def send() -> None:
            producer = self._connected()
            if hasattr(producer.channel, "conn_or_acquire"):
                self._push(producer.channel, messages)
                return
            with producer.batch(max_size=BATCH):  # type: ignore[attr-defined] # new in kombu 5.7
                for message in messages:
                    self._publish(producer, message)
            if self._confirms is not None:
                self._confirms.wait(self._connect_seconds)

        self._reliably(send)
        if self._confirms is not None and self._confirms.refused:
            self._confirms.refused = 0
            raise refusal(self._url)

    def lengths(self) -> dict[str, int]:
        """The lengths of all queues."""
        found: dict[str, int] = {}
        self._reliably(lambda: found.update(self._declare()))
        return found

    def close(self, *, dead: bool = False) -> None:
        """Close the connection; to a dead one no farewell is said, which could hang."""
        connection, self._connection, self._producer, self._confirms = self._connection, None, None, None
        if connection is not None and dead:
            connection.collect()
        elif connection is not None:
            connection.release()

    def _reliably(self, action: Any) -> None:
        """Run it; if the connection turns out to be cut, once more on a new one.

        A timeout is not tried again: it has taken all the time that the caller has.
        """
        fresh, begun = self._producer is None, time.monotonic()
        try:
            try:
                action()
            except self._errors() as error:
                if fresh or reason(error) == SILENT:
                    raise
                self.close(dead=True)
                action()
        except self._errors() as error:
            self.close(dead=True)
            self._signs.failed(error, begun=begun)
            raise broker_error(self._url, error) from None
        self._signs.answered()
        self._used = time.monotonic()

    def _errors(self) -> tuple[type[BaseException], ...]:
        from kombu.exceptions import KombuError

        if self._connection is None:
            return (KombuError, OSError)
        return (KombuError, OSError, *self._connection.connection_errors, *self._connection.channel_errors)

    def _connected(self) -> Producer:
        if self._producer is None:
            from kombu import Producer

            self._connection = _connection(self._url, self._connect_seconds)
            self._connection.ensure_connection(max_retries=self._nodes - 1)
            channel: Any = _frugal(self._connection.channel())
            self._producer = Producer(channel, auto_declare=False)
            self._declare()
            self._confirms = Confirms(channel) if hasattr(channel, "confirm_select") else None
        return self._producer

    def _declare(self) -> dict[str, int]:
        from kombu import Exchange, Queue

        channel: Any = self._connected().channel
        lengths = {}
        for name in (queue_name(each, self._namespace) for each in QUEUES):
            queue: Any = Queue(
                name, Exchange(""), routing_key=name, channel=channel, queue_arguments=self._queue_arguments
            )
            lengths[name] = int(queue.queue_declare().message_count)
        return lengths

    def _push(self, channel: Any, messages: list[TaskMessage]) -> None:
        """To Redis: one command for all the messages of a queue. Kombu's own way costs more than the job."""
        from palaver.shared.redis_commands import Words, run

        queues: dict[str, list[bytes]] = {}
        for message in messages:
            queue = self._queue(message)
            queues.setdefault(queue, []).append(message.entry(queue, self._origin))
        commands: list[Words] = [("LPUSH", queue, *entries) for queue, entries in queues.items()]
        with channel.conn_or_acquire() as client:
            for reply in run(client, commands):
                if isinstance(reply, Exception):
                    raise reply

    def _publish(self, producer: Producer, message: TaskMessage) -> None:
        producer.publish(
            message.body().decode(),
            exchange="",
            routing_key=self._queue(message),
            content_type="application/json",
            content_encoding="utf-8",
            headers=message.headers(self._origin),
            correlation_id=message.task_id,
            reply_to="",
        )
        if self._confirms is not None:
            self._confirms.expect()

    def _queue(self, message: TaskMessage) -> str:
        return queue_name(message.queue, self._namespace)


def _frugal(channel: Any) -> Any:
    """The channel; on Redis kombu would make a client for every message, which costs more than sending.

    Nor does it ask for lengths in transactions then: of these a full Redis refuses every command.
    """
    if hasattr(channel, "conn_or_acquire"):
        client = channel.Client(connection_pool=channel.pool)
        client.pipeline = partial(client.pipeline, transaction=False)
        channel.conn_or_acquire = lambda given=None: nullcontext(given or client)
    return channel


def _connection(url: str, seconds: float) -> Connection:
    from kombu import Connection

    broker = BrokerURL.parse(url)
    options: dict[str, Any] = {
        "socket_connect_timeout": seconds,
        "socket_timeout": seconds,
        "max_retries": 0,
        **broker.transport_options(seconds),
    }
    if broker.queue_arguments is not None:
        options = {
            "read_timeout": seconds,
            "write_timeout": seconds,
            "max_retries": 0,
            "on_blocked": _raise_alarm,
        }
    tls: Any = False if broker.tls is None else dict(broker.tls)
    try:
        timeout = broker.node_seconds(seconds)
        return Connection(broker.url, ssl=tls, connect_timeout=timeout, transport_options=options)
    except ImportError as error:
        problem = f"its client library is missing: {error}"
    except (TypeError, ValueError):  # whose text may hold a piece of the password
        problem = "its URL says something that its client library does not know"
    raise ConfigurationError(
        f"The broker at {redacted_url(url)} cannot be used: {problem}.", param="broker_url"
    )


def _raise_alarm(_: str) -> None:
    """RabbitMQ says that it reads nothing more from who publishes."""
    raise BrokerAlarmError
