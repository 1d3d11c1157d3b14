"""A job past its deadline with no worker alive: whoever looks ends it, and tells of its end."""

import json
from collections.abc import Awaitable, Callable

import pytest

from palaver.producer import AsyncClient, AsyncJobHandle, Client, JobHandle
from palaver.shared.errors import JobExpiredError
from palaver.shared.jobs import Status
from palaver.shared.ledger import SyncLedger
from palaver.shared.settings import Settings
from tests.integration.cli.shell import Inside
from tests.integration.producer.stand_in import StandIn
from tests.servers import RedisServer

Overdue = Callable[[JobHandle], JobHandle]


@pytest.fixture
def overdue(settings: Settings, redis_server: RedisServer) -> Overdue:
    """Have a job's deadline pass, and with it the time when a sweeper should have looked."""
    keys = SyncLedger(settings).keys

    def pass_by(handle: JobHandle) -> JobHandle:
        with redis_server.client() as redis:
            redis.hset(keys.job(handle.session_id, handle.job_id), "deadline", 1)
            redis.zadd(keys.due, {f"{handle.session_id}/{handle.job_id}": 1})
        return handle

    return pass_by


def _result(client: Client, handle: JobHandle) -> Status:
    with pytest.raises(JobExpiredError):
        handle.result(timeout=0)
    return Status.EXPIRED


LOOKS: dict[str, Callable[[Client, JobHandle], object]] = {
    "status": lambda _, handle: handle.status,
    "view": lambda _, handle: handle.view().status,
    "job": lambda client, handle: client.job(handle.job_id),
    "result": _result,
    "retry": lambda client, handle: client.retry(handle.job_id),
    "cancel of a job found": lambda client, handle: client.job(handle.job_id).cancel(),
    "dead": lambda client, handle: next(letter.status for letter in client.dead()),
    "all": lambda client, handle: client.expire_all(),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_look_ends_it(
    client: Client, overdue: Overdue, look: Callable[[Client, JobHandle], object]
) -> None:
    handle = overdue(client.submit("Hello"))
    seen = look(client, handle)
    assert not isinstance(seen, Status) or seen is Status.EXPIRED
    assert client.ledger.job(handle.job_id).status is Status.EXPIRED
    assert [event.type for event in handle.events()] == ["job_queued", "stream_end"]


ASYNC_LOOKS: dict[str, Callable[[AsyncClient, AsyncJobHandle], Awaitable[object]]] = {
    "status": lambda _, handle: handle.status(),
    "view": lambda client, handle: handle.view(),
    "job": lambda client, handle: client.job(handle.job_id),
    "retry": lambda client, handle: client.retry(handle.job_id),
    "dead": lambda client, handle: client.dead(),
}


@pytest.mark.parametrize("look", ASYNC_LOOKS.values(), ids=ASYNC_LOOKS)
async def test_an_async_look_ends_it(
    settings: Settings,
    client: Client,
    overdue: Overdue,
    look: Callable[[AsyncClient, AsyncJobHandle], Awaitable[object]],
) -> None:
    handle = client.submit("Hello")
    async with AsyncClient(settings) as reading:
        theirs = await reading.job(handle.job_id)
        overdue(handle)
        await look(reading, theirs)
    assert client.ledger.job(handle.job_id).status is Status.EXPIRED


def test_what_a_dead_worker_wrote_is_kept_and_its_turn_given_on(
    settings: Settings,
    client: Client,
    overdue: Overdue,
    queued: Callable[[str], list[bytes]],
    redis_server: RedisServer,
) -> None:
    first, second = (client.submit("Hello", session_id="s1") for _ in range(2))
    worker = StandIn.claim(settings, "s1", first.job_id)
    worker.start()
    worker.say("half an ans")
    overdue(first)
    with redis_server.client() as redis:
        redis.hset(client.ledger.keys.job("s1", first.job_id), "lease", 1)
    view = first.view()
    assert (view.status, view.text) == (Status.EXPIRED, "half an ans")
    assert second.view().position == 0
    [message] = queued("palaver.resume")
    assert second.job_id.encode() in message


def test_a_job_that_a_live_worker_holds_is_that_worker_s_to_end(
    settings: Settings, client: Client, overdue: Overdue
) -> None:
    handle = client.submit("Hello")
    worker = StandIn.claim(settings, handle.session_id, handle.job_id)
    worker.start()
    overdue(handle)
    seen = [handle.status]
    worker.complete()
    assert [*seen, handle.status] == [Status.RUNNING, Status.COMPLETED]


@pytest.mark.parametrize("words", [["job", "show", "JOB"], ["dead", "list"], ["status"]], ids=" ".join)
def test_the_commands_that_look_end_it(
    client: Client, settings: Settings, overdue: Overdue, words: list[str], inside: Inside
) -> None:
    handle = overdue(client.submit("Hello"))
    inside.environment |= {"PALAVER_REDIS_URL": settings.redis_url, "PALAVER_NAMESPACE": settings.namespace}
    done = inside.run(*(handle.job_id if word == "JOB" else word for word in words), "--json")
    said = json.loads(done.stdout)
    assert said["unended"] == 0 if words == ["status"] else said["status"] == "expired", done
    assert client.ledger.job(handle.job_id).status is Status.EXPIRED
