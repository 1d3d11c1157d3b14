"""What Celery would log with a traceback is one line, and operators are told no password of a broker."""

import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from celery import bootsteps
from celery.worker import loops
from kombu import Connection
from kombu.asynchronous import Hub

from palaver.shared.broker_url import BrokerURL
from palaver.workers.app import app
from palaver.workers.pool.intake import Intake, Restarts, broker_told


def test_connections_lost_in_a_row_are_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("billiard.common.monotonic", lambda: 1.0)  # the counter's: all in one moment
    consumer = Intake(lambda _: None, app=app, controller=SimpleNamespace(use_eventloop=False))
    counter = consumer._restart_state
    assert isinstance(counter, Restarts)
    with caplog.at_level(logging.WARNING):
        for _ in range(6):
            counter.step()
    (record,) = caplog.records
    assert record.getMessage().startswith('broker.unsteady connections_lost="5 in 1s')
    assert record.exc_info is None


@pytest.mark.parametrize(
    ("again", "records"),
    [(ConnectionResetError("again"), 0), (OSError("away"), 0), (ValueError("a fault"), 1)],
)
def test_a_lost_connection_that_is_read_once_more_is_no_traceback(
    again: Exception, records: int, caplog: pytest.LogCaptureFixture
) -> None:
    Intake(lambda _: None, app=app, controller=SimpleNamespace(use_eventloop=False))
    hub, first = Hub(), ConnectionResetError("first")

    def lose() -> None:
        hub.call_soon(_throw, again)
        raise first

    hub.call_soon(lose)
    with pytest.raises(ConnectionResetError) as lost:
        _turn_until_lost(hub)
    assert lost.value is first
    assert len([record for record in caplog.records if record.name == loops.__name__]) == records


def _throw(error: Exception) -> None:
    raise error


def _turn_until_lost(hub: Hub) -> None:
    """Celery's event loop, with nothing of a consumer but what it asks for."""
    part = SimpleNamespace(register_with_event_loop=lambda _: None)
    consumer = SimpleNamespace(
        connection=SimpleNamespace(
            connection_errors=(OSError,),
            get_heartbeat_interval=lambda: 0,
            transport=SimpleNamespace(driver_type="any"),
        ),
        consume=lambda: None,
        controller=part,
        create_task_handler=lambda: None,
        event_dispatcher=None,
        on_ready=lambda: None,
        register_with_event_loop=part.register_with_event_loop,
        restart_count=1,
        timer_entries_before_start=set(),
    )
    running = SimpleNamespace(state=vars(bootsteps)["RUN"])  # celery-types does not know it
    qos = SimpleNamespace(prev=0, value=0, update=lambda: None)
    loops.asynloop(consumer, consumer.connection, consumer, running, hub, qos, 0, None)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:hunter2@h:1/0",
        "unix://:hunter2@/run/redis.sock",
        "rediss://:hunter2@h?ssl_keyfile=/key&ssl_password=hunter2",
        "sentinel://:hunter2@h?master_name=m&sentinel_password=hunter2;sentinel://i",
        "sentinels://:hunter2@h?master_name=m&ssl_password=hunter2",
        "amqps://u:hunter2@h//",
    ],
)
def test_no_secret_of_the_broker_is_told_to_operators(url: str) -> None:
    """`inspect stats` sends it over the broker, and Flower shows it."""
    broker = BrokerURL.parse(url)
    tls: Any = dict(broker.tls or {})
    with Connection(broker.url, ssl=tls, transport_options=broker.transport_options(1)) as connection:
        assert "hunter2" in repr(connection.info())
        told = broker_told(connection.info())
    assert "hunter2" not in json.dumps(told)
    assert told["transport"] in ("redis", "rediss", "sentinel", "amqp", "amqps", "pyamqp")
