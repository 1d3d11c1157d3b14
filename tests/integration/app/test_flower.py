"""What an operator sees in Flower, asked of a real one: ids, model and status, and never what was said."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from pytest_celery import CeleryTestSetup  # type: ignore[import-untyped]

from tests.processes import ROOT, Processes
from tests.servers import eventually, free_port

pytestmark = [pytest.mark.redis, pytest.mark.worker]

CONFIGURATION = ROOT / "deploy/flower/flowerconfig.py"
SECRET = "xyzzy-42"


@dataclass(frozen=True)
class Flower:
    """A running Flower."""

    url: str
    login: str = ""

    def open(self, path: str, *, post: bool = False) -> str:
        request = urllib.request.Request(self.url + path, data=b"" if post else None)  # noqa: S310
        if self.login:
            token = base64.b64encode(self.login.encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            text: str = answer.read().decode()
            return text

    def task(self, task_id: str) -> dict[str, Any]:
        """What the API tells of a task; {} while it knows nothing."""
        try:
            info: dict[str, Any] = json.loads(self.open(f"/api/task/info/{task_id}"))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return {}
            raise
        return info

    def up(self) -> bool:
        try:
            return self.open("/healthcheck") == "OK"
        except (urllib.error.URLError, ConnectionError):
            return False


Start = Callable[..., Flower]


@pytest.fixture
def start_flower(celery_setup: CeleryTestSetup, processes: Processes, worker_env: dict[str, str]) -> Start:
    """Start Flower beside the setup's worker."""

    def start(*options: str, configuration: Path = CONFIGURATION, login: str = "", **env: str) -> Flower:
        port = free_port()
        words = (
            "-m",
            "celery",
            "-A",
            "palaver.workers",
            "flower",
            f"--port={port}",
            f"--conf={configuration}",
        )
        processes.python(*words, *options, name="flower", env={**worker_env, **env})
        flower = Flower(f"http://127.0.0.1:{port}", login)
        assert eventually(flower.up, seconds=60, every=0.1)
        return flower

    return start


@pytest.fixture
def flower(start_flower: Start) -> Flower:
    """Flower as `palaver dev` starts it: on the loopback, without a login."""
    flower = start_flower("--address=127.0.0.1", FLOWER_UNAUTHENTICATED_API="true")
    # it hears the worker, so it will hear of tasks: events are kept nowhere
    assert eventually(lambda: bool(json.loads(flower.open("/workers?json=1"))["data"]), every=0.2)
    return flower


def submit(client: Celery, session_id: str, job_id: str, content: str) -> str:
    document = {
        "session_id": session_id,
        "job_id": job_id,
        "messages": [{"role": "user", "content": content}],
    }
    return str(client.send_task("palaver.submit", args=(document,), queue="palaver.submit").id)


def test_neither_pages_nor_api_show_content(celery_setup: CeleryTestSetup, flower: Flower) -> None:
    client: Celery = celery_setup.app
    client.conf.task_send_sent_event = True  # this client announces all that it sends
    task_id = submit(client, "s1", "j1", f"hello {SECRET}")
    refused = client.send_task(
        "palaver.submit", args=({"messages": SECRET, SECRET: 1},), queue="palaver.submit", argsrepr=SECRET
    )
    assert eventually(lambda: flower.task("j1").get("state") == "SUCCESS")
    assert eventually(lambda: flower.task(task_id).get("state") == "SUCCESS")
    assert eventually(lambda: flower.task(str(refused.id)).get("state") == "FAILURE")
    shown = flower.task("j1")
    assert shown["args"] == "('s1', 'j1')"
    assert "completed" in shown["result"]
    assert "scripted/echo" in shown["result"]
    assert shown["runtime"] > 0
    assert "invalid_request" in flower.task(str(refused.id))["exception"]
    ids = ("j1", task_id, str(refused.id))
    paths = [f"/{page}/{i}" for i in ids for page in ("task", "api/task/info", "api/task/result")]
    paths += ["/api/tasks", "/tasks", "/workers?json=1", "/api/workers", f"/api/tasks?search={SECRET}"]
    for path in paths:
        try:
            text = flower.open(path)
        except urllib.error.HTTPError as error:
            text = error.read().decode()
        assert SECRET not in text.replace(f"search={SECRET}", ""), path


def test_terminate_stops_the_stream(celery_setup: CeleryTestSetup, flower: Flower) -> None:
    submit(celery_setup.app, "s1", "j1", json.dumps({"endless": True, "rate": 50}))
    ledger = redis.Redis.from_url(celery_setup.broker.container.url, decode_responses=True)
    assert eventually(lambda: flower.task("j1").get("state") == "STARTED")
    flower.open("/api/task/revoke/j1?terminate=true", post=True)

    def last() -> Any:
        log: Any = ledger.xrevrange("palaver:{s1}:events", count=1)
        return json.loads(log[0][1]["e"])

    assert eventually(lambda: last()["type"] == "stream_end")
    assert last()["data"]["status"] == "cancelled"
    assert eventually(lambda: flower.task("j1").get("state") == "REVOKED")


def test_a_failed_job_shows_its_code(celery_setup: CeleryTestSetup, flower: Flower) -> None:
    submit(
        celery_setup.app, "s1", "j1", json.dumps({"fail": {"kind": "status", "status": 401}, "text": SECRET})
    )
    assert eventually(lambda: flower.task("j1").get("state") == "FAILURE")
    assert "authentication" in flower.task("j1")["exception"]
    assert SECRET not in json.dumps(flower.task("j1"))


def test_beyond_the_loopback_it_asks_for_a_login(start_flower: Start) -> None:
    flower = start_flower("--address=0.0.0.0", FLOWER_BASIC_AUTH="operator:sesame")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        flower.open("/api/tasks")
    assert json.loads(Flower(flower.url, "operator:sesame").open("/api/tasks")) == {}


def test_without_one_it_makes_one(start_flower: Start, processes: Processes) -> None:
    flower = start_flower("--address=0.0.0.0")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        flower.open("/workers")
    (process,) = [running for running in processes.all if running.name.startswith("flower")]
    password = process.wait_for(r"log in as palaver with the password (\S+)").group(1)
    assert "Workers" in Flower(flower.url, f"palaver:{password}").open("/workers")
