"""Webhooks against a receiver over HTTP, which believes only what is signed."""

import asyncio
import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import AsyncResolver, ThreadedResolver, web
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook

from palaver.shared.batches import errors_name
from palaver.shared.jobs import ChatJob, Status
from palaver.shared.ledger import JobView, Query, operations
from palaver.shared.ledger.operations.webhooks import note_webhook
from palaver.shared.ledger.scripts import load
from palaver.shared.webhooks import networks, secret_text, secrets, tenant_secret
from palaver.workers.webhooks import Calls, Deliverer
from palaver.workers.webhooks.deliverer import AT_ONCE, OF_ONE_TENANT, ROWS
from palaver.workers.webhooks.places import AT_ONE_HOST
from tests.integration.workers.conftest import Engine, MakeEngine
from tests.integration.workers.test_batches import open_batch_on
from tests.name_server import name_server
from tests.posting import posting_to

pytestmark = pytest.mark.redis

SECRET = "whsec_" + base64.b64encode(b"hush " * 6).decode()
HERE = networks("127.0.0.0/8")
TENANT = "acme"
MOST = (ROWS + 1) * AT_ONE_HOST  # that may be waited for at one host


def key_of(tenant: str | None) -> str:
    """What `palaver webhook secret` says."""
    (secret,) = secrets(SECRET)
    return secret_text(tenant_secret(secret, tenant))


class Receiver:
    """Takes what is posted; answers as `answers` say, in their order, then with 204. It is of one tenant, or
    of none; but `/a` is a's.
    """

    def __init__(self) -> None:
        self.tenant: str | None = None
        self.told: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.answers: list[web.Response] = []
        self.held = asyncio.Event()
        self.held.set()
        self.url = ""
        self._news = asyncio.Condition()

    async def take(self, request: web.Request) -> web.Response:
        body = await request.text()
        name = request.match_info["name"]
        Webhook(key_of(self.tenant if name == "hook" else name)).verify(body, dict(request.headers))
        async with self._news:
            self.told.append(json.loads(body))
            self.ids.append(request.headers["webhook-id"])
            self._news.notify_all()
        await self.held.wait()
        return self.answers.pop(0) if self.answers else web.Response(status=204)

    async def has(self, count: int) -> None:
        """Return when it was told so often."""
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(lambda: len(self.told) >= count)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with posting_to(receiver.take) as receiver.url:
        yield receiver
        receiver.held.set()


Deliver = Callable[..., Awaitable["asyncio.Task[None]"]]


@pytest.fixture
async def deliver(engine: Engine) -> AsyncIterator[Deliver]:
    """Start a deliverer; the pauses between its tries, and how long one takes, may be given."""
    tasks = []

    async def start(
        *,
        pauses: tuple[float, ...] = (0.02,) * 3,
        seconds: float = 10,
        resolver: Callable[[], AbstractResolver] = AsyncResolver,
    ) -> "asyncio.Task[None]":
        calls = Calls(allowed=HERE, seconds=seconds, resolver=resolver)
        deliverer = Deliverer(engine.ledger, calls, secrets=secrets(SECRET), pauses=pauses, period=0.01)
        tasks.append(asyncio.create_task(deliverer.run()))
        return tasks[-1]

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(0.01)


async def stands(engine: Engine, job: ChatJob, standing: str) -> JobView:
    """The job, once its webhook stands so and, unless it is tried again, nobody sees to any."""

    async def is_so() -> bool:
        view = await engine.ledger.job(job.job_id)
        return view.webhook == standing and (standing.isdigit() or not waiting(engine))

    await until(is_so)
    return await engine.ledger.job(job.job_id)


def waiting(engine: Engine) -> int:
    """How many tenants have something to deliver."""
    return engine.client.zcard(engine.ledger.keys.webhooks)


def due_at(engine: Engine, job: ChatJob) -> float:
    """When somebody sees to the webhook of a job without a tenant next, Unix time; 0: never."""
    line = engine.ledger.keys.webhooks_of("")
    return (engine.client.zscore(line, f"{operations.session_of(job)}/{job.job_id}") or 0) / 1000


async def submit_ended(engine: Engine, tenant: str, webhook: str) -> ChatJob:
    """A tenant's job, which has ended."""
    job = ChatJob(messages="hi", webhook=webhook, tenant=tenant)
    await engine.ledger.submit(job)
    await engine.ledger.cancel(job.job_id, job.job_id)
    return job


async def make_due(engine: Engine, session_id: str, job_id: str) -> None:
    await engine.ledger.query(operations.put_off_webhook(engine.ledger.keys, session_id, job_id, 0.001))


async def test_an_answer_is_told(engine: Engine, receiver: Receiver, deliver: Deliver) -> None:
    await deliver()
    job = await engine.submit("hello", webhook=receiver.url, metadata={"order": 7})
    await engine.run(job)
    view = await stands(engine, job, "delivered")
    (told,) = receiver.told
    assert receiver.ids == [job.job_id]
    assert told["type"] == "job.completed"
    assert told["timestamp"].endswith("+00:00")
    data = told["data"]
    assert data["response"] == json.loads(view.response_json or b"")
    assert data["response"]["content"] == "hello"
    assert (data["job_id"], data["session_id"], data["status"]) == (job.job_id, "s1", "completed")
    assert (data["metadata"], data["error"], data["text"]) == ({"order": 7}, None, None)


async def test_each_tenant_has_a_key_of_its_own(engine: Engine, receiver: Receiver, deliver: Deliver) -> None:
    """Who has one, to verify what it is told, can sign nothing that another one's receiver believes."""
    await deliver()
    receiver.tenant = TENANT
    job = await engine.submit("hello", webhook=receiver.url, tenant=TENANT)
    await engine.run(job)
    await stands(engine, job, "delivered")
    for number, tenant in enumerate(("acme2", None)):
        of_another = await engine.submit(
            "hello", webhook=receiver.url, tenant=tenant, session_id=f"other{number}"
        )
        await engine.run(of_another)
        await stands(engine, of_another, "given up")
    assert receiver.ids == [job.job_id]
    assert len({SECRET, *map(key_of, (TENANT, "acme2", None))}) == 4


async def test_the_end_of_a_batch_is_told(
    make_engine: MakeEngine, receiver: Receiver, deliver: Deliver, tmp_path: Path
) -> None:
    driver = await make_engine(files_url=f"file://{tmp_path}/files")
    open_batch = open_batch_on(driver)
    receiver.tenant = TENANT
    batch = await open_batch(
        [{"text": "yes"}, {"fail": {"status": 400}}], webhook=receiver.url, user="ann", tenant=TENANT
    )
    unbegun = await open_batch([{"text": "no"}], webhook=receiver.url, tenant=TENANT)
    await deliver()
    assert await driver.service.drive(batch.batch_id) == "completed"
    await receiver.has(1)
    await driver.ledger.cancel_batch(unbegun.batch_id)
    await receiver.has(2)
    told, other = receiver.told
    assert receiver.ids == [batch.batch_id, unbegun.batch_id]
    assert (told["type"], other["type"]) == ("batch.completed", "batch.cancelled")
    assert told["data"]["counts"] == {"total": 2, "completed": 1, "failed": 1}
    assert told["data"]["files"]["errors"] == errors_name(batch.batch_id)
    assert (told["data"]["batch"]["user"], other["data"]["files"]) == ("ann", {})
    assert receiver.url not in json.dumps(receiver.told)

    async def is_noted() -> bool:
        return (await driver.ledger.batch(batch.batch_id)).webhook == "delivered"

    await until(is_noted)


async def test_no_try_reads_what_was_asked(engine: Engine, receiver: Receiver, deliver: Deliver) -> None:
    """It may be megabytes, for each of many tries."""
    job = await engine.submit("hello", webhook=receiver.url, metadata={"order": 7})
    await engine.run(job)
    assert engine.client.hdel(engine.ledger.keys.job(operations.session_of(job), job.job_id), "doc")
    receiver.answers += [web.Response(status=500)]
    await deliver()
    await receiver.has(2)
    assert [told["data"]["metadata"] for told in receiver.told] == [{"order": 7}] * 2


@pytest.fixture
def logged(engine: Engine) -> Iterator[None]:
    """Redis logs every command, as if it were a slow one."""
    name = "slowlog-log-slower-than"
    usual = engine.client.config_get(name)[name]
    engine.client.config_set(name, 0)
    yield
    engine.client.config_set(name, str(usual))


@pytest.mark.usefixtures("logged")
async def test_the_end_of_a_job_without_a_webhook_asks_for_none(engine: Engine, receiver: Receiver) -> None:
    due = load("webhook_due").sha.encode()
    for webhook, asked in ((None, 0), (receiver.url, 1)):
        job = await engine.submit("hello", webhook=webhook)
        engine.client.slowlog_reset()
        await engine.run(job)
        told = await engine.ledger.job(job.job_id)
        assert told.status is Status.COMPLETED
        assert sum(due in entry["command"] for entry in engine.client.slowlog_get(128)) == asked


async def test_every_other_end_is_told_too(engine: Engine, receiver: Receiver, deliver: Deliver) -> None:
    failed = await engine.submit({"fail": {"status": 400}}, webhook=receiver.url, session_id="a")
    await engine.run(failed)
    cancelled = await engine.submit("never run", webhook=receiver.url, session_id="b")
    await engine.ledger.cancel("b", cancelled.job_id)
    expired = await engine.submit("never run", webhook=receiver.url, session_id="c", deadline=1)

    async def has_expired() -> bool:
        return (await engine.ledger.inspect(expired.job_id)).view.status is Status.EXPIRED

    await until(has_expired)
    await deliver()
    await receiver.has(3)
    by_job = {told["data"]["job_id"]: told for told in receiver.told}
    for job, status in ((failed, "failed"), (cancelled, "cancelled"), (expired, "expired")):
        told = by_job[job.job_id]
        assert told["type"] == f"job.{status}"
        assert told["data"]["error"]["type"]
        await stands(engine, job, "delivered")


async def test_a_receiver_that_fails_is_told_again_under_the_same_id(
    engine: Engine, receiver: Receiver, deliver: Deliver
) -> None:
    never = {"retry-after": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}
    receiver.answers = [
        web.Response(status=500, headers=never),
        web.Response(status=302, headers={"location": "/other"}),
    ]
    job = await engine.submit("hello", webhook=receiver.url)
    await engine.run(job)
    await deliver()
    await stands(engine, job, "delivered")
    assert receiver.ids == [job.job_id] * 3
    assert receiver.told[0] == receiver.told[2]


@pytest.mark.parametrize(("status", "tries"), [(410, 1), (503, 4)])
async def test_at_some_time_it_is_given_up(
    engine: Engine, receiver: Receiver, deliver: Deliver, status: int, tries: int
) -> None:
    receiver.answers = [web.Response(status=status) for _ in range(9)]
    job = await engine.submit("hello", webhook=receiver.url)
    await engine.run(job)
    await deliver()
    await stands(engine, job, "given up")
    assert len(receiver.told) == tries


async def test_a_receiver_says_when_it_is_tried_again(
    engine: Engine, receiver: Receiver, deliver: Deliver
) -> None:
    receiver.answers = [web.Response(status=503, headers={"retry-after": "900"})]
    job = await engine.submit("hello", webhook=receiver.url)
    await engine.run(job)
    await deliver(pauses=(0.02, 3600.0))
    await stands(engine, job, "1")

    async def is_put_off() -> bool:
        now, _ = engine.client.time()
        return 850 < due_at(engine, job) - int(now) <= 901

    await until(is_put_off)


async def test_two_workers_tell_everything_once(engine: Engine, receiver: Receiver, deliver: Deliver) -> None:
    jobs = [await engine.submit("hello", webhook=receiver.url, session_id=f"s{n}") for n in range(40)]
    for job in jobs:
        await engine.run(job)
    await deliver()
    await deliver()
    for job in jobs:
        await stands(engine, job, "delivered")
    assert Counter(receiver.ids) == {job.job_id: 1 for job in jobs}


async def test_a_wait_for_a_place_at_a_host_is_no_try(
    engine: Engine, receiver: Receiver, deliver: Deliver
) -> None:
    """There are more than may wait there, and none of them holds up another host."""
    jobs = [await engine.submit("hello", webhook=receiver.url, session_id=f"s{n}") for n in range(MOST + 5)]
    url = receiver.url.replace("127.0.0.1", "127.0.0.2")
    elsewhere = await engine.submit("hello", webhook=url, session_id="other")
    for job in (*jobs, elsewhere):
        await engine.run(job)
    receiver.held.clear()
    await deliver(seconds=3)
    await receiver.has(AT_ONE_HOST + 1)
    assert elsewhere.job_id in receiver.ids
    await stands(engine, jobs[0], "1")  # it was sent, in vain
    unsent = [job for job in jobs if job.job_id not in receiver.ids]
    assert len(unsent) >= MOST + 5 - 2 * AT_ONE_HOST
    assert [(await engine.ledger.job(job.job_id)).webhook for job in unsent] == [None] * len(unsent)
    receiver.held.set()
    for job in (*jobs, elsewhere):
        await stands(engine, job, "delivered")


@pytest.mark.parametrize(
    ("hosts", "at_once"), [(OF_ONE_TENANT + 10, OF_ONE_TENANT), (1, AT_ONE_HOST)], ids=["many", "one"]
)
async def test_a_tenant_that_waits_for_its_receivers_holds_up_no_other(
    engine: Engine, receiver: Receiver, deliver: Deliver, hosts: int, at_once: int
) -> None:
    """Each is at a host of its own, or all are at that of the other's, which comes then."""
    many = OF_ONE_TENANT + 10
    url = receiver.url.replace("/hook", "/{}")
    for number in range(many):
        host = f"127.0.0.{1 + number % hosts}"
        await submit_ended(engine, "a", url.format("a").replace("127.0.0.1", host))
    receiver.held.clear()
    await deliver(seconds=300)
    await receiver.has(at_once)
    other = await submit_ended(engine, "b", url.format("b"))
    await receiver.has(at_once + 1)
    assert other.job_id in receiver.ids
    assert len(receiver.ids) == at_once + 1
    receiver.held.set()
    await receiver.has(many + 1)  # the next ones have places


async def test_names_that_are_slow_fail_no_try_of_another_tenant(
    engine: Engine, receiver: Receiver, deliver: Deliver
) -> None:
    """As many of eight tenants' are looked up as there is room for, and no name server answers."""
    slow = [(tenant, f"http://h{n}.{tenant}.example/") for tenant in "abcdefgh" for n in range(AT_ONCE // 8)]
    await asyncio.gather(*(submit_ended(engine, *each) for each in slow))
    async with name_server() as names:
        resolver = partial(AsyncResolver, nameservers=[names.address])
        await deliver(seconds=300, pauses=(3600.0,), resolver=resolver)
        await names.is_asked_for(AT_ONCE // 2)
        receiver.tenant = TENANT
        await submit_ended(engine, TENANT, receiver.url.replace("127.0.0.1", "receiver.example"))
        await receiver.has(1)  # it would be tried again in an hour


async def test_a_bug_in_one_delivery_ends_no_other(
    engine: Engine, receiver: Receiver, deliver: Deliver
) -> None:
    asked = asyncio.Event()

    class Broken(ThreadedResolver):
        async def resolve(self, *_: Any) -> list[ResolveResult]:
            asked.set()
            raise RuntimeError

    async def is_delivered() -> bool:
        return (await engine.ledger.job(job.job_id)).webhook == "delivered"

    receiver.held.clear()
    job = await submit_ended(engine, "a", receiver.url.replace("/hook", "/a"))
    await deliver(resolver=Broken)
    await receiver.has(1)
    await submit_ended(engine, "b", "http://receiver.example/")
    async with asyncio.timeout(20):
        await asked.wait()
    receiver.held.set()
    await until(is_delivered)
    assert receiver.ids == [job.job_id]


async def test_what_is_told_is_not_given_to_another_worker(
    engine: Engine, receiver: Receiver, deliver: Deliver
) -> None:
    receiver.held.clear()
    job = await engine.submit("hello", webhook=receiver.url)
    await engine.run(job)
    await deliver(seconds=300)
    await receiver.has(1)
    assert due_at(engine, job) > engine.client.time()[0] + 3 * 300
    receiver.held.set()
    await stands(engine, job, "delivered")


async def test_who_dies_before_it_could_be_noted_is_followed(
    engine: Engine, receiver: Receiver, deliver: Deliver
) -> None:
    receiver.held.clear()
    job = await engine.submit("hello", webhook=receiver.url)
    await engine.run(job)
    first = await deliver()
    await receiver.has(1)
    first.cancel()
    await asyncio.wait([first])
    receiver.held.set()
    await make_due(engine, "s1", job.job_id)
    await deliver()
    await stands(engine, job, "delivered")
    assert receiver.ids == [job.job_id] * 2


async def test_a_submit_that_is_repeated_tells_nothing_twice(
    engine: Engine, receiver: Receiver, deliver: Deliver
) -> None:
    await deliver()
    job = await engine.submit("hello", webhook=receiver.url, idempotency_key="k")
    await engine.run(job)
    await stands(engine, job, "delivered")
    await engine.ledger.submit(job)
    await make_due(engine, "s1", job.job_id)
    other = await engine.submit("hello", webhook=receiver.url, session_id="s2")
    await engine.run(other)
    await stands(engine, other, "delivered")
    assert receiver.ids == [job.job_id, other.job_id]


async def test_jobs_that_go_on_or_are_gone_are_left_alone(
    engine: Engine, receiver: Receiver, deliver: Deliver
) -> None:
    keys = engine.ledger.keys
    job = await engine.submit("hello", webhook=receiver.url)
    gone = note_webhook(keys, "s1", "gone", 0, None)
    await engine.ledger.query(Query(commands=(gone,), decode=list))
    for job_id in (job.job_id, "gone"):
        await make_due(engine, "s1", job_id)
    await deliver()

    async def were_looked_at() -> bool:
        return due_at(engine, job) > 1 and engine.client.zcard(keys.webhooks_of("")) == 1

    await until(were_looked_at)
    assert receiver.told == []
    await engine.run(job)
    await stands(engine, job, "delivered")
