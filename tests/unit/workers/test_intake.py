"""What Celery would log with a traceback is one line, and operators are told no password of a broker."""

import json
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from kombu import Connection

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
