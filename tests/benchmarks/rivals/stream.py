"""The usual hand-written worker's job: read the provider's lines, one awaited PUBLISH for each delta.

Nothing of it is kept for a reader that comes later, nothing is numbered, no other worker goes on with it.
"""

import json
import os

import httpx
import redis
import redis.asyncio

REDIS_URL = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/0")
PROVIDER = os.environ.get("BENCH_PROVIDER", "")
SLOTS = int(os.environ.get("BENCH_SLOTS", "100"))
LIMITS = httpx.Limits(max_connections=SLOTS, max_keepalive_connections=SLOTS)
TIMEOUT = 300
CONNECTIONS = {"max_connections": SLOTS + 10}  # redis-py's own bound is 100
ENDED = "bench:ended"


def body(question: str) -> dict[str, object]:
    return {"model": "m", "stream": True, "messages": [{"role": "user", "content": question}]}


def channel(session_id: str) -> str:
    return f"palaver:{{{session_id}}}"


def event_of(session_id: str, line: str) -> str | None:
    """What one line of the provider's answer becomes for readers."""
    if not line.startswith("data: {"):
        return None
    delta = json.loads(line[6:])["choices"][0]["delta"].get("content")
    if not delta:
        return None
    return json.dumps({"type": "text_chunk", "session_id": session_id, "data": {"delta": delta}})


def end_of(session_id: str) -> str:
    return json.dumps({"type": "stream_end", "session_id": session_id, "data": {"status": "completed"}})


async def answer(
    http: httpx.AsyncClient, database: "redis.asyncio.Redis", session_id: str, question: str
) -> None:
    """One job, on an event loop."""
    async with http.stream("POST", PROVIDER, json=body(question)) as response:
        async for line in response.aiter_lines():
            if event := event_of(session_id, line):
                await database.publish(channel(session_id), event)
    await database.publish(channel(session_id), end_of(session_id))
    await database.incr(ENDED)


def answer_blocking(http: httpx.Client, database: "redis.Redis", session_id: str, question: str) -> None:
    """One job, in a thread or a greenlet."""
    with http.stream("POST", PROVIDER, json=body(question)) as response:
        for line in response.iter_lines():
            if event := event_of(session_id, line):
                database.publish(channel(session_id), event)
    database.publish(channel(session_id), end_of(session_id))
    database.incr(ENDED)
