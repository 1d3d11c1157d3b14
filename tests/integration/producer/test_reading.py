"""Late, early, twice, many: every reader sees every event once, in order, ending in one stream_end."""

import asyncio
import random
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

import pytest

from palaver.producer import AsyncClient, Client, JobHandle
from palaver.producer.idle import IdleReaders
from palaver.producer.reader import Reader
from palaver.shared.accumulator import accumulate
from palaver.shared.beside import LARGE_BYTES
from palaver.shared.errors import (
    JobCancelledError,
    JobExpiredError,
    LedgerUnavailableError,
    RateLimitError,
    WaitTimeoutError,
)
from palaver.shared.events import AnyEvent, StreamEnd
from palaver.shared.jobs import Status
from palaver.shared.ledger import AsyncLedger, Keys, Signal, Subscriptions
from palaver.shared.names import Queue
from palaver.shared.responses import ChatResponse
from palaver.shared.settings import Settings
from tests.integration.producer.stand_in import PIECES, StandIn
from tests.servers import IN_TIME, RedisServer, eventually

WorkOn = Callable[[JobHandle], StandIn]
TEXT = "".join(PIECES)


def is_whole(events: Sequence[AnyEvent], text: str = TEXT) -> None:
    """Every event once, in order, one end, the last; the text to the byte."""
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.type for event in events].count("stream_end") == 1
    assert isinstance(events[-1], StreamEnd)
    assert accumulate(events).text.encode() == text.encode()


def test_readers_early_meanwhile_and_late(client: Client, work_on: WorkOn) -> None:
    handle = client.submit("Hello")
    with ThreadPoolExecutor() as pool:
        early = pool.submit(lambda: list(handle.events()))
        worker = work_on(handle)
        worker.start()
        meanwhile = []
        for place, piece in enumerate(PIECES):
            worker.say(piece)
            if place % 3 == 0:
                meanwhile.append(pool.submit(lambda: list(handle.events())))
        worker.complete()
        for reading in [early, *meanwhile]:
            is_whole(reading.result(20))
    is_whole(list(handle.events()))
    assert handle.result().content.encode() == TEXT.encode()


async def test_fifty_readers_at_once(client: Client, settings: Settings, work_on: WorkOn) -> None:
    handle = client.submit("Hello")
    async with AsyncClient(settings) as reading:
        theirs = await reading.job(handle.job_id)

        async def read() -> list[AnyEvent]:
            return [event async for event in theirs.events()]

        readers = [asyncio.create_task(read()) for _ in range(50)]
        await asyncio.to_thread(lambda: work_on(handle).answer(PIECES * 20))
        for reader in readers:
            is_whole(await reader, TEXT * 20)


async def test_who_still_reads_when_the_client_is_closed_is_told_so(
    settings: Settings, redis_server: RedisServer
) -> None:
    client = AsyncClient(settings)
    handle = await client.submit("x", session_id="s1")

    async def read(events: AsyncGenerator[AnyEvent, None]) -> None:
        async for _ in events:
            pass

    readers = [read(client.events("s1")), read(handle.events())]
    reading = [asyncio.create_task(reader) for reader in (*readers, handle.result())]
    channel = Keys(settings.namespace).channel("s1").encode()
    with redis_server.client() as redis:
        async with asyncio.timeout(IN_TIME):
            while channel not in redis.pubsub_channels():  # noqa: ASYNC110 - they listen
                await asyncio.sleep(0.01)
        async with AsyncClient(settings) as another:
            await another.check()
            await client.close()
            _, going_on = await asyncio.wait(reading, timeout=0.1)
            assert len(going_on) == len(reading)
        for reader in reading:
            async with asyncio.timeout(IN_TIME):
                with pytest.raises(LedgerUnavailableError, match="closed"):
                    await reader
        assert channel not in redis.pubsub_channels()


async def test_who_has_read_all_may_close_the_client_before_it_is_told_of_the_end(
    client: Client, settings: Settings, work_on: WorkOn
) -> None:
    handle = client.submit("Hello")
    work_on(handle).answer(PIECES)
    reading = AsyncClient(settings)
    events = []
    async for event in (await reading.job(handle.job_id)).events():
        events.append(event)
        if event.type == "stream_end":
            await reading.close()
    is_whole(events, TEXT)


@pytest.mark.parametrize("large", [False, True])
async def test_a_large_answer_is_read_beside_the_loop(
    client: Client, settings: Settings, work_on: WorkOn, monkeypatch: pytest.MonkeyPatch, *, large: bool
) -> None:
    text = "x" * LARGE_BYTES if large else "x"
    handle = client.submit("Hello")
    work_on(handle).answer([text])
    read, threads = ChatResponse.model_validate_json, set[int]()

    def noting(document: bytes) -> ChatResponse:
        threads.add(threading.get_ident())
        return read(document)

    monkeypatch.setattr(ChatResponse, "model_validate_json", noting)
    async with AsyncClient(settings) as reading:
        assert (await (await reading.job(handle.job_id)).result()).content == text
    assert (threads == {threading.get_ident()}) is not large


async def test_a_hundred_reconnects_at_random_points(
    client: Client, settings: Settings, work_on: WorkOn, redis_server: RedisServer
) -> None:
    handle = client.submit("Hello")
    pieces = [f"{number} " for number in range(1500)]
    cuts = set(random.Random(7).sample(range(1500), 100))

    def work() -> None:
        worker = work_on(handle)
        worker.start()
        with redis_server.client() as cutter:
            for number, piece in enumerate(pieces):
                worker.say(piece)
                if number in cuts:
                    assert eventually(lambda: cutter.execute_command("CLIENT", "KILL", "TYPE", "pubsub"))
        worker.complete()

    async with AsyncClient(settings) as reading:
        theirs = await reading.job(handle.job_id)
        working = asyncio.create_task(asyncio.to_thread(work))
        events = [event async for event in theirs.events()]
        await working
    is_whole(events, "".join(pieces))


def test_a_consumer_that_comes_back_with_its_cursor(client: Client, work_on: WorkOn) -> None:
    handle = client.submit("Hello")
    work_on(handle).answer()
    events: list[AnyEvent] = []
    while not events or events[-1].type != "stream_end":
        reading = handle.events(after=events[-1].seq if events else 0)
        events.append(next(reading))
        reading.close()
    is_whole(events)
    assert list(handle.events(after=events[-1].seq)) == []


def test_chunks_of_an_answer(client: Client, work_on: WorkOn) -> None:
    handle = client.submit("Hello")
    worker = work_on(handle)
    worker.start()
    worker.think("hm")
    worker.say("a", "b")
    worker.complete()
    chunks = list(handle)
    assert [(chunk.kind, chunk.delta, chunk.done) for chunk in chunks] == [
        ("reasoning", "hm", False),
        ("text", "a", False),
        ("text", "b", False),
        ("text", "", True),
    ]
    assert chunks[-1].finish_reason == "stop"
    assert chunks[-1].usage == handle.result().usage


def test_a_job_reader_sees_nothing_of_its_session_s_other_jobs(client: Client, work_on: WorkOn) -> None:
    first = client.submit("one", session_id="s1")
    second = client.submit("two", session_id="s1")
    work_on(first).answer(["first"])
    work_on(second).answer(["second"])
    assert {event.job_id for event in second.events()} == {second.job_id}
    assert second.result().content == "second"
    session = client.events("s1")
    whole = [next(session) for _ in range(9)]
    session.close()
    assert [event.seq for event in whole] == list(range(1, 10))


async def test_a_slow_consumer_drops_its_buffer_and_misses_nothing(
    client: Client, settings: Settings, work_on: WorkOn
) -> None:
    handle = client.submit("Hello")
    pieces = [f"{number} " for number in range(10_000)]

    async def send(dispatches: object) -> None:
        pytest.fail("nothing was to be sent")

    async with AsyncLedger(settings) as ledger, Subscriptions(ledger.settings) as subscriptions:
        idle, session_id = IdleReaders(ledger), handle.session_id
        reader = Reader(ledger, subscriptions, idle, session_id, 0, job_id=handle.job_id, send=send, room=20)
        worker = work_on(handle)
        worker.start()
        events = list(await reader.batch() or ())
        for start in range(0, len(pieces), 50):  # each batch is more than the buffer holds
            worker.say(*pieces[start : start + 50])
            if random.Random(start).random() < 0.5:
                events += await reader.batch() or ()
        worker.complete()
        while batch := await reader.batch():
            events += batch
    is_whole(events, "".join(pieces))


async def test_a_consumer_s_room_is_all_that_waits_for_it(
    client: Client, settings: Settings, work_on: WorkOn
) -> None:
    handle = client.submit("Hello")

    async def send(dispatches: object) -> None:
        pytest.fail("nothing was to be sent")

    async with AsyncLedger(settings) as ledger, Subscriptions(ledger.settings) as subscriptions:
        idle, session_id = IdleReaders(ledger), handle.session_id
        reader = Reader(ledger, subscriptions, idle, session_id, 0, job_id=handle.job_id, send=send, room=5)
        worker = work_on(handle)
        assert await reader.batch()
        waiting = asyncio.create_task(reader.batch())
        async with subscriptions.listen(ledger.keys.channel(handle.session_id)) as quick:
            assert await quick.receive(20) == [Signal.SUBSCRIBED]
            worker.start()
            assert await waiting
            worker.say(*(f"{number} " for number in range(50)))
            heard: list[object] = []
            while len(heard) < 51:  # what this one has, the reader was offered before or with it
                heard += await quick.receive(20)
        assert reader._inbox is not None
        assert len(reader._inbox._notices) <= 6
        events = await reader.batch() or []
        while len(events) < 50:
            page = await reader.batch() or []
            assert len(page) <= 6
            events += page
        await reader.aclose()


def test_a_reader_ends_a_job_past_its_deadline_with_no_worker_alive(client: Client) -> None:
    handle = client.submit("Hello", deadline=1)
    began = time.monotonic()
    with pytest.raises(JobExpiredError) as caught:
        handle.result(timeout=30)
    assert time.monotonic() - began < IN_TIME
    assert caught.value.job_id == handle.job_id
    assert [event.type for event in handle.events()] == ["job_queued", "stream_end"]
    assert handle.status is Status.EXPIRED


def test_the_job_that_gets_the_turn_of_an_expired_one_is_sent(
    client: Client, queued: Callable[[str], list[bytes]]
) -> None:
    first = client.submit("one", session_id="s1", deadline=1)
    second = client.submit("two", session_id="s1")
    with pytest.raises(JobExpiredError):
        first.result(timeout=30)
    (message,) = queued(Queue.RESUME)
    assert second.job_id.encode() in message


def test_a_failed_job_raises_its_own_error_with_the_partial_text(client: Client, work_on: WorkOn) -> None:
    handle = client.submit("Hello")
    worker = work_on(handle)
    worker.start()
    worker.say("half an ans")
    worker.fail(RateLimitError("slow down", provider="openai", retry_after=7.0, status_code=429))
    deltas: list[str] = []
    with pytest.raises(RateLimitError, match="slow down") as streamed:
        deltas += (chunk.delta for chunk in handle)
    with pytest.raises(RateLimitError) as fetched:
        handle.result()
    for error in (streamed.value, fetched.value):
        assert (error.retry_after, error.status_code, error.provider) == (7.0, 429, "openai")
        assert error.job_id == handle.job_id
        assert error.response.content == "half an ans"


def test_a_wait_that_is_too_short_says_that_the_job_goes_on(client: Client, work_on: WorkOn) -> None:
    handle = client.submit("Hello")
    with pytest.raises(WaitTimeoutError, match="goes on") as caught:
        handle.result(timeout=0.05)
    assert caught.value.job_id == handle.job_id
    response = work_on(handle).answer()
    assert handle.result(timeout=0) == response


def test_cancel_tells_the_state_every_time(client: Client, work_on: WorkOn) -> None:
    waiting, running = client.submit("one"), client.submit("two")
    worker = work_on(running)
    assert [waiting.cancel(), waiting.cancel()] == [Status.CANCELLED, Status.CANCELLED]
    with pytest.raises(JobCancelledError):
        waiting.result()
    assert running.cancel() is Status.RUNNING  # its worker was asked
    worker.complete()
    assert running.cancel() is Status.COMPLETED


def test_reading_from_many_threads_takes_one_subscription(
    client: Client, work_on: WorkOn, redis_server: RedisServer
) -> None:
    handles = [client.submit(str(number)) for number in range(20)]
    listening = threading.Barrier(21)

    def read(handle: JobHandle) -> list[AnyEvent]:
        reading = handle.events()
        events = [next(reading)]
        listening.wait(20)
        return events + list(reading)

    with ThreadPoolExecutor(20) as pool:
        readings = [pool.submit(read, handle) for handle in handles]
        listening.wait(20)
        with redis_server.client() as redis:
            assert len(redis.client_list(_type="pubsub")) <= 1
        for handle in handles:
            work_on(handle).answer()
        for reading in readings:
            is_whole(reading.result(20))


async def test_leaving_an_async_loop_early_gives_up_the_subscription(
    client: Client, settings: Settings, work_on: WorkOn, redis_server: RedisServer
) -> None:
    handle = client.submit("Hello")
    channel = Keys(settings.namespace).channel(handle.session_id).encode()
    work_on(handle).start()
    async with AsyncClient(settings) as reading:
        theirs = await reading.job(handle.job_id)
        async with aclosing(theirs.events()) as events:
            async for event in events:
                if event.type == "stream_start":
                    break
        with redis_server.client() as redis:
            assert channel not in redis.pubsub_channels()
