"""What becomes of a message between the broker and its job, on Redis."""

import base64
import gc
import json
import logging
import select
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from kombu import Connection, Exchange
from kombu import Queue as BrokerQueue
from redis.exceptions import ResponseError

from palaver.shared.names import TASK_CHAT, TASK_SUBMIT
from palaver.workers.pool.channels import with_our_channels
from palaver.workers.pool.redis_channel import Left, RedisChannel, settle
from tests.processes import Processes
from tests.servers import RedisServer, free_port, missing, redis_binary, start_redis

pytestmark = pytest.mark.redis

QUEUE = "palaver.normal"


@pytest.mark.parametrize(("task", "notes"), [(TASK_CHAT, 0), (TASK_SUBMIT, 1)])
def test_only_what_the_ledger_does_not_know_is_noted_and_all_of_it_is_given_back(
    own_redis: Callable[..., RedisServer], task: str, notes: int
) -> None:
    server = own_redis()
    Celery(broker=server.url).send_task(task, args=("s", "j"), queue=QUEUE)
    with server.client() as broker:
        (sent,) = broker.lrange(QUEUE, 0, -1)
        with Connection(server.url) as connection:
            channel = with_our_channels(connection, Left()).default_channel
            assert channel.basic_get(QUEUE).headers["task"] == task
            assert (broker.hlen("unacked"), broker.llen(QUEUE)) == (notes, 0)
            channel.close()
        (again,) = broker.lrange(QUEUE, 0, -1)
        assert json.loads(again)["body"] == json.loads(sent)["body"]
        assert broker.hlen("unacked") == 0


def test_channels_are_ours_on_the_next_node_too(own_redis: Callable[..., RedisServer]) -> None:
    """Where the first does not answer kombu goes on to it, with another transport."""
    nobody, left = f"redis://127.0.0.1:{free_port()}/0", Left()
    with Connection(f"{nobody};{own_redis().url}") as connection:
        with_our_channels(connection, left).ensure_connection(max_retries=3)
        channel: Any = connection.default_channel
        assert isinstance(channel, RedisChannel)
        assert channel.left is left


def test_an_acknowledged_message_that_names_a_job_is_gone(own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis()
    Celery(broker=server.url).send_task(TASK_CHAT, args=("s", "j"), queue=QUEUE)
    with server.client() as broker:
        with Connection(server.url) as connection:
            channel = with_our_channels(connection, Left()).default_channel
            channel.basic_get(QUEUE).ack()
            channel.close()
        assert (broker.llen(QUEUE), broker.hlen("unacked")) == (0, 0)


@pytest.mark.parametrize(("task", "taken"), [(TASK_CHAT, 6), (TASK_SUBMIT, 1)])
def test_jobs_that_wait_are_taken_together_while_there_is_room(
    own_redis: Callable[..., RedisServer], task: str, taken: int
) -> None:
    server = own_redis()
    sender = Celery(broker=server.url)
    for number in range(10):
        sender.send_task(task, args=("s", str(number)), queue=QUEUE)
    with server.client() as broker, Connection(server.url) as connection:
        channel = with_our_channels(connection, Left()).default_channel
        channel.basic_qos(0, 100, False)
        channel.room = lambda: 5
        assert _taken_at_once(connection, channel) == [str(number) for number in range(taken)]
        channel.close()
        assert broker.llen(QUEUE) == 10


def test_one_that_is_no_message_costs_only_itself(own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis()
    sender = Celery(broker=server.url)
    with server.client() as broker, Connection(server.url) as connection:
        for number in range(3):
            sender.send_task(TASK_CHAT, args=("s", str(number)), queue=QUEUE)
            broker.lpush(QUEUE, b"\xff no message")
        channel = with_our_channels(connection, Left()).default_channel
        channel.basic_qos(0, 100, False)
        channel.room = lambda: 50
        assert _taken_at_once(connection, channel) == ["0", "1", "2"]
        assert broker.llen(QUEUE) == 0


def test_a_message_whose_note_is_refused_is_run_and_takes_no_room_once_it_is_done(
    own_redis: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = own_redis()
    Celery(broker=server.url).send_task(TASK_SUBMIT, args=("s", "j"), queue=QUEUE)
    with server.client() as broker, Connection(server.url) as connection:
        channel = with_our_channels(connection, Left()).default_channel
        channel.basic_qos(0, 1, False)
        broker.set("unacked_index", "taken by somebody else")
        message = channel.basic_get(QUEUE)
        assert message.headers["task"] == TASK_SUBMIT
        assert not channel.qos.can_consume()
        message.ack_log_error(None, ())
        assert channel.qos.can_consume()
    assert [record.getMessage().split()[0] for record in _lines(caplog)] == [
        "message.not_noted",
        "message.not_acknowledged",
    ]


def test_whole_jobs_that_nobody_could_note_are_taken_one_by_one_and_given_back(
    own_redis: Callable[..., RedisServer],
) -> None:
    server = own_redis()
    sender = Celery(broker=server.url)
    for number in range(2):
        sender.send_task(TASK_SUBMIT, args=("s", str(number)), queue=QUEUE)
    with server.client() as broker, Connection(server.url) as connection:
        channel = with_our_channels(connection, Left()).default_channel
        channel.basic_qos(0, 10, False)
        broker.set("unacked_index", "taken by somebody else")
        first = channel.basic_get(QUEUE)
        assert not channel.qos.can_consume()
        first.ack_log_error(None, ())
        assert channel.qos.can_consume()
        channel.basic_get(QUEUE)
        assert broker.llen(QUEUE) == 0
        channel.close()
        assert [payload(raw) for raw in broker.lrange(QUEUE, 0, -1)] == [["s", "1"]]


def test_what_redis_does_not_take_back_the_next_connection_gives_back(
    own_redis: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    server, running = own_redis(), set[str]()
    left = Left(lambda: running)
    for number in range(3):
        Celery(broker=server.url).send_task("theirs", args=(number,), queue=QUEUE)
    with server.client() as broker:
        with Connection(server.url) as connection:
            channel = with_our_channels(connection, left).default_channel
            done, runs, _ = (channel.basic_get(QUEUE) for _ in range(3))
            running.add(runs.delivery_tag)
            broker.config_set("min-replicas-to-write", 1)
            channel.close()
            broker.config_set("min-replicas-to-write", 0)
            done.ack()
            assert broker.hlen("unacked") == 2
        with Connection(server.url) as connection:
            channel = with_our_channels(connection, left).default_channel
            channel.connection.cycle.on_poll_init(None)
            assert [payload(raw) for raw in broker.lrange(QUEUE, 0, -1)] == [[2]]
            runs.reject_log_error(
                None, channel.connection_errors, requeue=True
            )  # where its channel is closed
            assert payload(broker.lindex(QUEUE, 0)) == [2]
            running.clear()
            channel.basic_consume(QUEUE, no_ack=False, callback=print, consumer_tag="c")
            channel.connection.cycle.maybe_restore_messages()
            assert sorted(payload(raw) for raw in broker.lrange(QUEUE, 0, -1)) == [[1], [2]]
            assert broker.hlen("unacked") == 0
    assert [record.getMessage().partition(" tag=")[0] for record in _lines(caplog)] == [
        'messages.not_given_back messages=3 reason="it has too few replicas for a write"',
        "message.not_rejected",
    ]


@pytest.mark.parametrize("requeue", [None, False], ids=["acknowledged", "rejected"])
@pytest.mark.parametrize("closed", [False, True], ids=["live", "closed"])
def test_what_redis_does_not_hear_is_done_it_is_told_again(
    own_redis: Callable[..., RedisServer], closed: bool, requeue: bool | None
) -> None:
    server, left = own_redis(), Left(lambda: {message.delivery_tag})
    Celery(broker=server.url).send_task("theirs", args=("once",), queue=QUEUE)
    with server.client() as broker:
        with Connection(server.url) as connection:
            channel = with_our_channels(connection, left).default_channel
            message = channel.basic_get(QUEUE)
            if closed:
                with left.going_on():
                    channel.close()
            broker.config_set("min-replicas-to-write", 1)
            if requeue is None:
                message.ack_log_error(None, channel.connection_errors)
            else:
                message.reject_log_error(None, channel.connection_errors, requeue=requeue)
            broker.config_set("min-replicas-to-write", 0)
            assert broker.hlen("unacked") == 1
            assert not left.all()
        with Connection(server.url) as connection:
            channel = with_our_channels(connection, left).default_channel
            channel.connection.cycle.on_poll_init(None)
        assert not broker.exists("unacked", "unacked_index", QUEUE)
        assert not left.unheard()


def test_what_is_being_acknowledged_as_its_connection_goes_does_not_go_back(
    own_redis: Callable[..., RedisServer],
) -> None:
    server, left = own_redis(), Left()
    for number in range(2):
        Celery(broker=server.url).send_task("theirs", args=(number,), queue=QUEUE)
    with server.client() as broker:
        with Connection(server.url) as connection:
            channel = with_our_channels(connection, left).default_channel
            first, _ = (channel.basic_get(QUEUE) for _ in range(2))
            first.answering = True
            with left.going_on():
                channel.close()
        with Connection(server.url) as connection:
            channel = with_our_channels(connection, left).default_channel
            channel.connection.cycle.on_poll_init(None)
            assert [payload(raw) for raw in broker.lrange(QUEUE, 0, -1)] == [[1]]
            first.ack()
        assert broker.hlen("unacked") == 0
        assert not left.all()


def test_what_runs_and_is_nowhere_else_goes_back_all_the_same(own_redis: Callable[..., RedisServer]) -> None:
    """A crash would lose it."""
    server, running = own_redis(), set[str]()
    left = Left(lambda: running)
    Celery(broker=server.url).send_task("theirs", args=("only",), queue=QUEUE)
    with server.client() as broker, Connection(server.url) as connection:
        channel = with_our_channels(connection, left).default_channel
        for name in ("unacked", "unacked_index"):
            broker.set(name, "taken by somebody else")
        running.add(channel.basic_get(QUEUE).delivery_tag)
        broker.delete("unacked", "unacked_index")
        with left.going_on():
            channel.close()
        assert [payload(raw) for raw in broker.lrange(QUEUE, 0, -1)] == [["only"]]


def test_a_reject_of_what_nobody_knows_leaves_nothing(own_redis: Callable[..., RedisServer]) -> None:
    server, left = own_redis(), Left()
    with server.client() as broker, Connection(server.url) as connection:
        channel = with_our_channels(connection, left).default_channel
        broker.set("unacked", "taken by somebody else")
        with pytest.raises(ResponseError):
            channel.qos.reject("nobody", requeue=True)
        assert not left.all()
        assert not left.due()


def test_one_that_nobody_could_note_or_take_back_stays_until_somebody_does(
    own_redis: Callable[..., RedisServer],
) -> None:
    """Once, also where its task gives it back meanwhile."""
    server = own_redis()
    left = Left(lambda: {"runs"})
    Celery(broker=server.url).send_task("theirs", args=("only",), queue=QUEUE)
    with server.client() as broker:
        with Connection(server.url) as connection:
            channel = with_our_channels(connection, left).default_channel
            for name in ("unacked", "unacked_index"):
                broker.set(name, "taken by somebody else")
            message = channel.basic_get(QUEUE)
            broker.delete("unacked", "unacked_index")
            broker.config_set("min-replicas-to-write", 1)
            channel.close()
            broker.config_set("min-replicas-to-write", 0)
            message.reject_log_error(None, (OSError,), requeue=True)
            assert list(left.all()) == [message.delivery_tag]
        with Connection(server.url) as connection:
            channel = with_our_channels(connection, left).default_channel
            settle(connection, left.all())
            channel.connection.cycle.on_poll_init(None)
        assert [payload(raw) for raw in broker.lrange(QUEUE, 0, -1)] == [["only"]]
        assert not left.all()


@pytest.mark.parametrize("gone", [False, True])
def test_a_connection_is_closed_whole_though_no_farewell_is_heard(
    own_redis: Callable[..., RedisServer], gone: bool
) -> None:
    """By a Redis that refuses each, or one that is gone."""
    server = own_redis()
    connection, channels = with_our_channels(Connection(server.url), Left()), list[weakref.ref[Any]]()
    for number in range(3):
        channel = connection.channel()
        exchange = Exchange(f"e{number}", type="fanout")
        queue = BrokerQueue(f"q{number}", exchange, auto_delete=True)
        connection.Consumer([queue, BrokerQueue(QUEUE)], channel=channel).consume()
        channels.append(weakref.ref(channel))
    connection.transport.cycle.on_poll_init(select.poll())
    connection.transport.cycle.on_poll_start()
    if gone:
        assert server.running is not None
        server.running.kill()
    else:
        with server.client() as broker:
            broker.config_set("min-replicas-to-write", 1)
    connection.close()
    if not gone:
        with server.client() as broker:
            assert len(broker.client_list()) == 1
    del channel, queue, exchange, connection
    gc.collect()
    assert [channel() for channel in channels] == [None] * 3


@pytest.mark.parametrize("flavour", ["redis-7", "redis-6.2"])
def test_a_full_redis_of_each_version_binds_no_queue_and_costs_no_connection(
    processes: Processes, caplog: pytest.LogCaptureFixture, flavour: str
) -> None:
    server = start_redis(processes, redis_binary(flavour) or missing(flavour))
    with Connection(server.url) as connection, server.client() as broker:
        channel = with_our_channels(connection, Left()).default_channel
        queue = BrokerQueue("q", Exchange("e", type="fanout"), expires=10)
        broker.config_set("maxmemory", 1)
        connection.Consumer([queue], channel=channel).consume()
        broker.config_set("maxmemory", 0)
    (told,) = _lines(caplog)
    assert told.getMessage() == 'queue.not_bound reason="it is out of memory"'


def test_a_redis_that_lets_nothing_be_given_back_costs_a_consumer_one_line_and_a_new_connection_itself(
    own_redis: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = own_redis()
    with server.client() as broker, Connection(server.url) as connection:
        channel = with_our_channels(connection, Left()).default_channel
        BrokerQueue(QUEUE, channel=channel).declare()
        broker.config_set("min-replicas-to-write", 1)
        cycle = channel.connection.cycle
        with pytest.raises(ResponseError, match="NOREPLICAS"):
            cycle.on_poll_init(cycle.poller)
        channel.basic_consume(QUEUE, no_ack=False, callback=print, consumer_tag="c")
        for _ in range(30):  # kombu looks at each tenth
            cycle.maybe_restore_messages()
        broker.config_set("min-replicas-to-write", 0)
    (told,) = _lines(caplog)
    assert told.getMessage() == 'messages.not_restored reason="it has too few replicas for a write"'
    assert told.exc_info is None


def payload(raw: bytes) -> Any:
    """The arguments of a message's task."""
    return json.loads(base64.b64decode(json.loads(raw)["body"]))[0]


def _lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What is told here of a broker, and not of what a test before this has left."""
    told_by = ("kombu", "palaver.workers.intake")
    return [record for record in caplog.records if record.name.startswith(told_by)]


def _taken_at_once(connection: Any, channel: Any) -> list[str]:
    """The second arguments of the tasks that one look at the broker brings."""
    received: list[str] = []
    queues = [BrokerQueue(QUEUE)]
    with connection.Consumer(
        queues, channel=channel, on_message=lambda one: received.append(one.payload[0][1])
    ):
        connection.drain_events(timeout=5)
    return received
