"""A ledger that stands still when something is asked for, and may go on with what it was sent.

OpenAI's and Anthropic's clients repeat by themselves what failed so, unless they are told not to.
"""

import json
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from palaver.producer import broker, prepare
from palaver.producer.gateway.access import table
from palaver.shared.settings import Settings
from tests.integration.gateway.conftest import new_session
from tests.integration.gateway.here import APIS, BODY, gateway_here
from tests.integration.ledger.world import World
from tests.processes import Processes
from tests.servers import any_redis_binary, eventually, missing, run_redis

pytestmark = pytest.mark.redis

BODIES: dict[str, Any] = dict(zip(APIS, (BODY, {**BODY, "max_tokens": 10}, {"input": "Hi"}), strict=True))
WINDOW = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
KEYS: tuple[dict[str, str], ...] = ({}, {"idempotency-key": "once"})


@pytest.fixture
def world(processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for module, name in (
        (broker, "TRUSTED_SECONDS"),
        (table, "FRESH_SECONDS"),
        (prepare, "ANNOUNCED_SECONDS"),
    ):
        monkeypatch.setattr(module, name, 60)  # so that nothing of a job is asked before
    with run_redis(processes, any_redis_binary() or missing("no Redis server on this machine")) as redis:
        world = World(redis, drain_seconds=1.0, files_url=f"file://{tmp_path}/files")
        with closing(world):
            yield world


def hasty(world: World) -> Settings:
    """Of a gateway that does not wait for long, also where Redis goes on and is slow."""
    return world.settings.model_copy(update={"connect_seconds": 0.5})


@contextmanager
def standing_still(world: World) -> Iterator[None]:
    running = world.server.running
    assert running is not None
    running.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        running.signal(signal.SIGCONT)


def check(answer: httpx2.Response, key: dict[str, str], told: str) -> None:
    assert (answer.status_code, "did not answer in time" in answer.text) == (503, True)
    assert answer.headers["x-should-retry"] == ("true" if key else "false")
    assert (told in answer.text) == (not key)


def test_a_job_that_may_be_stored_is_not_asked_for_twice(world: World) -> None:
    session_id = world.submit(new_session(), tenant="acme").session_id
    with gateway_here(hasty(world)) as here, here.http() as http:
        said = partial(http.post, f"/sessions/{session_id}/messages", json={"content": "Hi"})
        assert eventually(lambda: said().is_success)
        with standing_still(world):
            for path, body in BODIES.items():
                for key in KEYS:
                    answer = http.post(path, json=body, headers=key)
                    check(answer, key, "Its job may go on")
                    assert ("x-palaver-job" in answer.headers) == (not key)


def test_a_batch_that_may_be_open_is_not_asked_for_twice(world: World) -> None:
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": BODY}
    with gateway_here(hasty(world)) as here, here.http() as http:
        assert eventually(lambda: http.get("/v1/files").is_success), "and the key is known"
        file = http.post("/v1/files", files={"file": ("in.jsonl", json.dumps(line).encode())}).json()
        with standing_still(world):
            for key in KEYS:
                answer = http.post("/v1/batches", json={"input_file_id": file["id"], **WINDOW}, headers=key)
                check(answer, key, "The batch may have been opened")


def test_a_job_that_was_refused_is_asked_for_again(world: World) -> None:
    """As while another Redis takes over: it has answered, and no such job is stored."""
    session_id = world.submit(new_session(), tenant="acme").session_id
    with gateway_here(world.settings) as here, here.http() as http:
        http.post(f"/sessions/{session_id}/messages", json={"content": "Hi"}).raise_for_status()
        world.raw.config_set("min-replicas-to-write", 3)
        for path, body in BODIES.items():
            answer = http.post(path, json=body)
            assert (answer.status_code, answer.headers["x-should-retry"]) == (503, "true")
            assert "too few replicas" in answer.text
            assert "Its job may go on" not in answer.text
            assert "x-palaver-job" not in answer.headers
        world.raw.config_set("min-replicas-to-write", 0)


def test_of_a_job_that_a_replica_refused_nobody_knows_whether_it_was_taken_before(world: World) -> None:
    session_id = world.submit(new_session(), tenant="acme").session_id
    with gateway_here(world.settings) as here, here.http() as http:
        http.post(f"/sessions/{session_id}/messages", json={"content": "Hi"}).raise_for_status()
        world.raw.replicaof("127.0.0.1", 9)
        answer = http.post(APIS[0], json=BODY)
        world.raw.replicaof("NO", "ONE")
    assert answer.status_code == 503
    assert "its Redis is a replica" in answer.text
    assert "Its job may go on" in answer.text
    assert "x-palaver-job" in answer.headers
