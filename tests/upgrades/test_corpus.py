"""What earlier releases have stored is read by this one, and goes on: each file of `corpus/`.

Unlike the rest of this folder it needs no other version to run, and is part of `make test`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from palaver.producer import Client
from palaver.shared.contract import VERSION
from palaver.workers.testing import LocalSystem
from tests.servers import RedisServer
from tests.upgrades.keys import restored
from tests.upgrades.record import MODEL, NAMESPACE, OWNED, TALK, said

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
    """A worker of this version, on what is stored."""
    with redis_server.client() as raw:
        restored(raw, corpus["keys"])
    for name, text in corpus["files"].items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    settings = {"redis_url": redis_server.url, "namespace": NAMESPACE, "files_url": tmp_path.as_uri()}
    with LocalSystem(**settings) as system:
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
