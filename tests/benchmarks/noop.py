"""A Celery task that does nothing, on our pool: `celery -A tests.benchmarks.noop worker`.

What it costs is what Celery and the pool take of every job, before Palaver does anything.
"""

import os
from typing import Any

import redis.asyncio
from celery import Celery
from celery.signals import worker_ready

from tests.benchmarks.contenders import Contender
from tests.processes import ROOT, Running

URL = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")

app = Celery("noop", broker=URL)
app.conf.update(
    worker_pool="palaver.workers.pool:AsyncPool",
    worker_consumer="palaver.workers.pool.intake:Intake",
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
    broker_connection_retry_on_startup=True,
)
worker_ready.connect(lambda **_: print("ready", flush=True), weak=False)
connections = redis.asyncio.BlockingConnectionPool.from_url(URL)  # else more than 100 at once are refused
database: Any = redis.asyncio.Redis(connection_pool=connections)


@app.task(name="noop")
async def noop() -> None:
    """Count, so that the end is seen."""
    await database.incr("bench:ended")


class Nothing(Contender):
    """A worker whose jobs are no jobs."""

    name = "noop"

    def start(self) -> Running:
        words = ("celery", "-A", "tests.benchmarks.noop", "worker", "--concurrency", str(self.load.room))
        environment = {"BENCH_REDIS": self.stage.redis.url}
        worker = self.stage.processes.start(words, name=self.name, env=environment, cwd=ROOT)
        worker.wait_for("ready", seconds=60)
        return worker

    def submit(self) -> None:
        with app.connection_for_write(self.stage.redis.url) as connection:
            for _ in range(self.load.streams):
                app.send_task("noop", connection=connection)
