"""Readers to whom nothing happens miss nothing, although they do not ask themselves."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Final

import orjson
import pytest

from palaver.producer import AsyncClient, Client, JobHandle, idle
from palaver.producer.cursor import Entry
from palaver.producer.reader import Reader
from palaver.shared.ledger import Keys
from palaver.shared.settings import Settings
from tests.integration.producer.stand_in import StandIn
from tests.servers import IN_TIME, RedisServer

WorkOn = Callable[[JobHandle], StandIn]
SESSIONS: Final = ("one", "two", "three")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(idle, "_AT_ONCE", 2)


@pytest.fixture
def seqs(client: Client, work_on: WorkOn) -> list[int]:
    """The seq of each session, in which everything has ended."""
    return [ended_in(client, work_on, session_id) for session_id in SESSIONS]


def ended_in(client: Client, work_on: WorkOn, session_id: str) -> int:
    handle = client.submit("Hello", session_id=session_id)
    work_on(handle).answer()
    return [event.seq for event in handle.events()][-1]


async def heard(reader: Reader) -> Sequence[Entry]:
    async with asyncio.timeout(IN_TIME):
        return await reader.entries() or []


def happen_unheard(server: RedisServer, settings: Settings, session_id: str, seq: int) -> None:
    """Have an event that nobody is told of."""
    keys = Keys(settings.namespace)
    with server.client() as raw:
        raw.hset(keys.session(session_id), "seq", seq)
        fields = {"seq": seq, "job_id": "j", "type": "progress"}
        raw.xadd(keys.events(session_id), {"e": orjson.dumps(fields)}, id=f"{seq}-0")


async def test_what_nobody_told_is_found(
    settings: Settings, redis_server: RedisServer, seqs: list[int]
) -> None:
    async with AsyncClient(settings) as client, AsyncExitStack() as stack:
        readers = [
            await stack.enter_async_context(aclosing(await client.reading.live_reader(session_id)))
            for session_id in SESSIONS
        ]
        hearing = [asyncio.create_task(heard(reader)) for reader in readers]
        for _ in range(2):
            await until_asked(client)
        for task, session_id, seq in zip(hearing, SESSIONS, seqs, strict=True):
            assert not task.done()
            happen_unheard(redis_server, settings, session_id, seq + 1)
            assert [event.seq for event in await task] == [seq + 1]


async def test_a_redis_that_comes_back_is_heard(
    settings: Settings, redis_server: RedisServer, client: Client, work_on: WorkOn, seqs: list[int]
) -> None:
    async with AsyncClient(settings) as reading, aclosing(await reading.reading.live_reader("one")) as reader:
        hearing = asyncio.create_task(heard(reader))
        await until_asked(reading)
        with redis_server.client() as raw:
            for kind in ("normal", "pubsub"):
                raw.execute_command("CLIENT", "KILL", "TYPE", kind)
        await asyncio.to_thread(ended_in, client, work_on, "one")
        assert [event.seq for event in await hearing][:1] == [seqs[0] + 1]


async def until_asked(client: AsyncClient) -> None:
    """Until Redis was asked for those who wait."""
    before = client.reading.hub.idle.reached
    async with asyncio.timeout(IN_TIME):
        while client.reading.hub.idle.reached == before:  # noqa: ASYNC110 - nobody is told of it
            await asyncio.sleep(0.01)
