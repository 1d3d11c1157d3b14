"""The rival on arq: `python -m arq arq_worker.Worker`; with JOBS QUESTION it enqueues."""

import asyncio
import sys
from typing import Any

import arq
import httpx
import redis.asyncio
import uvloop
from arq.connections import RedisSettings
from stream import CONNECTIONS, LIMITS, REDIS_URL, SLOTS, TIMEOUT, answer

uvloop.install()  # arq takes what there is; the others choose it by themselves
SETTINGS = RedisSettings.from_dsn(REDIS_URL)


async def startup(context: dict[str, Any]) -> None:
    context["http"] = httpx.AsyncClient(limits=LIMITS, timeout=TIMEOUT)
    context["database"] = redis.asyncio.Redis.from_url(REDIS_URL, **CONNECTIONS)
    print("ready", flush=True)


async def chat(context: dict[str, Any], session_id: str, question: str) -> None:
    await answer(context["http"], context["database"], session_id, question)


class Worker:
    functions = (chat,)
    on_startup = startup
    redis_settings = SETTINGS
    max_jobs = SLOTS
    job_timeout = 3600
    keep_result = 0
    poll_delay = 0.01


async def enqueue(jobs: int, question: str) -> None:
    pool = await arq.create_pool(SETTINGS)
    for number in range(jobs):
        await pool.enqueue_job("chat", f"bench-{number}", question)
    await pool.aclose()


if __name__ == "__main__":
    asyncio.run(enqueue(int(sys.argv[1]), sys.argv[2]))
