"""What goes in: everything is validated before anything is stored, and what is stored is not lost."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from palaver.producer import AsyncClient, Client, JobHandle, broker
from palaver.producer.bulk import CHUNK, Bulk
from palaver.shared.errors import (
    BrokerUnavailableError,
    ConfigurationError,
    ConflictError,
    JobNotFoundError,
    LedgerUnavailableError,
    PalaverError,
    QueueFullError,
    ValidationError,
)
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import Keys, SyncLedger, operations
from palaver.shared.names import QUEUES, Queue, queue_name
from palaver.shared.responses import ChatResponse
from palaver.shared.settings import Settings
from tests.integration.producer.stand_in import StandIn
from tests.servers import IN_TIME, RedisServer, free_port

WorkOn = Callable[[JobHandle], StandIn]
Queued = Callable[[str], list[bytes]]
Stored = Callable[[], tuple[int, list[int]]]

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "empty message": ({"messages": ""}, "messages"),
    "no message": ({"messages": []}, "messages"),
    "unknown role": ({"messages": [{"role": "boss", "content": "x"}]}, "messages[0].role"),
    "temperature 5": ({"params": {"temperature": 5}}, "params.temperature"),
    "unknown profile": ({"model": "nope/m"}, "model"),
    "unknown model": ({"model": "listed/other"}, "model"),
    "unknown fallback": ({"model": ["listed/known", "nope/m"]}, "model"),
    "unknown alias": ({"model": "nope"}, "model"),
    "10 MB message": ({"messages": "x" * 10_000_000}, "messages"),
    "metadata that is no JSON": ({"metadata": {"when": object()}}, "metadata.when"),
    "negative deadline": ({"deadline": -1}, "deadline"),
    "deadline of a month": ({"deadline": 30 * 86400}, "deadline"),
    "session id with a space": ({"session_id": "s 1"}, "session_id"),
    "empty session id": ({"session_id": ""}, "session_id"),
    "unknown field": ({"temprature": 1}, "temprature"),
    "priority 10": ({"priority": 10}, "priority"),
    "history that is neither": ({"history": 7}, "history"),
    "negative timeout": ({"wait": True, "timeout": -1}, "timeout"),
    "no number as timeout": ({"wait": True, "timeout": float("nan")}, "timeout"),
    "timeout in words": ({"wait": True, "timeout": "5"}, "timeout"),
}


@pytest.fixture
def served(settings: Settings) -> Iterator[SyncLedger]:
    """A live worker that serves two profiles, one of them with a list of models, and an alias."""
    ledger = SyncLedger(settings)
    profiles: dict[str, dict[str, Any]] = {
        "open": {"kind": "openai", "models": None},
        "listed": {"kind": "openai", "models": ["known"]},
        "default": {"kind": "alias", "models": ["open/m"]},
    }
    ledger.run(operations.announce(ledger.keys.profiles, profiles, seconds=60))
    yield ledger
    ledger.close()


@pytest.fixture
def stored(redis_server: RedisServer, queued: Queued) -> Stored:
    """How many keys there are, and how many messages wait."""

    def count() -> tuple[int, list[int]]:
        with redis_server.client() as redis:
            return redis.dbsize(), [len(queued(queue)) for queue in QUEUES]

    return count


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_error_that_names_the_field_and_stores_nothing(
    case: str, client: Client, served: SyncLedger, stored: Stored
) -> None:
    given, param = WRONG[case]
    client.submit("fine", model="open/m")
    before = stored()
    arguments: dict[str, Any] = {"messages": "x", "model": "open/m", **given}
    with pytest.raises(ValidationError) as caught:
        client.submit(arguments.pop("messages"), **arguments)
    assert caught.value.param is not None
    assert caught.value.param.startswith(param)
    assert len(str(caught.value)) < 400
    assert stored() == before


def test_models_that_are_served_are_taken(client: Client, served: SyncLedger) -> None:
    for model in (None, "open/anything", "listed/known", "default", ["listed/known", "default"]):
        client.submit("x", model=model)


def test_without_a_worker_the_own_catalog_says_what_there_is(settings: Settings) -> None:
    with open(settings.config, "w") as file:
        file.write('[providers.mine]\nkind = "scripted"\nmodels = ["m"]\n[models]\ndefault = "mine/m"\n')
    with Client(settings) as client:
        client.submit("x")
        client.submit("x", model="mine/m")
        for model in ("mine/other", "other/m", "other"):
            with pytest.raises(ValidationError, match="model"):
                client.submit("x", model=model)


def test_a_worker_that_came_meanwhile_is_asked_before_a_refusal(client: Client, served: SyncLedger) -> None:
    with pytest.raises(ValidationError):
        client.submit("x", model="new/m")
    served.run(operations.announce(served.keys.profiles, {"new": {"kind": "x", "models": None}}, seconds=60))
    client.submit("x", model="new/m")


def test_with_neither_every_model_is_taken(client: Client) -> None:
    assert client.submit("x", model="anything/at-all").status is Status.QUEUED


def test_a_job_goes_to_the_queue_of_its_priority(client: Client, queued: Queued) -> None:
    for priority in (9, 5, 0):
        client.submit("x", priority=priority)
    assert [len(queued(queue)) for queue in (Queue.HIGH, Queue.NORMAL, Queue.LOW)] == [1, 1, 1]


def test_only_the_job_that_has_the_turn_is_sent(client: Client, stored: Stored) -> None:
    first, second = client.submit("one", session_id="s1"), client.submit("two", session_id="s1")
    assert stored()[1] == [0, 0, 1, 0, 0, 0]
    assert second.view().position == 1
    first.cancel()
    assert stored()[1] == [1, 0, 1, 0, 0, 0]


def test_a_session_s_job_goes_on_with_its_history_unless_told_otherwise(
    client: Client, settings: Settings
) -> None:
    with SyncLedger(settings) as ledger:
        told = client.submit("x", session_id="s1", history=None)
        for handle, expected in ((client.submit("x", session_id="s1"), "session"), (told, None)):
            document = ledger.job(handle.job_id, document=True).document
            assert isinstance(document, ChatJob)
            assert document.history == expected


def test_the_same_key_is_the_same_job_and_another_body_a_conflict(client: Client) -> None:
    first = client.submit("x", idempotency_key="k")
    again = client.submit("x", idempotency_key="k")
    assert (again.job_id, again.session_id, again.cursor) == (first.job_id, first.session_id, first.cursor)
    with pytest.raises(ConflictError, match="idempotency key") as caught:
        client.submit("y", idempotency_key="k")
    assert caught.value.param == "idempotency_key"


def test_another_body_under_the_same_job_id_is_a_conflict_of_that(client: Client) -> None:
    client.submit("x", session_id="s1", job_id="same1")
    with pytest.raises(ConflictError, match="There is another job same1 in this session") as caught:
        client.submit("y", session_id="s1", job_id="same1")
    assert (caught.value.param, caught.value.job_id) == ("job_id", "same1")


def test_handles_of_another_client_do_the_same(client: Client, settings: Settings, work_on: WorkOn) -> None:
    handle = client.submit("x")
    with Client(settings) as other:
        theirs = other.job(handle.job_id)
        assert (theirs.session_id, theirs.cursor) == (handle.session_id, handle.cursor)
        response = work_on(handle).answer(["done"])
        assert theirs.result(10) == response
    with pytest.raises(JobNotFoundError):
        client.job("0199-no-such-job")
    with pytest.raises(ValidationError):
        client.job("no such job")


def test_waiting_submit_gives_the_response(
    client: Client, settings: Settings, redis_server: RedisServer
) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.submit, "x", session_id="s1", job_id="j1", wait=True, timeout=20)
        with redis_server.client() as redis:
            assert redis.brpop(
                queue_name(Queue.NORMAL, settings.namespace), 10
            )  # the message says that the job is stored
        response = StandIn.claim(settings, "s1", "j1").answer(["done"])
        assert waiting.result(20) == response
    assert isinstance(response, ChatResponse)


def test_many_jobs_at_once(client: Client, queued: Queued) -> None:
    jobs: list[Any] = ["one", {"messages": "two", "priority": 9}, ChatJob.parse({"messages": "three"})]
    handles = client.submit_many(jobs + ["x"] * 1200)
    assert len({handle.job_id for handle in handles}) == 1203
    assert handles[2].job_id == jobs[2].job_id
    assert (len(queued(Queue.NORMAL)), len(queued(Queue.HIGH))) == (1202, 1)
    assert handles[1200].status is Status.QUEUED


def test_many_jobs_of_a_session_keep_their_order(client: Client) -> None:
    sessions = ["s1", "s2", "s3", "s4"]
    handles = client.submit_many(
        [{"messages": "x", "session_id": sessions[n % 4], "idempotency_key": f"k{n}"} for n in range(1600)]
    )
    for place, session in enumerate(sessions):
        mine = handles[place::4]
        assert {handle.session_id for handle in mine} == {session}
        assert [handle.view().position for handle in mine[:: len(mine) // 4]] == [0, 100, 200, 300]


def test_one_wrong_job_of_many_stores_none(client: Client, stored: Stored) -> None:
    with pytest.raises(ValidationError) as caught:
        client.submit_many(["x"] * 5 + [{"messages": "x", "params": {"temperature": 5}}])
    assert caught.value.param == "jobs[5].params.temperature"
    assert stored() == (0, [0] * 6)
    with pytest.raises(ValidationError, match="jobs"):
        client.submit_many("not a list")


REFUSED = (10, 1400)
MANY: list[dict[str, Any]] = [{"messages": "x", "idempotency_key": f"k{place}"} for place in range(1500)]


def _check_refusal(error: ConflictError) -> list[Any]:
    """The handles, which are those of all jobs but the refused."""
    assert error.message.startswith("jobs[10]: The idempotency key was used before")
    assert error.message.endswith("Refused: 2 of 1,500 jobs; the others are stored.")
    assert error.param == "jobs[10].idempotency_key"
    assert [place for place, handle in enumerate(error.handles) if handle is None] == [*REFUSED]
    return [handle for handle in error.handles if handle]


def test_refused_jobs_of_many_hold_up_no_others(client: Client, queued: Queued) -> None:
    """Called again, with the same keys, it is the same."""
    for place in REFUSED:
        client.submit("something else", idempotency_key=f"k{place}")
    told = []
    for _ in range(2):
        with pytest.raises(ConflictError) as caught:
            client.submit_many(MANY)
        told.append([handle.job_id for handle in _check_refusal(caught.value)])
    assert told[0] == told[1]
    assert client.ledger.unended() == 1500
    assert len(queued(Queue.NORMAL)) == len(REFUSED) + 2 * len(told[0])  # what waits is sent again


async def test_an_async_client_tells_the_same_of_refused_jobs(settings: Settings) -> None:
    async with AsyncClient(settings) as client:
        for place in REFUSED:
            await client.submit("something else", idempotency_key=f"k{place}")
        with pytest.raises(ConflictError) as caught:
            await client.submit_many(MANY)
        stored = _check_refusal(caught.value)
        assert await stored[-1].status() is Status.QUEUED
        assert await client.ledger.unended() == 1500


def test_a_ledger_that_is_lost_among_many_tells_what_is_stored() -> None:
    work: Bulk[str] = Bulk([ChatJob(messages="x", session_id="s1")] * (2 * CHUNK + 1))
    (lane,) = filter(None, work.lanes)
    chunks = work.chunks(lane)
    places, _ = next(chunks)
    work.take(places, ["stored"] * CHUNK)
    lost = LedgerUnavailableError()
    with pytest.raises(LedgerUnavailableError), work.within():
        raise lost
    assert list(chunks) == []
    with pytest.raises(LedgerUnavailableError) as caught:
        work.end([None, lost])
    assert caught.value.handles == ["stored"] * CHUNK + [None] * (CHUNK + 1)


async def test_a_client_that_was_closed_opens_other_connections(settings: Settings) -> None:
    client = AsyncClient(settings)
    for _ in range(2):
        assert await (await client.submit("x")).status() is Status.QUEUED
        await client.close()


async def test_others_have_their_turns_while_many_jobs_are_prepared(settings: Settings) -> None:
    turns: list[int] = []

    def jobs() -> Iterator[str]:
        for _ in range(1000):
            turns[-1] += 1
            yield "x"

    async def turn() -> None:
        while True:
            turns.append(0)
            await asyncio.sleep(0)

    async with AsyncClient(settings) as client:
        turning = asyncio.create_task(turn())
        await asyncio.sleep(0)
        assert len(await client.submit_many(jobs())) == sum(turns)
        turning.cancel()
    assert max(turns) <= 100


async def test_many_jobs_are_read_and_written_beside_the_loop(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What gives them may belong to the loop's thread, and stays there."""
    threads: dict[str, set[int]] = {"given": set(), "read": set(), "written": set()}

    def noting(what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any, **options: Any) -> Any:
            threads[what].add(threading.get_ident())
            return call(*args, **options)

        return noted

    def jobs() -> Iterator[dict[str, Any]]:
        job = dict[str, Any]()
        for n in range(250):
            threads["given"].add(threading.get_ident())
            job["messages"] = f"{n}"  # each is made of the one before
            yield job

    said, prepare = list[str](), ChatJob.parse

    def parse(document: Any, **options: Any) -> ChatJob:
        job = prepare(document, **options)
        said.append(str(job.messages[0].content))
        return job

    monkeypatch.setattr(ChatJob, "parse", noting("read", parse))
    monkeypatch.setattr(ChatJob, "to_json", noting("written", ChatJob.to_json))
    async with AsyncClient(settings) as client:
        handles = await client.submit_many(jobs())
    assert len(handles) == 250
    assert len(set(said)) == 250
    here = threading.get_ident()
    assert threads["given"] == {here}
    assert threads["read"]
    assert threads["written"]
    assert here not in threads["read"] | threads["written"]


async def test_clients_of_one_loop_have_bounds_of_their_own(
    settings: Settings, redis_server: RedisServer
) -> None:
    bounded = settings.model_copy(update={"max_jobs": 1, "retention": 60.0})
    async with AsyncClient(settings) as first, AsyncClient(bounded) as client:
        await first.check()
        handle = await client.submit("x", deadline=5)
        with pytest.raises(QueueFullError):
            await client.submit("x")
        assert (await first.submit("x")).job_id
    with redis_server.client() as redis:
        key = Keys(settings.namespace).job(handle.session_id, handle.job_id)
        assert redis.ttl(key) <= 65


@pytest.mark.parametrize("method", ["submit", "submit_many", "job", "check"])
def test_no_redis_is_one_line_in_time_that_names_the_url(method: str) -> None:
    url = f"redis://:geheim@127.0.0.1:{free_port()}/0"
    client = Client(redis_url=url)
    began = time.monotonic()
    with pytest.raises(LedgerUnavailableError, match=r"redis://:\*\*\*@127") as caught:
        getattr(client, method)(*([] if method == "check" else ["x"] if method != "submit_many" else [["x"]]))
    assert time.monotonic() - began < IN_TIME
    assert "geheim" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("default_patience")
def test_a_redis_that_never_answers_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Client(redis_url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        began = time.monotonic()
        with pytest.raises(LedgerUnavailableError):
            client.submit("x")
    assert time.monotonic() - began < IN_TIME


READERS: dict[str, Callable[[Client, JobHandle], object]] = {
    "events": lambda client, handle: next(handle.events()),
    "chunks": lambda client, handle: next(iter(handle)),
    "session": lambda client, handle: next(client.events("s1")),
    "result": lambda client, handle: handle.result(),
}


@pytest.mark.parametrize("reader", READERS)
def test_reading_without_redis_ends_in_time(reader: str, own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis()
    client = Client(redis_url=server.url)
    handle = client.submit("x")
    assert server.running is not None
    server.running.kill()
    began = time.monotonic()
    with pytest.raises(LedgerUnavailableError):
        READERS[reader](client, handle)
    assert time.monotonic() - began < IN_TIME


def test_no_broker_stores_nothing(settings: Settings, stored: Stored) -> None:
    url = f"redis://:geheim@127.0.0.1:{free_port()}/0"
    client = Client(Settings(**{**settings.model_dump(), "broker_url": url}))
    with pytest.raises(BrokerUnavailableError, match=r"redis://:\*\*\*@127"):
        client.submit("x")
    assert stored()[0] == 0


def test_a_broker_that_fails_after_the_job_was_stored_loses_nothing(
    settings: Settings,
    own_redis: Callable[..., RedisServer],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker, "TRUSTED_SECONDS", IN_TIME)
    server = own_redis()
    client = Client(Settings(**{**settings.model_dump(), "broker_url": server.url}))
    client.submit("x")  # the connection is trusted now
    assert server.running is not None
    server.running.kill()
    with caplog.at_level(logging.WARNING, "palaver.producer"):
        handle = client.submit("x")
    assert handle.status is Status.QUEUED
    assert "dispatch_deferred" in caplog.text
    with pytest.raises(BrokerUnavailableError):
        client.submit("x")
    assert client.ledger.unended() == 2  # a sweep sends the message of the one that was stored


def test_a_wrong_setting_is_said_at_once(settings: Settings) -> None:
    with pytest.raises(ConfigurationError):
        Client(redis_url="no url")
    with open(settings.config, "w") as file:
        file.write("[providers")
    with pytest.raises(ConfigurationError, match="TOML"):
        Client(settings)


@pytest.mark.parametrize("seconds", [-1, -0.5, float("nan"), float("inf"), 10**400, "5", True])
async def test_a_wait_that_is_no_time_is_refused(settings: Settings, seconds: Any) -> None:
    async with AsyncClient(settings) as client:
        handle = await client.submit("x")
        with Client(settings) as blocking, pytest.raises(ValidationError) as caught:
            blocking.job(handle.job_id).result(seconds)
        assert caught.value.param == "timeout"
        with pytest.raises(ValidationError, match="timeout: must be a number of seconds"):
            await handle.result(seconds)
        with pytest.raises(ValidationError, match="timeout: must be a number of seconds"):
            await client.submit("x", job_id="never", wait=True, timeout=seconds)
        with pytest.raises(JobNotFoundError):
            await client.job("never")


async def test_the_async_client_does_the_same(settings: Settings, stored: Stored) -> None:
    async with AsyncClient(settings) as client:
        await client.check()
        handle = await client.submit("x", session_id="s1")
        many = await client.submit_many(["y"] * 600)
        assert stored()[1][2] == 601
        StandIn.claim(settings, "s1", handle.job_id).answer(["a", "b"])
        assert [chunk.delta async for chunk in handle] == ["a", "b", ""]
        response = await handle.result(10)
        assert response.content == "ab"
        assert await (await client.job(handle.job_id)).status() is Status.COMPLETED
        assert await many[0].cancel() is Status.CANCELLED
        with pytest.raises(ValidationError, match="session_id"):
            await client.submit("x", session_id="s 1")
        with pytest.raises(PalaverError):
            await client.job("0199-no-such-job")
        events = client.events("s1", after=1)
        assert (await anext(events)).seq == 2
        await events.aclose()


def test_a_client_keeps_the_bounds_of_its_configuration(settings: Settings) -> None:
    """Those of the `palaver.toml` in its folder."""
    Path("palaver.toml").write_text("[tenants.acme]\nqueued = 2\n", "utf-8")
    with Client(settings) as client:
        first, _ = client.submit_many([{"messages": "hi", "tenant": "acme"}] * 2)
        with pytest.raises(QueueFullError) as full:
            client.submit("hi", tenant="acme")
        assert full.value.retry_after == 5
        assert client.submit("hi", tenant="other").job_id
        first.cancel()
        assert client.submit("hi", tenant="acme").job_id
