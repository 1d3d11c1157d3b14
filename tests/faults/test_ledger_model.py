"""The scripts and the model, step by step: whatever clients, workers and zombies do, and however often.

PALAVER_TEST_PROFILE chooses how long: "quick" (the default), "ci" or "soak". A real Redis is much faster than
fakeredis and takes most of the runs; on fakeredis keys expire by the machine's clock.
"""

import os
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.ledger_machine import LedgerMachine
from tests.faults.ledger_servers import RealServer, Server, fake_server
from tests.servers import RedisServer

RUNS = {
    "redis": {"quick": 100, "ci": 2_000, "soak": 100_000},
    "fakeredis": {"quick": 50, "ci": 400, "soak": 10_000},
}
STEPS = 50
PROFILE = os.environ.get("PALAVER_TEST_PROFILE", "quick")


def _run(server: Server, runs: int) -> None:
    machine: Any = type("Machine", (LedgerMachine,), {"server": server})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=runs,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(0)
def test_on_fakeredis() -> None:
    with fake_server() as server:
        _run(server, RUNS["fakeredis"][PROFILE])


@pytest.mark.timeout(0)
def test_on_a_real_redis(redis_server: RedisServer) -> None:
    with redis.Redis(port=redis_server.port, protocol=2) as client:
        _run(RealServer(client), RUNS["redis"][PROFILE])
