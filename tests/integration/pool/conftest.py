"""Workers of somebody else's Celery application in our pool, each a process of its own."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from celery import Celery
from celery.result import AsyncResult

from tests.processes import Processes, Running
from tests.servers import any_redis_binary, eventually, missing, start_redis

APP = "tests.integration.pool.user_app"
ALONE = ("--without-mingle", "--without-gossip")
"""Options of a worker that looks for no other ones, which would cost it a second."""


@dataclass(frozen=True)
class Workers:
    """A broker, a client of it, and the workers that were started on it."""

    broker: Callable[[], redis.Redis]
    client: Celery
    start: Callable[..., Running]

    def send(self, task: str, *args: Any, **options: Any) -> "AsyncResult[Any]":
        return self.client.send_task(f"{APP}.{task}", args=args, **options)

    def stats(self) -> dict[str, Any]:
        """The pool's part of `inspect stats`, of the one worker that runs."""
        # On a machine that does much else it may take its time.
        answers = self.client.control.inspect(timeout=30, limit=1).stats() or {}
        (answer,) = answers.values()
        pool: dict[str, Any] = answer["pool"]
        return pool

    def idle(self) -> bool:
        """Whether nothing is left in the pool, in Celery's books, and unacknowledged at the broker."""
        inspect = self.client.control.inspect(timeout=10, limit=1)
        pool = self.stats()
        books = [*(inspect.active() or {}).values(), *(inspect.reserved() or {}).values()]
        with self.broker() as broker:
            unacked = broker.hlen("unacked")
        return not pool["running"] and not pool["waiting"] and not any(books) and not unacked

    def wait_idle(self) -> None:
        assert eventually(self.idle, every=0.2), self.stats()

    def queued(self) -> int:
        """Messages that no worker holds."""
        with self.broker() as broker:
            return int(broker.llen("celery"))


def _workers(stack: ExitStack, folder: Any) -> Workers:
    binary = any_redis_binary()
    if binary is None:
        missing("no Redis server on this machine")
    processes = stack.enter_context(Processes(folder))
    server = start_redis(processes, binary)
    urls = {"USER_BROKER": server.url, "USER_BACKEND": f"redis://127.0.0.1:{server.port}/1"}
    client = Celery("client", broker=urls["USER_BROKER"], backend=urls["USER_BACKEND"], set_as_current=False)
    stack.callback(client.close)

    def start(*options: str, env: dict[str, str] | None = None) -> Running:
        words = ("-m", "celery", "-A", APP, "worker", "--loglevel", "INFO", *ALONE)
        environment = {**urls, "PYTHONPATH": os.environ.get("PYTHONPATH", ""), **(env or {})}
        running = processes.python(*words, *options, name="worker", env=environment)
        running.wait_for(r" ready\.$", seconds=60)
        # It may not hear what it is told before it has begun to listen, a moment later.
        assert eventually(lambda: client.control.inspect(timeout=1, limit=1).ping())
        return running

    return Workers(server.client, client, start)


@pytest.fixture
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """A broker of the test's own; start workers with `workers.start(...)`."""
    with ExitStack() as stack:
        yield _workers(stack, tmp_path_factory.mktemp("workers"))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workers, Running]]:
    """One worker of 20 slots, shared by a module's tests. They leave it running and idle."""
    with ExitStack() as stack:
        workers = _workers(stack, tmp_path_factory.mktemp("workers"))
        yield workers, workers.start("--concurrency", "20")
