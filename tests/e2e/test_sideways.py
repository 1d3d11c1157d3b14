"""Scaling is starting more workers: they share the jobs, and a new one takes its part."""

import json
import time
from collections.abc import Callable
from typing import Any

from celery import Celery

from palaver.producer import Client
from palaver.shared.settings import Settings
from tests.processes import Running
from tests.servers import RedisServer, eventually

JOB = json.dumps({"n": 10, "rate": 16})  # so that a worker may stand still for two seconds of eight
SLOTS = "8"


def finished(app: Celery, workers: int) -> dict[str, int]:
    """Chat jobs by worker, as Celery's own statistics count them, once so many workers have answered."""
    stats: dict[str, Any] = {}

    def all_told() -> bool:
        # A worker that listens only since now may miss the question.
        stats.update(app.control.inspect(timeout=2, limit=workers).stats() or {})
        return len(stats) == workers

    assert eventually(all_told)
    return {name.partition("@")[0]: found["total"].get("palaver.chat", 0) for name, found in stats.items()}


def run(client: Client, count: int) -> None:
    """Hand in so many jobs, each in a session of its own, and wait for all answers."""
    jobs = [{"messages": JOB, "model": "scripted/echo"} for _ in range(count)]
    want = "".join(f" w{number}" for number in range(10))
    for handle in client.submit_many(jobs):
        assert handle.result(timeout=60).content.strip() == want.strip()


def test_workers_share_the_jobs_and_a_third_takes_its_part(
    redis_server: RedisServer, worker: Callable[..., Running]
) -> None:
    app = Celery(broker=redis_server.url)
    for name in ("first", "second"):
        worker("--hostname", f"{name}@test", "--concurrency", SLOTS)
    with Client(Settings(redis_url=redis_server.url)) as client:
        run(client, 200)
        shares = finished(app, 2)
        assert sum(shares.values()) == 200
        assert min(shares.values()) >= 60, shares

        worker("--hostname", "third@test", "--concurrency", SLOTS)
        end = time.monotonic() + 60
        while not finished(app, 3).get("third"):
            run(client, 40)
            assert time.monotonic() < end, "the third worker takes nothing"
