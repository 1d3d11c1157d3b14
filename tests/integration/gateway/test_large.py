"""Large bodies of which all is right: the loop, on which all others are answered, makes no job of them."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import httpx2
import pytest

from palaver.producer.gateway.app import create_app
from palaver.shared.settings import Settings
from tests.http_clients import async_http_client
from tests.integration.gateway.conftest import new_session
from tests.integration.gateway.here import submitted
from tests.integration.gateway.keys import make_key
from tests.integration.ledger.world import World
from tests.servers import RedisServer, eventually

pytestmark = pytest.mark.redis

MANY = 15_000
SESSION = "/sessions/{session}"


def turns(many: int) -> list[Any]:
    return [{"role": "user", "content": "x"}] * many


def parts(many: int) -> list[Any]:
    return [{"type": "text", "text": "x"}] * many


def tools(many: int) -> list[Any]:
    schema = {"type": "object", "properties": {str(number): {} for number in range(many)}}
    return [{"type": "function", "function": {"name": "look", "parameters": schema}}]


@pytest.fixture
async def http(redis_server: RedisServer) -> AsyncIterator[httpx2.AsyncClient]:
    """Of a gateway on the loop of the test."""
    settings = Settings(redis_url=redis_server.url)
    headers = {"authorization": f"Bearer {make_key(settings)}"}
    app = create_app(settings)
    options: dict[str, Any] = {"transport": httpx2.ASGITransport(app), "headers": headers}
    async with async_http_client(base_url="http://127.0.0.1", **options) as http:
        yield http
    await app.state.gateway.aclose()


@pytest.fixture
def world(redis_server: RedisServer) -> Iterator[World]:
    world = World(redis_server)
    yield world
    world.close()


@contextmanager
def calls_here() -> Iterator[Counter[str]]:
    """How often functions are called in this thread, by their names; not the loop's own, which has as many
    turns as the machine makes of it.
    """
    calls: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and not frame.f_code.co_filename.startswith(LOOP):
            calls[frame.f_code.co_qualname] += 1

    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(None)


LOOP = str(Path(asyncio.__file__).parent)

Body = Callable[[int], dict[str, Any]]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", lambda many: {"input": turns(many), "background": True}),
        ("/v1/responses/input_tokens", lambda many: {"input": turns(many)}),
        ("/v1/messages/count_tokens", lambda many: {"model": "a/m", "messages": turns(many)}),
        (f"{SESSION}/messages", lambda many: {"content": parts(many)}),
        (f"{SESSION}/messages", lambda many: {"content": "x", "params": {"extra": {"a": parts(many)}}}),
        ("/sessions", lambda many: {"context": {"a": parts(many)}}),
    ],
)
async def test_the_loop_makes_no_job_of_it(
    http: httpx2.AsyncClient, world: World, path: str, body: Body
) -> None:
    session = new_session()
    world.submit(session)
    for many in (1, MANY):  # the first has all loaded that is loaded once
        with calls_here() as calls:
            answer = await http.post(path.format(session=session), json=body(many))
        assert answer.is_success, answer.text[:500]
    assert calls.total() < MANY, calls.most_common(5)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", lambda many: {"messages": turns(many)}),
        ("/v1/chat/completions", lambda many: {"messages": turns(1), "tools": tools(many)}),
        ("/v1/messages", lambda many: {"messages": turns(many)}),
        ("/v1/messages", lambda many: {"messages": [{"role": "user", "content": parts(many)}]}),
    ],
)
async def test_nor_of_what_is_waited_for(
    http: httpx2.AsyncClient, world: World, path: str, body: Body
) -> None:
    for jobs, many in enumerate((1, MANY), 1):
        with calls_here() as calls:
            sent = {**body(many), "model": "scripted/echo", "max_tokens": 5}
            posting = asyncio.ensure_future(http.post(path, json=sent))
            await asyncio.to_thread(eventually, lambda wanted=jobs: world.ledger.unended() == wanted)
            posting.cancel()
            await asyncio.wait([posting])
        assert world.ledger.unended() == jobs
    assert calls.total() < MANY, calls.most_common(5)


async def test_a_chain_of_responses_has_an_end(http: httpx2.AsyncClient, world: World) -> None:
    """Each response has a copy of all before it."""
    most = world.settings.history_messages
    for count, length, told in (
        (most, 1, "goes back over 1001 messages"),
        (3, 1_390_000, "the job is larger than"),
    ):
        asked = [{"role": "user", "content": "x" * length}] * count
        answer = await http.post("/v1/responses", json={"input": asked, "background": True})
        job = submitted(answer.headers["x-palaver-session"], answer.headers["x-palaver-job"])
        world.claim(job)
        world.finish(job, response=b'{"content": "yes"}')
        previous = answer.json()["id"]
        more = {"input": "y" * 30_000, "previous_response_id": previous, "background": True}
        error = (await http.post("/v1/responses", json=more)).json()["error"]
        assert error["param"] == "previous_response_id", error
        assert told in error["message"]


async def test_what_was_asked_is_read_beside_the_loop_again(http: httpx2.AsyncClient) -> None:
    body = {"input": turns(MANY), "background": True}
    response = (await http.post("/v1/responses", json=body)).json()["id"]
    assert (await http.post(f"/v1/responses/{response}/cancel")).json()["status"] == "cancelled"
    again = {"input": "And?", "background": True, "previous_response_id": response}
    for method, path, sent in (
        ("GET", f"/v1/responses/{response}", None),
        ("GET", f"/v1/responses/{response}/input_items", None),
        ("POST", "/v1/responses/input_tokens", again),
        ("POST", f"/jobs/{response.removeprefix('resp_')}/retry", None),
    ):
        with calls_here() as calls:
            answer = await http.request(method, path, json=sent)
        assert answer.status_code < 500, answer.text
        assert calls.total() < MANY, (path, calls.most_common(5))
