"""An engine in this process: a service on a real Redis, without Celery."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest
import redis
import uvloop

from palaver.shared.accumulator import Accumulator
from palaver.shared.events import parse_event
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger.operations import gating
from palaver.shared.profiles import Catalog
from palaver.shared.settings import Settings
from palaver.workers.ending import Outcome
from palaver.workers.providers import Provider
from palaver.workers.service import WorkerService
from tests.integration.workers.doubles import PREFIX
from tests.model_server import ModelServer, start_model_server
from tests.processes import Processes

P = TypeVar("P", bound=Provider)

PROVIDERS: dict[str, dict[str, Any]] = {
    "scripted": {"kind": "scripted", "options": {"rate": 0}},
    "again": {"kind": "scripted", "resume": "restart", "options": {"rate": 0}},
    "slow": {"kind": "scripted", "options": {"rate": 50}},
    "scripting": {"kind": PREFIX + "Scripting", "options": {"rate": 0}},
    **{
        name.lower(): {"kind": PREFIX + name}
        for name in ("Buggy", "Cancelling", "Recording", "Flood", "Gated", "Leaving", "Silent", "Unfit")
    },
    "anew": {"kind": PREFIX + "Anew", "resume": "restart"},
}


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that workers run on."""
    return {"uvloop": uvloop.new_event_loop}


class NotingHost:
    """Where a worker of these tests runs; notes what it asks for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.lent: list[int] = []

    def leave(self) -> None:
        self.asked.append("leave")

    def fail(self) -> None:
        self.asked.append("fail")

    def lend(self, by: int, /) -> None:
        self.lent.append(by)


class Engine:
    """A service, and short words for what the tests do with it."""

    def __init__(self, service: WorkerService, host: NotingHost) -> None:
        self.service = service
        self.host = host
        self.ledger = service.ledger
        self.client = redis.Redis.from_url(service.settings.redis_url)

    async def submit(self, messages: Any, **fields: Any) -> ChatJob:
        """Submit messages, or the script that an object is."""
        text = orjson.dumps(messages).decode() if isinstance(messages, dict) else messages
        job = ChatJob(messages=text, **({"session_id": "s1", "model": "scripted/echo"} | fields))
        await self.ledger.submit(job)
        return job

    async def run(self, job: ChatJob) -> Outcome:
        async with asyncio.timeout(60):
            return await self.service.run(job.session_id or "", job.job_id)

    async def answer(self, messages: Any, **fields: Any) -> list[dict[str, Any]]:
        """Submit and run; the job's events."""
        job = await self.submit(messages, **fields)
        await self.run(job)
        return await self.events(job)

    async def events(self, job: ChatJob) -> list[dict[str, Any]]:
        """The job's events, after what holds for every log was checked."""
        events: list[dict[str, Any]] = []
        while page := await self.ledger.events(job.session_id or "", after=len(events)):
            events += [orjson.loads(event) for event in page]
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        own = [event for event in events if event["job_id"] == job.job_id]
        ends = [event["type"] == "stream_end" for event in own]
        assert sum(ends) == ends[-1] <= 1
        return own

    async def said(self, job: ChatJob) -> None:
        """Return when the job has written some text."""
        await self.told(job, "text_chunk")

    async def told(self, job: ChatJob, kind: str) -> None:
        """Return when the job has such an event."""
        async with asyncio.timeout(20):
            while not any(event["type"] == kind for event in await self.events(job)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    def provider(self, name: str, kind: type[P]) -> P:
        served = self.service._served
        provider = served._lending._make(served._catalog.profile(name)).provider
        assert isinstance(provider, kind)
        return provider

    def kill_connections(self) -> None:
        """Cut the worker's connection as a network would: without a word to either side's code."""
        for connection in self.client.client_list():
            if connection["name"] == "palaver-worker":
                self.client.client_kill_filter(_id=connection["id"])


def text_of(events: list[dict[str, Any]]) -> str:
    """The job's text by the rule of the offset."""
    accumulator = Accumulator()
    for event in events:
        accumulator.feed(parse_event(event))
    return accumulator.text


MakeEngine = Callable[..., Awaitable[Engine]]


@pytest.fixture
def files_url(tmp_path: Path) -> str:
    """Of a store of the test's own."""
    return f"file://{tmp_path}/files"


@pytest.fixture
def server(processes: Processes) -> ModelServer:
    """A provider over HTTP, of the test's own: it counts what it was asked."""
    return start_model_server(processes)


@pytest.fixture
def forgetful_redis(redis_url: str) -> Iterator[None]:
    """Redis forgets its scripts, again and again, as often as it can be told to."""
    over = threading.Event()

    def flush() -> None:
        with redis.Redis.from_url(redis_url) as client:
            while not over.is_set():
                client.script_flush()

    flusher = threading.Thread(target=flush)
    flusher.start()
    yield
    over.set()
    flusher.join()


@pytest.fixture
async def make_engine(redis_url: str, namespace: str) -> AsyncIterator[MakeEngine]:
    """Start an engine; settings may be given."""
    engines: list[Engine] = []

    async def make(*, profiles: dict[str, Any] | None = None, **values: Any) -> Engine:
        settings = Settings(**({"redis_url": redis_url, "namespace": namespace} | values))
        host, catalog = NotingHost(), Catalog.of(profiles or PROVIDERS)
        service = WorkerService(settings, catalog, name=f"test-{len(engines)}", host=host)
        await service.start()
        engines.append(Engine(service, host))
        return engines[-1]

    yield make
    for engine in engines:
        await engine.service.drain(0)
        await engine.service.close()
        engine.client.close()


@pytest.fixture
async def engine(make_engine: MakeEngine) -> Engine:
    """An engine that renews so seldom that nothing here can wait for a renewal."""
    return await make_engine(lease_seconds=60, renew_seconds=20)


async def stand(engine: Engine, gate: str, *, running: int, waiting: int) -> None:
    """Return when so many have a place at a gate and so many wait."""
    looking = gating.gate(engine.ledger.keys, gate)
    async with asyncio.timeout(10):
        while (known := await engine.ledger.query(looking)).running != running or known.waiting != waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def completed(engine: Engine, job: ChatJob) -> None:
    """Run the job whenever its message could come."""
    async with asyncio.timeout(20):
        while (await engine.run(job)).status is not Status.COMPLETED:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
