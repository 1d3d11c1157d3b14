"""What jobs say is archived once: however they end, whoever dies meanwhile, and whatever is away."""

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis

from palaver.producer.interfaces import personal_data
from palaver.shared.conversations import ConversationMessage, ConversationSession
from palaver.shared.errors import (
    ArchiveUnavailableError,
    ConfigurationError,
    ErrorInfo,
    JobError,
    SessionBusyError,
)
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import AsyncLedger, Claimed, operations
from palaver.shared.ledger.replies import Submitted
from palaver.shared.owner import Owner
from palaver.shared.responses import ChatResponse
from palaver.shared.settings import Settings
from palaver.shared.stores.archives import Archive, archive_session, open_archive
from palaver.workers.archiver import Archiver
from tests.integration.archives.conftest import upgrade
from tests.postgres import run_postgres, start_postgres
from tests.processes import Processes

pytestmark = pytest.mark.xdist_group("postgres")

DATABASES = ("sqlite", "postgresql")


class World:
    """A conversation, and jobs that end in it as they are told to."""

    def __init__(self, ledger: AsyncLedger, archive: Archive) -> None:
        self.ledger, self.archive, self.keys = ledger, archive, ledger.keys
        self.session = ConversationSession(created=1.0, user="u1")

    async def open(self) -> None:
        await self.archive.create(self.session)
        await self.open_in_ledger(in_database=bool(self.ledger.settings.archive_url))

    async def open_in_ledger(self, *, in_database: bool) -> None:
        opening = operations.open_session(
            self.keys, self.session, retention=self.ledger.retention, in_database=in_database
        )
        await self.ledger.run(opening)

    async def submit(self, words: str, **fields: Any) -> Submitted:
        given = {"session_id": self.session.session_id, "archive": True, **fields}
        return await self.ledger.submit(ChatJob(messages=words, **given))

    async def claim(self, job: Submitted) -> Claimed:
        claimed = await self.ledger.run(
            operations.claim(
                self.keys, job.session_id, job.job_id, token=uuid.uuid4().hex, worker="w", lease=30
            )
        )
        assert isinstance(claimed, Claimed)
        return claimed

    async def finish(self, job: Submitted, status: Status = Status.COMPLETED, **response: Any) -> None:
        claimed = await self.claim(job)
        error = None if status is Status.COMPLETED else JobError("out of order")
        answer = ChatResponse(**response) if error is None else ChatResponse.failed(error, **response)
        await self.ledger.run(
            operations.finish(
                self.keys,
                job.session_id,
                job.job_id,
                fence=claimed.fence,
                status=status,
                end=b'"type":"stream_end","data":{"status":"%s"}' % status.encode(),
                response=answer.to_json(),
                error=None if error is None else ErrorInfo.of(error).model_dump_json().encode(),
                retention=self.ledger.retention,
            )
        )

    async def look(self) -> float | None:
        return await archive_session(self.ledger, self.archive, self.session.session_id)

    async def stored(self) -> list[ConversationMessage]:
        return (await self.archive.messages(self.session.session_id, limit=1000)).items

    async def said(self) -> list[tuple[str, str]]:
        return [(str(each.message_type), each.content) for each in await self.stored()]

    async def noted(self) -> int:
        session_id = self.session.session_id
        noted = await self.ledger.query(operations.unarchived_jobs(self.keys, session_id))
        return len(noted)


@pytest.fixture
async def world(ledger: AsyncLedger, archive: Archive) -> World:
    world = World(ledger, archive)
    await world.open()
    return world


async def test_what_is_said_is_stored_as_it_comes(world: World) -> None:
    job = await world.submit("Hello", files=["f1"])
    assert await world.look() is not None
    (asked,) = await world.stored()
    assert (asked.content, asked.files, asked.job_id) == ("Hello", ["f1"], job.job_id)

    widgets = [{"widget_type": "form", "data": {"a": 1}}, {"widget_type": "list", "data": [1]}]
    await world.finish(job, content="Hi there", widgets=widgets)
    for _ in range(3):
        assert await world.look() is None
    stored = await world.stored()
    assert [(each.message_type, each.content) for each in stored] == [
        ("user", "Hello"),
        ("widget", ""),
        ("widget", ""),
        ("agent", "Hi there"),
    ]
    assert [(each.component_type, each.component_data) for each in stored[1:3]] == [
        ("form", {"a": 1}),
        ("list", {"data": [1]}),
    ]
    assert stored[0] == asked
    assert await world.noted() == 0


async def test_every_end_of_a_job_leaves_its_words(world: World) -> None:
    failed = await world.submit("one")
    await world.finish(failed, Status.FAILED, content="half")
    silent = await world.submit("two")
    await world.finish(silent)
    cancelled = await world.submit("three")
    await world.ledger.cancel(cancelled.session_id, cancelled.job_id)
    expired = await world.submit("four", deadline=1)
    async with asyncio.timeout(20):
        while not (await world.ledger.expire(expired.session_id, expired.job_id)).status.ended:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await world.look()
    assert sorted(await world.said()) == sorted(
        [
            ("user", "one"),
            ("agent", "half"),
            ("system", "Error: out of order"),
            ("user", "two"),
            ("user", "three"),
            ("user", "four"),
            ("system", "Error: The job did not finish before its deadline."),
        ]
    )
    (half,) = [each for each in await world.stored() if each.content == "half"]
    assert half.metadata == {"partial": True}


async def test_jobs_that_say_nothing_of_it_are_not_stored(world: World) -> None:
    job = await world.submit("private", archive=False)
    await world.finish(job, content="yes")
    await world.look()
    assert await world.said() == []


async def test_many_archivers_at_once_store_one_of_each(world: World) -> None:
    jobs = [await world.submit(f"{n}", on_busy="parallel") for n in range(20)]
    for job in jobs[::2]:
        await world.finish(job, content=f"answer to {job.job_id}")
    await asyncio.gather(*(world.look() for _ in range(8)))
    for job in jobs[1::2]:
        await world.finish(job, content=f"answer to {job.job_id}")
    await asyncio.gather(*(world.look() for _ in range(8)))
    stored = await world.stored()
    assert len(stored) == len({each.id for each in stored}) == 40
    assert sorted(await world.said())[:20] == sorted(("agent", f"answer to {job.job_id}") for job in jobs)


async def test_a_job_that_two_workers_had_says_everything_once(world: World) -> None:
    job = await world.submit("Hello")
    first = await world.claim(job)
    await world.look()
    given_up = operations.release(world.keys, job.session_id, job.job_id, fence=first.fence)
    await world.ledger.run(given_up)
    await world.look()
    await world.finish(job, content="Hi")
    await world.look()
    assert await world.said() == [("user", "Hello"), ("agent", "Hi")]


async def test_a_job_that_is_done_again_does_not_repeat_the_question(world: World) -> None:
    failed = await world.submit("Hello")
    await world.finish(failed, Status.FAILED)
    again = await world.submit("Hello", retry_of=failed.job_id)
    await world.finish(again, content="Hi")
    await world.look()
    assert await world.said() == [("user", "Hello"), ("system", "Error: out of order"), ("agent", "Hi")]


@pytest.mark.parametrize("archive_url", ["sqlite"], indirect=True)
async def test_a_worker_without_the_database_leaves_its_conversations_alone(world: World) -> None:
    job = await world.submit("Hello")
    await world.finish(job, content="Hi")
    elsewhere = world.ledger.settings.model_copy(update={"archive_url": ""})
    async with AsyncLedger(elsewhere) as ledger:
        with pytest.raises(ConfigurationError, match="PALAVER_ARCHIVE_URL is not set here"):
            await archive_session(ledger, open_archive(ledger), job.session_id)
    await world.look()
    assert await world.said() == [("user", "Hello"), ("agent", "Hi")]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("archive_url", "step"),
    [*((kind, "add") for kind in ("redis", *DATABASES)), *((kind, "create") for kind in DATABASES)],
    indirect=["archive_url"],
)
async def test_what_is_erased_while_it_is_archived_does_not_come_back(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    job = await world.submit("Hello")
    await world.finish(job, content="Hi")
    if step == "create":
        await begun_before_the_database(world)

    async def erase() -> None:
        await personal_data.erase(world.ledger, world.archive, [world.session])

    done = getattr(world.archive, step)

    async def erased_meanwhile(*args: Any) -> None:
        if when == "before":
            await erase()
        try:
            await done(*args)
        finally:
            if when == "after":
                await erase()

    monkeypatch.setattr(world.archive, step, erased_meanwhile)
    await world.look()
    assert await world.said() == []
    assert (await world.archive.sessions(Owner(user="u1"), limit=10)).items == []
    with redis.Redis.from_url(world.ledger.settings.redis_url) as raw:
        assert list(raw.scan_iter(f"*{job.session_id}*")) == []


async def begun_before_the_database(world: World) -> None:
    """Have Redis say so."""
    await world.archive.delete(world.session)
    with redis.Redis.from_url(world.ledger.settings.redis_url) as raw:
        raw.hdel(world.keys.session(world.session.session_id), "database")


@pytest.mark.parametrize("archive_url", DATABASES, indirect=True)
async def test_what_began_before_there_was_a_database_goes_on_in_it(world: World) -> None:
    job = await world.submit("Hello")
    await begun_before_the_database(world)
    await world.finish(job, content="Hi")
    await world.look()
    assert await world.said() == [("user", "Hello"), ("agent", "Hi")]
    assert (await world.archive.sessions(Owner(user="u1"), limit=10)).items == [world.session]


@pytest.mark.parametrize("archive_url", DATABASES, indirect=True)
async def test_no_archiver_brings_a_session_back_that_its_database_has_had(world: World) -> None:
    """Whoever sends it a message while it is erased has the ledger know it again for a moment."""
    job = await world.submit("Hello")
    await world.archive.delete(world.session)
    await world.finish(job, content="Hi")
    await world.look()
    assert await world.archive.session(job.session_id) is None
    assert await world.said() == []


@pytest.mark.parametrize("archive_url", DATABASES, indirect=True)
async def test_a_redis_that_loses_all_it_has_takes_nothing_from_a_database(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await world.submit("Hello")
    await world.finish(job, content="Hi")
    store = world.archive.add

    async def lost_behind_it(*args: Any) -> None:
        await store(*args)
        with redis.Redis.from_url(world.ledger.settings.redis_url) as raw:
            raw.flushdb()

    monkeypatch.setattr(world.archive, "add", lost_behind_it)
    await world.look()
    assert await world.said() == [("user", "Hello"), ("agent", "Hi")]


async def archived(world: World) -> None:
    """Return when everything is."""
    async with asyncio.timeout(30):
        while await world.noted():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@pytest.fixture
async def archiver(ledger: AsyncLedger, archive: Archive) -> AsyncIterator[None]:
    """The archiver of a worker, as it runs there, hurried."""
    task = asyncio.create_task(Archiver(ledger, archive, period=0.05).run())
    yield
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.usefixtures("archiver")
async def test_a_worker_archives_what_nobody_reads(world: World) -> None:
    for number in range(3):
        job = await world.submit(f"question {number}")
        await world.finish(job, content=f"answer {number}")
    await archived(world)
    assert len(await world.said()) == 6
    async with asyncio.timeout(20):
        sessions = operations.unarchived_sessions(world.keys, time=9e12, limit=10)
        while await world.ledger.query(sessions):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_job_that_is_not_there_is_forgotten_after_a_while(world: World) -> None:
    """Its submit may be under way; or its client died before it, or it was refused, as here."""
    first = await world.submit("one")
    with pytest.raises(SessionBusyError):
        await world.submit("two", on_busy="reject")
    await world.finish(first, content="yes")
    assert await world.look() is not None
    assert await world.noted() == 1
    key = world.keys.unarchived_jobs(world.session.session_id)
    with redis.Redis.from_url(world.ledger.settings.redis_url) as raw:
        raw.zadd(key, dict.fromkeys(raw.zrange(key, 0, -1), 1))
    assert await world.look() is None
    assert await world.noted() == 0
    assert await world.said() == [("user", "one"), ("agent", "yes")]


@pytest.mark.parametrize("archive_url", ["postgresql"], indirect=True)
async def test_an_archiver_that_is_killed_leaves_nothing_out_and_nothing_twice(
    world: World, processes: Processes
) -> None:
    sessions = [World(world.ledger, world.archive) for _ in range(30)]
    for each in sessions:
        await each.open()
        for number in range(2):
            await each.finish(await each.submit(f"{number}"), content=f"answer {number}")
    settings = world.ledger.settings
    variables = {
        "PALAVER_REDIS_URL": settings.redis_url,
        "PALAVER_NAMESPACE": settings.namespace,
        "PALAVER_ARCHIVE_URL": settings.archive_url,
    }

    keys = [world.keys.unarchived_jobs(each.session.session_id) for each in sessions]
    with redis.Redis.from_url(settings.redis_url) as raw:
        for enough in (15, 0):
            running = processes.python("-m", "tests.integration.archives.archiver_process", env=variables)
            running.wait_for("archiving")
            async with asyncio.timeout(60):
                while int(raw.exists(*keys)) > enough:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            running.kill()
    for each in sessions:
        expected = [("user", "0"), ("agent", "answer 0"), ("user", "1"), ("agent", "answer 1")]
        assert sorted(await each.said()) == sorted(expected)


async def test_what_is_said_while_the_database_is_away_waits_in_the_ledger(
    redis_url: str, namespace: str, tmp_path: Path
) -> None:
    with Processes(tmp_path) as processes, run_postgres(processes) as server:
        url = server.url()
        await upgrade(url)
        settings = Settings(redis_url=redis_url, namespace=namespace, archive_url=url, retention=100)
        async with AsyncLedger(settings) as ledger:
            archive = open_archive(ledger)
            world = World(ledger, archive)
            await world.open()
            job = await world.submit("Hello")
            await world.finish(job, content="Hi")
            server.running.signal(signal.SIGQUIT)  # it ends with all that serves its clients
            assert server.running.wait(30) is not None
            document = world.keys.job(job.session_id, job.job_id)
            with redis.Redis.from_url(redis_url) as raw:
                raw.expire(document, 5)  # so near is its end
                with pytest.raises(ArchiveUnavailableError, match="PALAVER_ARCHIVE_URL"):
                    await world.look()
                assert raw.ttl(document) > 90
            start_postgres(processes, server.folder)
            await world.look()
            assert await world.said() == [("user", "Hello"), ("agent", "Hi")]
            await archive.aclose()
