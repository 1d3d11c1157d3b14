"""What an operator sees in Flower, asked of a real one: ids, model and status, and never what was said."""

import base64
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from celery import Celery

from palaver.producer import Client
from palaver.shared.ids import new_job_id, new_session_id
from palaver.shared.jobs import Status
from palaver.shared.ledger import SyncLedger
from palaver.shared.settings import Settings
from tests.browser import open_page
from tests.integration.app.conftest import System
from tests.processes import ROOT, Processes
from tests.servers import RedisServer, eventually, free_port

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("system")]

CONFIGURATION = ROOT / "deploy/flower/flowerconfig.py"
SECRET = "xyzzy-42"
WRITES = "job => Number(document.querySelector(`tr[data-job='${job}']`).cells[5].innerText) > 0"
"""Of the page of streams: the job's tokens a second."""
LOOKS_AGAIN = "last => document.getElementById('streams-status').innerText !== last"


@dataclass(frozen=True)
class Flower:
    """A running Flower."""

    url: str
    login: str = ""

    def open(self, path: str, *, post: bool = False, body: str = "", **headers: str) -> str:
        data = body.encode() if post or body else None
        request = urllib.request.Request(self.url + path, data=data)  # noqa: S310
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
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


def start_flower(system: System, processes: Processes, *options: str, **env: str) -> Flower:
    """Start Flower beside the system's worker."""
    port = free_port()
    words = ("-m", "celery", "-A", "palaver.workers", "flower", f"--port={port}", f"--conf={CONFIGURATION}")
    processes.python(*words, *options, name="flower", env={**system.environment, **env})
    flower = Flower(f"http://127.0.0.1:{port}")
    assert eventually(flower.up, seconds=60, every=0.1)
    return flower


@pytest.fixture(scope="module")
def flower(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flower]:
    """Flower as `palaver dev` starts it: on the loopback, without a login."""
    with Processes(tmp_path_factory.mktemp("flower")) as processes:
        flower = start_flower(system, processes, "--address=127.0.0.1", FLOWER_UNAUTHENTICATED_API="true")
        # it hears the worker, so it will hear of tasks: events are kept nowhere
        assert eventually(lambda: bool(json.loads(flower.open("/workers?json=1"))["data"]), every=0.2)
        yield flower


@pytest.fixture
def client(system: System) -> Iterator[Celery]:
    with Celery("client", broker=system.url, set_as_current=False) as client:
        yield client


def submit(client: Celery, content: str, **fields: str) -> tuple[str, str, str]:
    """The ids of a new job: its session, its own, and that of the task that carries it."""
    session_id, job_id = new_session_id(), new_job_id()
    messages = [{"role": "user", "content": content}]
    document = {"session_id": session_id, "job_id": job_id, "messages": messages, **fields}
    sent = client.send_task("palaver.submit", args=(document,), queue="palaver.submit")
    return session_id, job_id, str(sent.id)


def test_neither_pages_nor_api_show_content(client: Celery, flower: Flower) -> None:
    client.conf.task_send_sent_event = True  # this client announces all that it sends
    session_id, job_id, task_id = submit(client, f"hello {SECRET}")
    refused = client.send_task(
        "palaver.submit", args=({"messages": SECRET, SECRET: 1},), queue="palaver.submit", argsrepr=SECRET
    )
    words = client.send_task("palaver.submit", args=(SECRET, SECRET), queue="palaver.submit")
    assert eventually(lambda: flower.task(job_id).get("state") == "SUCCESS")
    assert eventually(lambda: flower.task(task_id).get("state") == "SUCCESS")
    for wrong in (refused, words):
        assert eventually(lambda task=wrong: flower.task(str(task.id)).get("state") == "FAILURE")
    shown = flower.task(job_id)
    assert shown["args"] == str((session_id, job_id))
    assert "completed" in shown["result"]
    assert "scripted/echo" in shown["result"]
    assert shown["runtime"] > 0
    assert "invalid_request" in flower.task(str(refused.id))["exception"]
    ids = (job_id, task_id, str(refused.id), str(words.id))
    paths = [f"/{page}/{i}" for i in ids for page in ("task", "api/task/info", "api/task/result")]
    paths += ["/api/tasks", "/tasks", "/workers?json=1", "/api/workers", f"/api/tasks?search={SECRET}"]
    for path in paths:
        try:
            text = flower.open(path)
        except urllib.error.HTTPError as error:
            text = error.read().decode()
        assert SECRET not in text.replace(f"search={SECRET}", ""), path


def test_terminate_stops_the_stream(client: Celery, flower: Flower, system: System) -> None:
    session_id, job_id, _ = submit(client, json.dumps({"endless": True, "rate": 50}))
    ledger = redis.Redis.from_url(system.url, decode_responses=True)
    assert eventually(lambda: flower.task(job_id).get("state") == "STARTED")
    flower.open(f"/api/task/revoke/{job_id}?terminate=true", post=True)

    def last() -> Any:
        log: Any = ledger.xrevrange(f"palaver:{{{session_id}}}:events", count=1)
        return json.loads(log[0][1]["e"])

    assert eventually(lambda: last()["type"] == "stream_end")
    assert last()["data"]["status"] == "cancelled"
    assert eventually(lambda: flower.task(job_id).get("state") == "REVOKED")


def test_a_failed_job_shows_its_code(client: Celery, flower: Flower) -> None:
    content = json.dumps({"fail": {"kind": "status", "status": 401}, "text": SECRET})
    _, job_id, _ = submit(client, content)
    assert eventually(lambda: flower.task(job_id).get("state") == "FAILURE")
    assert "authentication" in flower.task(job_id)["exception"]
    assert SECRET not in json.dumps(flower.task(job_id))


@pytest.mark.page
def test_live_streams_have_a_page_with_a_button_that_ends_one(
    client: Celery, flower: Flower, system: System
) -> None:
    others = [submit(client, json.dumps({"endless": True, "rate": 50})) for _ in range(2)]
    session_id, job_id, _ = submit(client, json.dumps({"endless": True, "rate": 50}), system=SECRET)
    with open_page() as page:
        page.goto(f"{flower.url}/tasks")
        page.get_by_role("link", name="Streams").click()
        row = page.locator(f"tr[data-job='{job_id}']")
        row.wait_for()
        assert row.get_by_text(session_id, exact=True).is_visible()
        assert "scripted/echo" in row.inner_text() or "default" in row.inner_text()
        page.wait_for_function(WRITES, arg=job_id)
        row.get_by_role("button", name="Cancel").click()
        row.wait_for(state="detached")
        for _, other, _ in others:
            assert page.locator(f"tr[data-job='{other}']").count() == 1
        assert SECRET not in page.content()
    with SyncLedger(Settings(redis_url=system.url)) as ledger:
        assert ledger.job(job_id).status is Status.CANCELLED
        for session, other, _ in others:
            ledger.cancel(session, other)
    assert 'palaver_flower_cancels_total{result="asked"} 1.0' in flower.open("/metrics")


@pytest.mark.page
def test_a_refused_button_says_so_until_it_is_used_again_and_a_long_id_hides_none(
    client: Celery, system: System, processes: Processes
) -> None:
    flower = start_flower(system, processes, "--address=127.0.0.1")  # whose API is for nobody
    session_id, job_id = "s" * 128, new_job_id()
    document = {"session_id": session_id, "job_id": job_id, "messages": '{"endless": true, "rate": 50}'}
    client.send_task("palaver.submit", args=(document,), queue="palaver.submit")
    with open_page() as page:
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto(f"{flower.url}/streams")
        row = page.locator(f"tr[data-job='{job_id}']")
        button = row.get_by_role("button")
        button.click()
        row.get_by_text("Refused").wait_for()
        for _ in range(2):  # looks, of which each makes the table anew
            page.wait_for_function(LOOKS_AGAIN, arg=page.locator("#streams-status").inner_text())
        assert button.inner_text() == "Refused"
        assert "FLOWER_UNAUTHENTICATED_API" in (button.get_attribute("title") or "")
        box = button.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 1280
    with SyncLedger(Settings(redis_url=system.url)) as ledger:
        ledger.cancel(session_id, job_id)


def test_the_task_of_a_batch_shows_how_far_it_is(flower: Flower, system: System) -> None:
    settings = Settings(redis_url=system.url, files_url=system.environment["PALAVER_FILES_URL"])
    with Client(settings) as client:
        batch = client.batch([json.dumps({"n": 1, "rate": 5})] * 600, model="scripted/echo", window=2)

        def shown() -> list[dict[str, Any]]:
            tasks = json.loads(flower.open("/api/tasks?taskname=palaver.batch")).values()
            return [task for task in tasks if batch.batch_id in task["args"]]

        assert eventually(lambda: any(task["state"] == "PROGRESS" for task in shown()))
        (told,) = {task["result"] for task in shown() if task["state"] == "PROGRESS"}
        assert re.fullmatch(r"\d+ of 600", told)
        batch.cancel()
        assert eventually(lambda: all(task["state"] == "SUCCESS" for task in shown()))


def test_only_the_page_s_own_button_ends_a_stream(flower: Flower) -> None:
    ids = f"session_id=s1&job_id={new_job_id()}"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        flower.open("/streams/cancel", body=ids)
    with pytest.raises(urllib.error.HTTPError, match="400"):
        flower.open("/streams/cancel", body="session_id=s1&job_id=<b>", X_Palaver="cancel")
    assert json.loads(flower.open("/streams/cancel", body=ids, X_Palaver="cancel")) == {"status": "gone"}
    assert set(json.loads(flower.open("/streams/data"))) == {"running", "workers", "streams", "batches"}


def test_a_job_is_cancelled_though_the_broker_takes_no_message_of_the_next(
    system: System, processes: Processes, own_redis: Callable[..., RedisServer]
) -> None:
    ledger, broker = own_redis(), own_redis("--maxmemory-policy", "noeviction")
    env = {"PALAVER_REDIS_URL": ledger.url, "PALAVER_BROKER_URL": broker.url}
    flower = start_flower(system, processes, "--address=127.0.0.1", FLOWER_UNAUTHENTICATED_API="true", **env)
    with Client(Settings(redis_url=ledger.url, broker_url=broker.url)) as client, broker.client() as raw:
        first, second = (client.submit("Hello", session_id="s1") for _ in range(2))
        raw.config_set("maxmemory", 1)
        ids = f"session_id=s1&job_id={first.job_id}"
        told = flower.open("/streams/cancel", body=ids, X_Palaver="cancel")
        assert json.loads(told) == {"status": "cancelled"}
        assert (first.status, second.status) == (Status.CANCELLED, Status.QUEUED)


def test_beyond_the_loopback_it_asks_for_a_login(system: System, processes: Processes) -> None:
    away = f"redis://127.0.0.1:{free_port()}/0"
    env = {
        "PALAVER_BROKER_URL": system.url,
        "PALAVER_REDIS_URL": away,
        "FLOWER_BASIC_AUTH": "operator:sesame",
    }
    flower = start_flower(system, processes, "--address=0.0.0.0", **env)
    for path in ("/api/tasks", "/streams", "/streams/data"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            flower.open(path)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        flower.open("/streams/cancel", post=True, X_Palaver="cancel")
    known = Flower(flower.url, "operator:sesame")
    # Of all there are canaries now and then.
    assert json.loads(known.open("/api/tasks?taskname=palaver.chat")) == {}
    with pytest.raises(urllib.error.HTTPError, match="503") as refused:
        known.open("/streams/data")
    assert f"The ledger at {away} cannot be reached" in json.load(refused.value)["error"]


def test_without_one_it_makes_one(system: System, processes: Processes) -> None:
    flower = start_flower(system, processes, "--address=0.0.0.0")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        flower.open("/workers")
    (process,) = processes.all
    password = process.wait_for(r"log in as palaver with the password (\S+)").group(1)
    assert "Workers" in Flower(flower.url, f"palaver:{password}").open("/workers")
