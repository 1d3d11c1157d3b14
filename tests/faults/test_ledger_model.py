"""The scripts and the model, step by step: whatever clients, workers and zombies do, and however often.

PALAVER_TEST_PROFILE chooses how long: "quick" (the default), "ci" or "soak". A real Redis is much faster than
fakeredis and takes most of the runs; on fakeredis keys expire by the machine's clock.
"""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.faults.ledger_machine import LedgerMachine
from tests.faults.ledger_servers import Server, fake_server, real_server
from tests.servers import RedisServer

RUNS = {
    "redis": {"quick": 100, "ci": 2_000, "soak": 100_000},
    "fakeredis": {"quick": 30, "ci": 400, "soak": 10_000},
}
STEPS = 50
BATCH = 2_000
"""Runs after which hypothesis may forget: it remembers every one, to try no run twice."""
SEEN = {
    ("append", "FencedError"),
    ("append", "SequenceGapError"),
    ("claim", "not_due"),
    ("claim", "waiting"),
    ("finish", "JobEndedError"),
    ("look", "ended failed"),
    ("look", "unsure"),
    ("release", "Released"),
    ("submit", "ConflictError"),
    ("submit", "SessionBusyError"),
    ("sweep", "sent"),
}
"""What a long profile must have met: a machine that wanders past these proves little."""
PROFILE = os.environ.get("PALAVER_TEST_PROFILE", "quick")


def _run(server: Server, runs: int) -> None:
    for first in range(0, runs, BATCH):
        _run_batch(server, min(BATCH, runs - first))


def _run_batch(server: Server, runs: int) -> None:
    machine: Any = type("Machine", (LedgerMachine,), {"server": server})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=runs,
            stateful_step_count=STEPS,
            deadline=None,
            # what is found at random is for the soak; in CI a run is to say something of the change
            derandomize=PROFILE != "soak",
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
    with real_server(redis_server.port) as server:
        _run(server, RUNS["redis"][PROFILE])
    assert PROFILE == "quick" or not SEEN - LedgerMachine.counts.keys()
