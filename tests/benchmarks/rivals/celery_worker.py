"""The rival on Celery: `celery -A celery_worker worker --pool …`; with JOBS QUESTION it enqueues."""

import sys

import httpx
import redis
from celery import Celery
from celery.signals import worker_ready
from stream import CONNECTIONS, LIMITS, REDIS_URL, TIMEOUT, answer_blocking

app = Celery("bench", broker=REDIS_URL)
app.conf.update(
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
http = httpx.Client(limits=LIMITS, timeout=TIMEOUT)
database = redis.Redis.from_url(REDIS_URL, **CONNECTIONS)


@worker_ready.connect
def ready(**_: object) -> None:
    print("ready", flush=True)


@app.task(name="chat")
def chat(session_id: str, question: str) -> None:
    answer_blocking(http, database, session_id, question)


@app.task(name="nothing")
def nothing() -> None:
    """A task that costs what Celery costs."""
    database.incr("bench:ended")


if __name__ == "__main__":
    task, arguments = (chat, sys.argv[2:]) if len(sys.argv) > 2 else (nothing, [])
    for number in range(int(sys.argv[1])):
        task.apply_async((f"bench-{number}", *arguments) if arguments else ())
