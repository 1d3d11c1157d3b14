"""The rival on taskiq: `python -m taskiq worker taskiq_worker:broker`; with JOBS QUESTION it enqueues."""

import asyncio
import sys

import httpx
import redis.asyncio
from stream import CONNECTIONS, LIMITS, REDIS_URL, TIMEOUT, answer
from taskiq import TaskiqEvents, TaskiqState
from taskiq_redis import ListQueueBroker

broker = ListQueueBroker(REDIS_URL)


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def startup(state: TaskiqState) -> None:
    state.http = httpx.AsyncClient(limits=LIMITS, timeout=TIMEOUT)
    state.database = redis.asyncio.Redis.from_url(REDIS_URL, **CONNECTIONS)
    print("ready", flush=True)


@broker.task(task_name="chat")
async def chat(session_id: str, question: str) -> None:
    await answer(broker.state.http, broker.state.database, session_id, question)


async def enqueue(jobs: int, question: str) -> None:
    await broker.startup()
    for number in range(jobs):
        await chat.kiq(f"bench-{number}", question)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(enqueue(int(sys.argv[1]), sys.argv[2]))
