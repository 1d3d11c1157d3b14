"""`palaver status` with workers as they are in production: what has failed is told, in words and as the exit
code.
"""

import json
import os
import signal
import time
from collections.abc import Callable

import pytest

from palaver.producer.cli import status
from palaver.shared.errors import LedgerUnavailableError
from palaver.shared.settings import Settings
from tests.model_server import start_model_server
from tests.processes import Processes, Running
from tests.servers import RedisServer, eventually, free_port

pytestmark = [pytest.mark.redis, pytest.mark.worker]


def test_a_provider_that_is_away_is_told(
    worker: Callable[..., Running], processes: Processes, palaver_env: dict[str, str]
) -> None:
    away = f"http://127.0.0.1:{free_port()}/v1"
    tables = {"up": {"kind": "openai", "base_url": start_model_server(processes).openai_url}}
    tables["away"] = {"kind": "openai", "base_url": away}
    palaver_env |= {"PALAVER_PROVIDERS": json.dumps(tables), "PALAVER_MODELS": '{"default": "up/x"}'}
    worker()
    settings = Settings(redis_url=palaver_env["PALAVER_REDIS_URL"])
    assert eventually(lambda: status.look(settings).workers)  # announced a moment after it is ready
    shown = processes.start(("palaver", "status"), env=palaver_env)
    assert shown.wait(30) == 1
    shown.wait_for(r"^up +answered in [\d.]+ ms")
    shown.wait_for(r"^away +.*cannot be reached")
    quick = processes.start(("palaver", "status", "--quick"), env=palaver_env)
    assert quick.wait(30) == 0
    assert "answered in" in quick.output  # ledger and broker
    assert not any(line.startswith(("up ", "away ")) for line in quick.lines)


def test_heartbeats_are_told_by_the_clock_that_they_are_of(
    worker: Callable[..., Running], palaver_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker()
    settings = Settings(redis_url=palaver_env["PALAVER_REDIS_URL"])
    assert eventually(lambda: status.look(settings).workers)  # announced a moment after it is ready
    an_hour_late = time.time() - 3600
    monkeypatch.setattr("time.time", lambda: an_hour_late)  # this machine's
    found = status.look(settings)
    (heartbeat,) = [each["heartbeat"] for each in found.workers]
    assert 0 <= found.time - heartbeat < 60


def test_a_redis_that_answers_and_takes_no_writes_is_told(own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis("--min-replicas-to-write", "1")
    with pytest.raises(LedgerUnavailableError, match="takes nothing now: too few replicas"):
        status.look(Settings(redis_url=server.url))


async def test_a_worker_that_is_announced_and_takes_nothing_is_found_out(
    worker: Callable[..., Running], palaver_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = worker()
    monkeypatch.setattr(status, "ANSWER_SECONDS", 0.5)
    settings = Settings(redis_url=palaver_env["PALAVER_REDIS_URL"])
    assert eventually(lambda: status.look(settings).workers)  # announced a moment after it is ready
    os.kill(running.pid, signal.SIGSTOP)
    try:
        found = status.look(settings)
        assert found.healthy
        found = await status.examined(found, settings)
    finally:
        os.kill(running.pid, signal.SIGCONT)
    assert not found.healthy
    (scripted,) = found.profiles
    assert scripted["health"]["error"] == "no worker took the question within 0.5 seconds"
