"""What Celery would log with a traceback is one line."""

import logging
from types import SimpleNamespace

import pytest

from palaver.workers.app import app
from palaver.workers.pool.intake import Intake, Restarts


def test_connections_lost_in_a_row_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    consumer = Intake(lambda _: None, app=app, controller=SimpleNamespace(use_eventloop=False))
    counter = consumer._restart_state
    assert isinstance(counter, Restarts)
    with caplog.at_level(logging.WARNING):
        for _ in range(6):
            counter.step()
    (record,) = caplog.records
    assert record.getMessage().startswith('broker.unsteady connections_lost="5 in 1s')
    assert record.exc_info is None
