"""How streams go on and how they end: silence, keys that end, ledgers that are away.

The gateway is in this process, and the test is the worker: it says what happens, and when.
"""

import gc
import logging
import re
import socket
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from palaver.producer import AsyncClient, Client, idle, reader
from palaver.producer.gateway import asking, server, stream
from palaver.producer.gateway.access import table, watch
from palaver.shared.ledger import operations
from palaver.shared.ledger.replies import Submitted
from palaver.shared.reader_tokens import make_reader_token
from tests.http_clients import http_client
from tests.integration.gateway.conftest import SECRET, new_session
from tests.integration.gateway.here import APIS, BODY, Here, begin, gateway_here, submitted
from tests.integration.gateway.sse import Told, following, told
from tests.integration.ledger.world import World
from tests.sdks import anthropic, openai
from tests.servers import IN_TIME, RedisServer, eventually

pytestmark = pytest.mark.redis


def body_for(path: str) -> dict[str, Any]:
    if path == "/v1/responses":
        return {"model": BODY["model"], "input": "Hi", "stream": True}
    return {**BODY, "stream": True, "max_tokens": 10}


def job_of(response: httpx2.Response) -> Submitted:
    """The job of an answer, for the worker that the test is."""
    return submitted(response.headers["x-palaver-session"], response.headers["x-palaver-job"])


def ended(items: Iterator[Told]) -> list[Told]:
    """What a stream says up to its own end, which is to come."""
    return list(items)


# Silence


def test_a_silence_is_broken(here: Here, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "KEEP_ALIVE_SECONDS", 0.05)
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.05)
    job = world.submit(new_session(), tenant="acme")
    with here.http() as http:
        with http.stream("GET", f"/sessions/{job.session_id}/events") as response:
            comments = (item.value for item in told(response) if item.kind == "comment")
            assert [next(comments) for _ in range(3)] == ["follow", "keep-alive", "keep-alive"]
        with http.stream("POST", APIS[1], json=body_for(APIS[1]), timeout=5) as response:
            assert response.status_code == 200, "so long nothing is told to a client that waits"
            lines = response.iter_lines()
            assert [next(lines) for _ in range(2)] == ["event: ping", 'data: {"type":"ping"}']


def test_what_fails_late_is_told_in_the_stream(
    here: Here, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.05)
    with here.http() as http, http.stream("POST", APIS[0], json=body_for(APIS[0]), timeout=5) as response:
        assert response.status_code == 200
        world.ledger.cancel(job_of(response).session_id, job_of(response).job_id)
        assert '"code":"job_cancelled"' in response.read().decode()


# Streams that break


def lose(world: World, job: Submitted) -> None:
    """As a failover does that has not got the job."""
    keys = list(world.raw.scan_iter(f"*{{{job.session_id}}}*"))
    world.raw.delete(*keys, world.keys.index(job.job_id))


def official(here: Here, path: str) -> None:
    """An official client takes a stream to its end."""
    stream: Iterator[Any]
    if path == "/v1/messages":
        claude = anthropic.Anthropic(
            base_url=here.url, api_key=here.key, max_retries=0, http_client=http_client()
        )
        stream = claude.messages.create(**BODY, max_tokens=10, stream=True)
    else:
        client = openai.OpenAI(
            base_url=f"{here.url}/v1", api_key=here.key, max_retries=0, http_client=http_client()
        )
        stream = client.chat.completions.create(**BODY, stream=True)
    list(stream)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("path", APIS)
def test_an_answer_that_is_lost_is_never_whole(
    here: Here,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    path: str,
    begun: bool,
) -> None:
    monkeypatch.setattr(idle, "SILENCE_SECONDS", 0.05)
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.0)
    with here.http() as http, http.stream("POST", path, json=body_for(path)) as response:
        job = job_of(response)
        if begun:
            begin(world, job, "one")
        lose(world, job)
        try:
            words = response.read().decode()
        except httpx2.RemoteProtocolError:
            assert path == "/v1/responses", "it was cut; the others have words for it"
            assert not [record for record in caplog.records if record.levelno >= logging.ERROR], "on purpose"
            return
    assert any(word in words for word in ('"error":{', '"type":"error"', "response.failed"))
    assert '"finish_reason":"stop"' not in words
    assert "message_stop" not in words
    assert "response.completed" not in words


@pytest.mark.parametrize("path", APIS[:2])
def test_before_the_first_word_a_failure_has_a_status(
    here: Here, world: World, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(idle, "SILENCE_SECONDS", 0.05)
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", IN_TIME)  # however long the loss of it takes
    before = set(world.raw.scan_iter("palaver:job:*"))

    def come_and_go() -> bool:
        """The worker that the test is: it loses the job as soon as there is one."""
        for key in set(world.raw.scan_iter("palaver:job:*")) - before:
            session_id = world.raw.get(key)
            job_id = key.decode().rpartition(":")[2]
            if isinstance(session_id, bytes) and world.raw.exists(world.keys.events(session_id.decode())):
                lose(world, submitted(session_id.decode(), job_id))
                return True
        return False

    with ThreadPoolExecutor(1) as pool:
        losing = pool.submit(eventually, come_and_go)
        with pytest.raises((openai.InternalServerError, anthropic.InternalServerError)):
            official(here, path)
        assert losing.result(IN_TIME)


@pytest.mark.parametrize("begun", [False, True])
def test_a_ledger_that_goes_away(
    own_redis: Callable[[], RedisServer], monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    monkeypatch.setattr(idle, "SILENCE_SECONDS", 0.05)
    monkeypatch.setattr(reader, "OUTAGE_SECONDS", 0.1)
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.0 if begun else IN_TIME)
    world = World(own_redis(), secret=SECRET, drain_seconds=1.0)
    running = world.server.running
    assert running is not None
    with ThreadPoolExecutor(1) as pool, gateway_here(world.settings) as here, here.http() as http:
        if not begun:
            stored = pool.submit(eventually, lambda: list(world.raw.scan_iter("palaver:job:*")))
            stored.add_done_callback(lambda _: running.kill())
        with http.stream("POST", APIS[0], json=body_for(APIS[0])) as response:
            if begun:
                begin(world, job_of(response), "one")
                running.kill()
            words = response.read().decode()
    assert response.status_code == (200 if begun else 503)
    assert '"code":"ledger_unavailable"' in words
    world.close()


# Who may read no more


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at every few seconds is looked at often."""
    for module in (table, watch):
        monkeypatch.setattr(module, "FRESH_SECONDS", 0.05)


@pytest.mark.parametrize("kind", ["token", "key"])
def test_a_stream_ends_with_the_token_or_the_key(here: Here, world: World, kind: str) -> None:
    job, now = world.submit(new_session(), tenant="acme"), time.time()
    if kind == "token":
        credential = make_reader_token(world.settings, job.session_id, tenant="acme", seconds=3, now=now)
    else:
        credential = here.make_key(tenant="acme", expires=now + 3)
    path = f"/sessions/{job.session_id}/events"
    with here.http(credential) as http:
        with http.stream("GET", path) as response:
            assert [item.kind for item in ended(told(response))] == ["retry", "comment", "event"]
        # A timer of the loop may be a millisecond early: what is asked in that is at its end then.
        assert eventually(lambda: http.get(path).status_code == 401)


def test_the_streams_of_a_revoked_key_end(
    hasty: None, here: Here, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.0)
    job, key = world.submit(new_session(), tenant="acme"), here.make_key(tenant="acme")
    path = f"/sessions/{job.session_id}/events"
    with here.http(key) as http, http.stream("GET", path) as events:
        items = told(events)
        assert next(items).kind == "retry"
        with http.stream("POST", APIS[0], json=body_for(APIS[0])) as answer:
            begin(world, job_of(answer), "one")
            world.ledger.query(operations.drop_api_key(world.keys, key.split("_")[1]))
            assert '"error":{' in answer.read().decode()
        ended(items)
        assert http.get(path).status_code == 401


def test_who_watches_goes_on_whatever_fails(
    hasty: None, here: Here, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    job, key = world.submit(new_session(), tenant="acme"), here.make_key(tenant="acme")
    with here.http(key) as http, http.stream("GET", f"/sessions/{job.session_id}/events") as events:
        items = told(events)
        assert next(items).kind == "retry"
        world.raw.hset(world.keys.session(job.session_id), "tenant", b"\xff")  # which is no text
        assert eventually(lambda: "streams_not_looked_at error=UnicodeDecodeError" in caplog.text)
        assert eventually(lambda: not re.search(r"watch_failures_total 0\.0", http.get("/metrics").text))
        assert http.get("/readyz").status_code == 200
        world.ledger.query(operations.drop_api_key(world.keys, key.split("_")[1]))
        ended(items)


def test_a_download_ends_with_its_key(
    hasty: None, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "KEEP_ALIVE_SECONDS", 0.05)
    settings = world.settings.model_copy(update={"files_url": f"file://{tmp_path}"})
    with gateway_here(settings) as here:
        key = here.make_key(tenant="acme")
        narrow = httpx2.HTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)])
        with here.http(key, transport=narrow) as http, ExitStack() as stack:  # else the system takes it all
            content = b"x" * 20_000_000
            file_id = http.post("/v1/files", files={"file": ("a.bin", content)}).json()["id"]
            path = f"/v1/files/{file_id}/content"
            assert http.get(path).content == content
            head = http.head(path)
            assert (head.status_code, head.headers["content-type"]) == (200, "application/octet-stream")
            assert eventually(lambda: not len(here.gateway.streams)), "the first is over"
            download = stack.enter_context(http.stream("GET", path))
            assert eventually(lambda: len(here.gateway.streams) == 1), "it waits for who reads"
            world.ledger.query(operations.drop_api_key(world.keys, key.split("_")[1]))
            assert eventually(lambda: not len(here.gateway.streams))
            with pytest.raises(httpx2.RemoteProtocolError):
                download.read()


def test_a_token_does_not_outlive_its_session(hasty: None, here: Here, world: World) -> None:
    """Also where the next one of its name is the same tenant's: it may be another user's."""
    job = world.submit(new_session(), tenant="acme", user="ann")
    path = f"/sessions/{job.session_id}"
    with here.http() as http, Client(world.settings) as client:
        made = [client.reader_token(job.session_id, tenant="acme")]
        made.append(http.post(f"{path}/tokens", json={}).json()["token"])
    with ExitStack() as stack:
        readers = [stack.enter_context(here.http(token)) for token in made]
        streams = [told(stack.enter_context(http.stream("GET", f"{path}/events"))) for http in readers]
        assert [next(items).kind for items in streams] == ["retry", "retry"]
        world.submit(job.session_id, "more", tenant="acme", user="ann")
        assert [http.get(path).status_code for http in readers] == [200, 200]
        world.ledger.erase([job.session_id])
        world.submit(job.session_id, "the next one's", tenant="acme", user="bob")
        for items in streams:
            ended(items)
        assert [http.get(f"{path}/messages").status_code for http in readers] == [404, 404]


async def test_a_token_may_be_made_before_its_session(here: Here, world: World) -> None:
    session_id = new_session()
    async with AsyncClient(world.settings) as client:
        token = await client.reader_token(session_id, tenant="acme")
    with here.http(token) as http:
        assert http.get(f"/sessions/{session_id}").status_code == 404
        world.submit(session_id, tenant="acme")
        assert http.get(f"/sessions/{session_id}").status_code == 200


def test_an_erased_session_is_told_to_nobody(hasty: None, here: Here, world: World) -> None:
    job = world.submit(new_session(), tenant="acme")
    path = f"/sessions/{job.session_id}/events"
    token = make_reader_token(world.settings, job.session_id, tenant="acme", seconds=60, now=time.time())
    with ExitStack() as stack:
        readers = [stack.enter_context(here.http(credential)) for credential in (token, here.key)]
        streams = [told(stack.enter_context(http.stream("GET", path))) for http in readers]
        assert [next(items).kind for items in streams] == ["retry", "retry"]
        world.ledger.erase([job.session_id])
        for items in streams:
            ended(items)
        world.submit(job.session_id, "the next one's", tenant="other")
        for http in readers:
            for what in (path, path.replace("events", "messages")):
                assert http.get(what).status_code == 404


@pytest.mark.parametrize("path", APIS[:2])
def test_clients_of_others_are_told_that_their_session_is_gone(
    hasty: None, here: Here, world: World, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """By errors of their own, whoever sees it first: the watch, or who reads the events."""
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.0)
    before = set(world.raw.scan_iter("palaver:job:*"))

    def erase() -> bool:
        for key in set(world.raw.scan_iter("palaver:job:*")) - before:
            if isinstance(session_id := world.raw.get(key), bytes) and here.gateway.streams:
                world.ledger.erase([session_id.decode()])
                return True
        return False

    with ThreadPoolExecutor(1) as pool:
        erasing = pool.submit(eventually, erase)
        with pytest.raises((openai.APIError, anthropic.APIStatusError)) as told:
            official(here, path)
        assert erasing.result(IN_TIME)
    assert not isinstance(told.value, openai.APIConnectionError)
    gone = ("There is no session", "no longer knows job")
    assert any(words in str(told.value) for words in gone)


def test_who_comes_while_it_stops_is_sent_on(here: Here, world: World) -> None:
    job = world.submit(new_session(), tenant="acme")
    here.gateway.streams.draining = True
    with here.http() as http, http.stream("GET", f"/sessions/{job.session_id}/events") as response:
        assert [item.kind for item in ended(told(response))] == ["retry", "comment"]
        assert http.get("/readyz").status_code == 503


@pytest.mark.parametrize("path", APIS)
def test_an_answer_that_does_not_end_before_the_process_does_is_told_so(
    world: World, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(server, "_LAST_SECONDS", IN_TIME)  # half of the time to drain is left for telling it
    settings = world.settings.model_copy(update={"drain_seconds": 5.0})

    def stop() -> bool:
        begun = eventually(lambda: len(here.gateway.streams) == 1)
        here.server.should_exit = True
        return begun

    with gateway_here(settings) as here, ThreadPoolExecutor(1) as pool:
        stopping = pool.submit(stop)
        with pytest.raises((openai.APIError, anthropic.APIStatusError), match="stops before the end") as told:
            official(here, path)
        assert stopping.result(IN_TIME)
    assert not isinstance(told.value, openai.APIConnectionError)


@pytest.mark.parametrize("key", [{}, {"idempotency-key": "once"}], ids=["", "key"])
@pytest.mark.parametrize("path", APIS)
def test_a_whole_answer_that_comes_too_late_is_not_asked_twice(
    world: World, monkeypatch: pytest.MonkeyPatch, path: str, key: dict[str, str]
) -> None:
    monkeypatch.setattr(server, "_LAST_SECONDS", IN_TIME)  # half of the time to drain is left for telling it
    settings = world.settings.model_copy(update={"drain_seconds": 5.0})
    with gateway_here(settings) as here, here.http() as http, ThreadPoolExecutor(1) as pool:
        asking = pool.submit(http.post, path, json={**body_for(path), "stream": False}, headers=key)
        assert eventually(lambda: world.raw.zcard(world.keys.due))
        here.server.should_exit = True
        answer = asking.result(IN_TIME)
    assert answer.status_code == 503
    assert answer.headers["x-should-retry"] == ("true" if key else "false")
    assert answer.headers["x-palaver-job"] in str(list(world.raw.scan_iter("*:job:*")))
    assert "its job goes on" in answer.text


def test_who_leaves_leaves_nothing_to_collect(here: Here, world: World) -> None:
    """Collections are rare: they walk over all that thousands of others hold."""
    job = world.submit(new_session(), tenant="acme")
    with here.http() as http, http.stream("GET", f"/sessions/{job.session_id}/events") as response:
        items = told(response)
        assert next(items).kind == "retry"
        held = [*here.server.server_state.connections, *here.gateway.streams, *here.gateway.feeds]
        kept = [weakref.ref(one) for one in held]
        gc.collect()
        gc.disable()
        del held
    try:
        assert len(kept) == 3
        assert eventually(lambda: not [one for one in kept if one() is not None])
    finally:
        gc.enable()


def test_a_reader_that_crashes_leaves_nobody_waiting(here: Here, world: World) -> None:
    job = world.submit(new_session(), tenant="acme")
    with here.http() as http:
        with http.stream("GET", f"/sessions/{job.session_id}/events") as response:
            items = told(response)
            assert [next(items).kind for _ in range(3)] == ["retry", "comment", "event"]
            world.raw.xadd(world.keys.events(job.session_id), {"e": "no event"}, id="2-0")
            world.raw.publish(world.keys.channel(job.session_id), b'{"seq":3,"job_id":"j","type":"progress"}')
            with pytest.raises(httpx2.RemoteProtocolError):
                ended(items)
            world.raw.xdel(world.keys.events(job.session_id), "2-0")
        with following(http, job.session_id) as events:
            assert next(events)["job_id"] == job.job_id
