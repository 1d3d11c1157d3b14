"""The worker's connection to a real Redis, and to none."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
import redis

from palaver.shared.errors import JobGoneError, LedgerFullError, LedgerUnavailableError
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import Claimed, Keys, Operation, Retention, Submitted, operations
from palaver.workers.link import Link
from tests.servers import RedisServer, free_port

pytestmark = pytest.mark.redis


@pytest.fixture
async def link(redis_url: str) -> AsyncIterator[Link]:
    link = Link(redis_url)
    await link.start()
    yield link
    await link.stop()


def submit(keys: Keys, job: ChatJob) -> Operation[Submitted]:
    return operations.submit(keys, job, retention=Retention())


async def test_nobody_there_is_said_at_once_and_without_the_password() -> None:
    port = free_port()
    with pytest.raises(LedgerUnavailableError, match=f"127.0.0.1:{port}") as caught:
        await Link(f"redis://:secret@127.0.0.1:{port}/0").start()
    assert "secret" not in str(caught.value)


async def test_somebody_silent_is_given_up() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(10):
        with pytest.raises(LedgerUnavailableError):
            await Link(f"redis://127.0.0.1:{port}", connect_seconds=0.2).start()
    server.close()


async def test_a_wrong_password_is_a_failure_of_the_start(own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis()
    with server.client() as client:
        client.config_set("requirepass", "right")
    with pytest.raises(LedgerUnavailableError):
        await Link(server.url.replace("redis://", "redis://:wrong@")).start()
    link = Link(server.url.replace("redis://", "redis://:right@"))
    await link.start()
    await link.caught_up()
    await link.stop()


async def test_operations_run_with_their_commands_before_and_after(
    link: Link, namespace: str, redis_url: str
) -> None:
    keys, job = Keys(namespace), ChatJob(messages="hello", session_id="s1")
    submitted = await link.run(submit(keys, job))
    claim = operations.claim(keys, "s1", job.job_id, token="t", worker="w", lease=5)
    claimed, again = await link.run_all([claim, claim])
    await link.caught_up()
    assert submitted.created
    assert isinstance(claimed, Claimed)
    assert isinstance(again, Claimed)
    assert claimed == replace(again, deadline=claimed.deadline, begun=claimed.begun)
    with redis.Redis.from_url(redis_url) as client:
        assert client.get(keys.index(job.job_id)) == b"s1"
        assert client.zscore(keys.due, f"s1/{job.job_id}")


async def test_nothing_to_do_is_done_at_once_and_takes_no_reply_of_others(link: Link, namespace: str) -> None:
    assert await link.run_all([]) == []
    gone = operations.renew(Keys(namespace), "s1", "none", fence="1:t1", lease=5)
    with pytest.raises(JobGoneError):
        await link.run(gone)


async def test_a_verdict_is_raised_and_among_many_it_is_a_value(link: Link, namespace: str) -> None:
    gone = operations.renew(Keys(namespace), "s1", "none", fence="1:t1", lease=5)
    with pytest.raises(JobGoneError):
        await link.run(gone)
    submitted = submit(Keys(namespace), ChatJob(messages="hello", session_id="s1"))
    answers = await link.run_all([gone, gone])
    assert [type(answer) for answer in answers] == [JobGoneError, JobGoneError]
    assert (await link.run(submitted)).created


async def test_who_waits_gets_the_reply_after_the_connection_was_cut_and_redis_restarted(
    own_redis: Callable[..., RedisServer], namespace: str
) -> None:
    server = own_redis()
    port = int(server.url.rpartition(":")[2].partition("/")[0])
    link = Link(server.url)
    await link.start()
    assert server.running is not None
    await asyncio.to_thread(server.running.stop)
    keys, job = Keys(namespace), ChatJob(messages="hello", session_id="s1")
    waiting = asyncio.create_task(link.run(submit(keys, job)))
    await asyncio.sleep(0)
    await asyncio.to_thread(own_redis, port=port)
    async with asyncio.timeout(20):
        assert (await waiting).created
    await link.stop()


async def test_stopping_tells_who_waits(own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis()
    link = Link(server.url)
    await link.start()
    assert server.running is not None
    await asyncio.to_thread(server.running.stop)
    waiting = asyncio.create_task(link.caught_up())
    await asyncio.sleep(0)
    await link.stop()
    with pytest.raises(LedgerUnavailableError):
        await waiting
    with pytest.raises(LedgerUnavailableError):
        await link.caught_up()


async def test_a_link_that_is_greeted_and_gets_no_answers_counts_its_stalls(redis_url: str) -> None:
    link = Link(redis_url, stall_seconds=0.2)
    deaths: list[int] = []
    link.on_dead = lambda: deaths.append(link.stalls)
    await link.start()

    async def until(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():  # noqa: ASYNC110 - a plain count
                await asyncio.sleep(0.01)

    ping = b"*1\r\n$4\r\nPING\r\n"
    replies: asyncio.Queue[list[object]] = asyncio.Queue()
    link.send(ping, 2, replies.put_nowait)  # one reply too many, as a bug of the worker's would have it
    await until(lambda: link.stalls >= 4)
    assert deaths == [3]
    link.send(ping, 1, replies.put_nowait)  # its reply is taken by the first
    async with asyncio.timeout(20):
        assert [len(await replies.get()), len(await replies.get())] == [2, 1]
    assert link.stalls == 0
    await link.stop()


async def test_a_full_redis_is_told_by_name(own_redis: Callable[..., RedisServer], namespace: str) -> None:
    server = own_redis()
    link = Link(server.url)
    await link.start()
    with server.client() as client:
        client.config_set("maxmemory", 1)
    with pytest.raises(LedgerFullError):
        await link.run(submit(Keys(namespace), ChatJob(messages="hello", session_id="s1")))
    await link.stop()


async def test_a_redis_that_forgets_its_scripts_all_the_time_runs_them(
    link: Link, namespace: str, forgetful_redis: None
) -> None:
    jobs = [ChatJob(messages="hello", session_id=f"s{n}") for n in range(20)]
    for _ in range(20):  # of a repeat the reply is the same
        answers = await link.run_all([submit(Keys(namespace), job) for job in jobs])
        assert [type(answer) for answer in answers] == [Submitted] * len(jobs)
