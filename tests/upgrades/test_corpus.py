"""What earlier releases have stored is read by this one, and goes on: each file of `corpus/`.

Unlike the rest of this folder it needs no other version to run, and is part of `make test`.
"""

import asyncio
import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from palaver.producer import Client
from palaver.shared.contract import VERSION
from palaver.workers.testing import LocalSystem
from tests.posting import posting_to
from tests.servers import RedisServer
from tests.upgrades.keys import restored
from tests.upgrades.record import HOOK, MODEL, NAMESPACE, OWNED, TALK, said

pytestmark = pytest.mark.redis

RELEASES = sorted(Path(__file__).with_name("corpus").glob("*.json"))


@pytest.fixture(params=RELEASES, ids=[path.stem for path in RELEASES])
def corpus(request: pytest.FixtureRequest) -> dict[str, Any]:
    """One release's."""
    found: dict[str, Any] = json.loads(request.param.read_text(encoding="utf-8"))
    assert found["contract"] <= VERSION
    return found


@pytest.fixture
def system(corpus: dict[str, Any], redis_server: RedisServer, tmp_path: Path) -> Iterator[LocalSystem]:
    """See `standing_on`."""
    with standing_on(corpus, redis_server, tmp_path) as system:
        yield system


@contextmanager
def standing_on(
    corpus: dict[str, Any], redis_server: RedisServer, tmp_path: Path, **more: Any
) -> Iterator[LocalSystem]:
    """A worker of this version, on what is stored."""
    with redis_server.client() as raw:
        restored(raw, corpus["keys"])
    for name, text in corpus["files"].items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    settings = {"redis_url": redis_server.url, "namespace": NAMESPACE, "files_url": tmp_path.as_uri()}
    with LocalSystem(**settings, **more) as system:
        yield system


def test_all_of_it_is_read_as_it_was(system: LocalSystem, corpus: dict[str, Any]) -> None:
    with Client(system.settings) as client:
        for name, job in corpus["jobs"].items():
            assert said(client.job(job["id"])) == job, name
        batch = client.batches(corpus["batch"]["id"])
        assert [line.response.content for line in batch.results()] == corpus["batch"]["results"]


def test_it_goes_on(system: LocalSystem, corpus: dict[str, Any]) -> None:
    with Client(system.settings) as client:
        assert client.submit("And milk?", model=MODEL, session_id="talk").result(timeout=30).success
        asked = [message.text for message in system.models.requests[-1].messages]
        answers = [corpus["jobs"][f"talk {n}"]["content"] for n in range(len(TALK))]
        assert asked == [TALK[0], answers[0], TALK[1], answers[1], "And milk?"]

        assert client.submit(**OWNED).job_id == corpus["jobs"]["owned"]["id"]
        assert client.retry(corpus["jobs"]["failed"]["id"]).result(timeout=30).content == "Hello"


async def test_a_webhook_that_was_still_to_be_delivered_is(
    corpus: dict[str, Any], redis_server: RedisServer, tmp_path: Path
) -> None:
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def take(request: web.Request) -> web.Response:
        told.put_nowait(await request.json())
        return web.Response(status=204)

    settings = {
        "webhook_secret": "whsec_" + base64.b64encode(b"hush " * 6).decode(),
        "webhook_networks": "127.0.0.0/8",
    }
    async with posting_to(take) as url:
        here = json.loads(json.dumps(corpus).replace(HOOK, url))
        with standing_on(here, redis_server, tmp_path, **settings):
            async with asyncio.timeout(30):
                said = await told.get()
    assert said["type"] == "job.completed"
    assert said["data"]["job_id"] == corpus["jobs"]["told"]["id"]
    assert said["data"]["response"]["content"] == corpus["jobs"]["told"]["content"]
    assert said["data"]["metadata"] == {"page": "8"}
