"""A Celery application of somebody else, run by our pool: `celery -A tests.integration.pool.user_app
worker`.
"""

import asyncio
import json
import os
import signal
import sys
import threading
import time
from typing import Any

from celery import Celery, Task, signals
from celery.backends.base import KeyValueStoreBackend
from celery.exceptions import SoftTimeLimitExceeded

app = Celery("user", broker=os.environ["USER_BROKER"], backend=os.environ.get("USER_BACKEND"))
app.conf.update(
    worker_pool="palaver.workers.pool:AsyncPool",
    worker_consumer="palaver.workers.pool.intake:Intake",
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
    worker_redirect_stdouts=False,
    worker_soft_shutdown_timeout=float(os.environ.get("USER_SOFT_SHUTDOWN", "0")),
    palaver_drain_seconds=float(os.environ["USER_DRAIN"]) if "USER_DRAIN" in os.environ else None,
    broker_connection_retry_on_startup=True,
)

if "USER_TRANSPORT" in os.environ:
    app.conf.broker_transport_options = json.loads(os.environ["USER_TRANSPORT"])


class Impatience:
    """A sender in Celery's table of receivers. A dispatch compares it with its own, under the table's lock:
    the first time that brings another SIGTERM, as an impatient supervisor would.
    """

    sent = False

    def __eq__(self, other: object) -> bool:
        if not self.sent:
            self.sent = True
            signal.raise_signal(signal.SIGTERM)
        return False

    __hash__ = object.__hash__


if "USER_IMPATIENCE" in os.environ:
    signals.worker_shutting_down.receivers.append(((None, Impatience()), None))


def say(*words: object) -> None:
    sys.__stdout__.write(f"SAYS {' '.join(map(str, words))}\n")  # type: ignore[union-attr]
    sys.__stdout__.flush()  # type: ignore[union-attr]


@app.task(bind=True)
async def nap(self: Task[Any, Any], seconds: float) -> str:
    say("begun", self.request.id)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        say("cancelled", self.request.id)
        raise
    else:
        say("slept", self.request.id)
    finally:
        await asyncio.sleep(0)
    return str(self.request.id)


@app.task(acks_late=False)
async def early(seconds: float) -> str:
    say("early begun")
    await asyncio.sleep(seconds)
    say("early done")
    return "done"


@app.task(acks_late=False, expendable=True)
async def spare(seconds: float) -> None:
    say("spare begun")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        say("spare cancelled")
        raise


class Slow(KeyValueStoreBackend):
    """A result backend that takes its time."""

    def _set_with_state(self, key: Any, value: Any, state: Any) -> None:
        say("storing", state)
        time.sleep(float(os.environ.get("USER_RESULT_SECONDS", "0")))

    def get(self, key: Any) -> Any:
        return None


@app.task(backend=Slow(app))
async def noted(number: int) -> int:
    await asyncio.sleep(0)
    return number


@app.task
async def quick(number: int) -> int:
    await asyncio.sleep(0)
    return number


@app.task(ignore_result=True)
async def resultless() -> None:
    await asyncio.sleep(0)


woken = asyncio.Event()
pools: list[Any] = []


@signals.worker_ready.connect
def note_pool(sender: Any, **_: Any) -> None:
    pools.append(sender.pool)


@app.task(acks_late=False)
async def lending() -> str:
    """Waits, and has others use its slot meanwhile."""
    pools[-1].lend(1)
    await woken.wait()
    pools[-1].lend(-1)
    return "woken"


@app.task
async def wake() -> None:
    await asyncio.sleep(0)
    woken.set()


@app.task
async def tidy() -> str:
    """Catches the soft limit, and still awaits something afterwards."""
    try:
        await asyncio.sleep(60)
    except SoftTimeLimitExceeded:
        async with asyncio.timeout(5):
            await asyncio.sleep(0.01)
        return "tidied"
    return "slept"


@app.task(bind=True, max_retries=3)
async def flaky(self: Task[Any, Any]) -> int:
    await asyncio.sleep(0)
    if self.request.retries < 2:
        raise self.retry(countdown=0.01)
    return int(self.request.retries)


@app.task(
    autoretry_for=(ZeroDivisionError,),
    max_retries=2,
    retry_backoff=False,
    default_retry_delay=0,
    bind=True,
)
async def stubborn(self: Task[Any, Any]) -> int:
    await asyncio.sleep(0)
    return 1 // self.request.retries


@app.task
def threaded(seconds: float = 0.0) -> str:
    say("threaded begun")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)
    return threading.current_thread().name


@app.task
async def where() -> str:
    return threading.current_thread().name


@app.task
async def exits() -> None:
    raise SystemExit(3)


@app.task
async def cancels_itself() -> None:
    raise asyncio.CancelledError


@app.task
async def break_the_loop() -> None:
    asyncio.get_running_loop().stop()
    await asyncio.sleep(60)
