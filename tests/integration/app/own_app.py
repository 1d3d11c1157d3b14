"""An application of somebody's own whose workers run Palaver's jobs beside its tasks."""

import asyncio

from celery import Celery

from palaver.workers import install

app = install(Celery("own", set_as_current=False))


@app.task(name="own.plain")
def plain(number: int) -> int:
    return number + 1


@app.task(name="own.coroutine")
async def coroutine(number: int) -> int:
    await asyncio.sleep(0.01)
    return number + 1
