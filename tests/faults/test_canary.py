"""Canaries in one run with everything switched on, looked for in all that it leaves behind, the environments
of its processes aside.

Keys may be nowhere but where they were put. What is said and answered may be in the ledger and in the store
of files, which are there to keep it; in the message of `palaver.submit` while it waits; and where the caller
asked for it to be sent. It is in no log, trace, page, metric, other message, nor in the repr of an object.
"""

import json
import re
import signal
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from palaver.producer import Client
from palaver.producer.interfaces import Chat, Clients, Conversations
from palaver.shared.api_keys import ApiKey
from palaver.shared.errors import PalaverError
from palaver.shared.jobs import Status
from palaver.shared.ledger import SyncLedger, operations
from palaver.shared.sealing import Seal
from palaver.shared.settings import Settings
from palaver.shared.webhooks import secret_text, secrets, tenant_secret
from tests import canaries
from tests.canaries import (
    ANSWER,
    FILE,
    HOSTILE,
    KEYS,
    LINE,
    METADATA,
    OUTSIDE,
    PROMPT,
    REDIS_PASSWORD,
    SAID,
    SYSTEM,
    UNSAID,
    content_of,
    words_in,
)
from tests.collector import Collector, start_collector
from tests.http_clients import http_client
from tests.processes import ROOT, Processes, Running
from tests.servers import any_redis_binary, eventually, free_port, missing, start_redis

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.long, pytest.mark.xdist_group("faults")]

TENANT = "acme"
OF_SESSIONS = r"\{[^}]+\}:(job:.*|events|messages|stored|session|batch|batch:results)"
LEDGER = re.compile(rf"palaver:({OF_SESSIONS}|cache:.*)$")
"""Keys that may hold what was said: jobs, logs, histories, contexts of agents, batches, the cache."""
STORED = ("files/", "canary_code.py", "__pycache__/", "key-of-a-profile")
"""Files that hold what was put there."""
FLOWER = ROOT / "deploy/flower/flowerconfig.py"
LOGGED = ("job.ended", "webhook.delivered")
"""Events of the workers' logs, some of many."""
OPTIONS = {
    "LEASE_SECONDS": "4",
    "RENEW_SECONDS": "0.5",
    "WEBHOOK_NETWORKS": "127.0.0.0/8",
    "TOOLS": "canary_code",
    "AGENTS": "canary_code",
    "TRACING": "1",
}


@dataclass
class Left:
    """What the run has left behind, by where it was found."""

    keys: tuple[str, ...]
    pages: dict[str, str] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)
    """Reprs of objects."""
    errors: str = ""
    """What errors say, which may be the words of a provider, and so what it was asked; but no key."""
    waiting: dict[str, str] = field(default_factory=dict)
    """The broker while no worker was there."""
    broker: dict[str, str] = field(default_factory=dict)
    ledger: dict[str, str] = field(default_factory=dict)
    spans: str = ""
    files: dict[str, str] = field(default_factory=dict)
    """All that is in the folder of the run, what its processes wrote above all."""
    used: str = ""
    """What the provider was asked, and the receiver was told."""

    @property
    def quiet(self) -> dict[str, str]:
        """All places where nobody keeps what was said."""
        return {**self.pages, **self.told, **self.broker, **self.files, "spans": self.spans}


@dataclass
class Run:
    """The system, and its parts in this process."""

    folder: Path
    processes: Processes
    settings: Settings
    environment: dict[str, str]
    client: Client
    receiver: canaries.Receiver
    left: Left
    url: str = ""

    def start(self, *words: str, **env: str) -> Running:
        return self.processes.start(words, name=words[-1], env={**self.environment, **env})

    def worker(self) -> tuple[Running, str]:
        """One that is ready, and where it tells of itself."""
        port = free_port()
        running = self.start(
            "palaver", "worker", "--without-mingle", "--loglevel", "DEBUG", PALAVER_METRICS_ADDRESS=str(port)
        )
        return running, f"http://127.0.0.1:{port}"

    def note(self, name: str, *told: object) -> None:
        """Keep what objects say of themselves."""
        self.left.told[name] = repr(told)

    def look(self, name: str, url: str, **headers: str) -> str:
        """Keep a page."""
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the loopback
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - the same
                text = answer.read().decode()
        except urllib.error.HTTPError as error:
            text = error.read().decode()
        self.left.pages[f"{name} {url}"] = text
        return str(text)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    folder = tmp_path_factory.mktemp("canary")
    with ExitStack() as stack:
        base_url, asked = stack.enter_context(canaries.provider())
        collector = stack.enter_context(start_collector())
        taking = stack.enter_context(canaries.receiver())
        processes = stack.enter_context(Processes(folder))
        run, connections = prepare(folder, processes, base_url, collector, taking)
        stack.enter_context(run.client)
        make_all(run, asked, connections)
        run.left.spans = "".join(body.decode("latin-1") for body in collector.bodies)
        run.left.used = "\n".join([*asked.asked, *taking.told])
        for path in folder.rglob("*"):
            name = str(path.relative_to(folder))
            if path.is_file() and not name.startswith(STORED):
                run.left.files[name] = path.read_text(errors="replace")
    return run.left


def prepare(
    folder: Path, processes: Processes, base_url: str, collector: Collector, taking: canaries.Receiver
) -> tuple[Run, dict[str, redis.Redis]]:
    """A Redis with a password, the ledger and the broker in a database each; settings, and a client."""
    binary = any_redis_binary() or missing("no Redis server on this machine")
    server = start_redis(processes, binary)
    server.client().config_set("requirepass", REDIS_PASSWORD)
    url = f"redis://:{REDIS_PASSWORD}@127.0.0.1:{server.port}"
    (folder / "canary_code.py").write_text(canaries.USER_CODE)
    (folder / "key-of-a-profile").write_text(canaries.FILE_KEY)
    profiles = {"p": 'api_key_env = "CANARY_API_KEY"', "q": f'api_key_file = "{folder}/key-of-a-profile"'}
    tables = [
        f'[providers.{name}]\nkind = "openai"\nbase_url = "{base_url}"\n{key}\n'
        for name, key in profiles.items()
    ]
    (folder / "palaver.toml").write_text("\n".join([*tables, '[models]\ndefault = "p/m"\n']))
    settings = Settings(
        redis_url=f"{url}/0",
        broker_url=f"{url}/1",
        config=str(folder / "palaver.toml"),
        files_url=f"file://{folder}/files",
        secret=KEYS["PALAVER_SECRET"],
        webhook_networks="127.0.0.0/8",
    )
    named = ("redis_url", "broker_url", "config", "files_url")
    environment = {
        **KEYS,
        **{f"PALAVER_{name.upper()}": str(getattr(settings, name)) for name in named},
        **{f"PALAVER_{name}": value for name, value in OPTIONS.items()},
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "FLOWER_UNAUTHENTICATED_API": "true",
    }
    (secret,) = secrets(KEYS["PALAVER_WEBHOOK_SECRET"])
    taking.key = secret_text(tenant_secret(secret, TENANT))
    keys = (*KEYS.values(), canaries.FILE_KEY, canaries.SEALED_KEY, REDIS_PASSWORD, taking.key)
    run = Run(folder, processes, settings, environment, Client(settings), taking, Left(keys))
    ports = {"ledger": 0, "broker": 1}
    return run, {
        name: redis.Redis(port=server.port, password=REDIS_PASSWORD, db=db) for name, db in ports.items()
    }


def make_all(run: Run, asked: type[canaries.Provider], connections: dict[str, redis.Redis]) -> None:
    """The run itself."""
    flower_port, exporter_port = free_port(), free_port()
    key_text, key = ApiKey.make(tenant=TENANT)
    with SyncLedger(run.settings) as ledger:
        ledger.query(operations.keep_api_key(ledger.keys, key))
    flower = run.start(
        "celery", "-A", "palaver.workers", "flower", f"--conf={FLOWER}", f"--port={flower_port}"
    )
    exporter = run.start("palaver", "exporter", "--port", str(exporter_port))
    gateway = run.start("palaver", "gateway", "--port", "0", "--json")
    chats = submit_all(run)
    submit_outside(run)
    run.left.waiting = content_of(connections["broker"])
    url = f"http://127.0.0.1:{flower_port}"
    assert eventually(lambda: answers(f"{url}/healthcheck"), seconds=60, every=0.1)
    first, metrics = run.worker()
    run.url = gateway.wait_for(r'"ready":true,"url":"([^"]+)"', seconds=60)[1]
    first.wait_for(r"\bready\b", seconds=60)
    agents(run)
    # It hears the worker, so it hears of what a program announces that it sends.
    assert eventually(lambda: bool(json.loads(run.look("flower", f"{url}/workers?json=1"))["data"]))
    announced = submit_outside(run)
    end_all(run, chats)
    over_http(run, key_text)
    run.look("worker", f"{metrics}/metrics")
    second, metrics = kill(run, first, asked)
    assert run.receiver.news.wait(30)
    look_at_all(run, announced, flower=url, pages=(metrics, f"http://127.0.0.1:{exporter_port}"))
    for running in (second, gateway, exporter, flower):
        running.signal(signal.SIGTERM)
    for running in (first, second, gateway, exporter, flower):
        running.wait()
        running.drained()
    run.left.broker = {f"broker {name}": text for name, text in content_of(connections["broker"]).items()}
    run.left.ledger = content_of(connections["ledger"])


def answers(url: str) -> bool:
    with suppress(urllib.error.URLError, ConnectionError):
        urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - the loopback
        return True
    return False


def submit_all(run: Run) -> list[Any]:
    """Jobs of every kind, before a worker is there."""
    client = run.client
    sealed = client.seal({"kind": "openai", "base_url": base_of(run), "api_key": canaries.SEALED_KEY})
    file = client.files.upload(f"{FILE} {FILE}".encode(), filename="notes.txt", user="ann", tenant=TENANT)
    models = [f"{name}/{model}" for name in ("p", "q", sealed) for model in ("m", "refused")]
    same: dict[str, Any] = {"system": SYSTEM, "max_retries": 0, "metadata": {"note": METADATA}}
    handles = [client.submit(PROMPT, model=model, **same) for model in models]
    handles += [client.submit(PROMPT, model=f"p/{model}", **same) for model in ("hostile", "garbage")]
    handles += [client.submit(PROMPT, model="p/m", cache=True, **same) for _ in range(2)]
    tools = [{"name": "lookup"}, {"name": "broken"}]
    handles.append(client.submit(PROMPT, model="p/caller", tools=tools, **same))
    handles.append(client.submit(PROMPT, files=[file], user="ann", tenant=TENANT, **same))
    handles.append(client.submit(PROMPT, webhook=run.receiver.url, tenant=TENANT, **same))
    handles.append(client.submit(PROMPT, deadline=1, run_at=time.time() - 5, **same))
    batch = client.batch([LINE, {"messages": LINE, "model": "p/refused"}], user="ann", tenant=TENANT)
    chat = Chat(base_url=base_of(run), api_key=canaries.SEALED_KEY, model="m", clients=Clients(run.settings))
    seal = Seal(KEYS["PALAVER_SECRET"])
    profile = seal.seal({"kind": "openai", "base_url": base_of(run), "api_key": canaries.SEALED_KEY})
    run.note("objects", run.settings, client, client.ledger, client.broker, client.files, chat, seal, profile)
    run.note("opened", seal.open(profile), file, batch, handles)
    return [*handles, batch]


def base_of(run: Run) -> str:
    found = re.search(r'base_url = "([^"]+)"', (run.folder / "palaver.toml").read_text())
    assert found
    return found[1]


def submit_outside(run: Run) -> list[str]:
    """From a program that has only Celery: a job, and what is none."""
    documents: list[Any] = [
        {"session_id": "outside", "messages": OUTSIDE, "model": "p/m"},
        {"messages": HOSTILE, HOSTILE: HOSTILE},
        {"messages": [{"role": HOSTILE, "content": HOSTILE}], "params": {"temperature": HOSTILE}},
        HOSTILE,
    ]
    with Celery(broker=run.settings.broker_url, set_as_current=False) as celery:
        celery.conf.task_send_sent_event = True  # it announces all that it sends
        sent = [celery.send_task("palaver.submit", (each,), queue="palaver.submit") for each in documents]
        hostile = ({"messages": HOSTILE},)
        sent.append(celery.send_task("palaver.submit", hostile, queue="palaver.submit", serializer="pickle"))
    return [str(each.id) for each in sent]


def agents(run: Run) -> None:
    """In conversations, one of an agent that fails."""
    with Clients(run.settings) as clients:
        conversations = Conversations(clients)
        for path in ("helper/", "broken/"):
            session = conversations.create_session(path, user="ann", context={"word": canaries.CONTEXT})
            answer = conversations.send_message(session.id, PROMPT, "ann", timeout=30)
            assert answer["status"] == ("success" if path == "helper/" else "error")
            run.note(path, session, conversations.messages(session.id, user="ann"), clients, conversations)
            run.note(f"error of {path}", answer.get("error"))


def end_all(run: Run, handles: list[Any]) -> None:
    """Wait for every job, and keep what its objects and errors show of themselves."""
    *jobs, batch = handles
    failed = 0
    for handle in jobs:
        try:
            response = handle.result(timeout=60)
            assert ANSWER in response.content
            run.note(f"response {handle.job_id}", response, list(handle.chunks()))
        except PalaverError as error:
            failed += 1
            run.left.errors += repr([error, *error.args, vars(error), error.__cause__, error.__context__])
            run.note(f"partial {handle.job_id}", error.response)
        view = run.client.view(handle.job_id, document=True)
        run.note(f"view {handle.job_id}", view, view.document, list(handle.events()))
    assert failed == 6, "three keys were refused, two answers are none, one job came too late"
    assert batch.wait(timeout=60).status.ended
    run.note("batch", batch, batch.progress, list(batch.results()), run.client.dead())


def over_http(run: Run, key: str) -> None:
    """The gateway, by a key, and by a token that stands in an address, as browsers have it."""
    with http_client(base_url=run.url, timeout=30) as http:
        mine = {"authorization": f"Bearer {key}"}
        for stream in (False, True):
            body = {"model": "p/m", "stream": stream, "messages": [{"role": "user", "content": PROMPT}]}
            assert ANSWER in http.post("/v1/chat/completions", json=body, headers=mine).text
        body = {**body, "model": "p/refused", "stream": False}
        assert http.post("/v1/chat/completions", json=body, headers=mine).status_code == 502
        session = http.post("/sessions", json={"context": {"word": canaries.CONTEXT}}, headers=mine).json()
        path = f"/sessions/{session['session_id']}"
        job = http.post(f"{path}/messages", json={"content": PROMPT}, headers=mine).json()["job_id"]
        token = http.post(f"{path}/tokens", json={}, headers=mine).json()["token"]
        events = http.get(f"{path}/events", params={"token": token, "job": job}).text
        assert ANSWER in events
        for wrong in ({"content": HOSTILE, HOSTILE: 1}, {"content": HOSTILE, "model": HOSTILE}, HOSTILE):
            refused = http.post(f"{path}/messages", json=wrong, headers=mine)
            assert refused.status_code in (403, 404, 422)
        broken = http.post(f"{path}/messages", content=f"{{{HOSTILE}".encode(), headers=mine)
        assert broken.status_code in (400, 422)
        stranger = {"authorization": f"Bearer plv_{'0' * 12}_{HOSTILE:x<43}"}
        assert http.get(path, headers=stranger).status_code == 401
        assert http.get(f"{path}/events", params={"token": f"plr_{HOSTILE}.{HOSTILE}"}).status_code == 401
        run.look("gateway", f"{run.url}/metrics")
    run.left.keys += (key.split("_", 2)[2], token)


def kill(run: Run, first: Running, asked: type[canaries.Provider]) -> tuple[Running, str]:
    """A worker in the middle of an answer; another one ends that."""
    handle = run.client.submit(PROMPT, model="p/slow")
    assert eventually(lambda: bool(handle.view().text))
    second, metrics = run.worker()
    second.wait_for(r"\bready\b", seconds=60)
    first.kill()
    asked.again.set()
    assert ANSWER in handle.result(timeout=60).content
    assert handle.status is Status.COMPLETED
    return second, metrics


def look_at_all(run: Run, announced: list[str], *, flower: str, pages: tuple[str, ...]) -> None:
    """Pages of Flower, and what Prometheus is told."""
    known = json.loads(run.look("flower", f"{flower}/api/tasks"))
    assert len(known) > 15
    assert all(known[task]["sent"] for task in announced), "it has not heard of what was sent"
    for task in known:
        for page in ("task", "api/task/info"):
            run.look("flower", f"{flower}/{page}/{task}")
    for page in ("tasks", "workers?json=1", "streams", "streams/data", "metrics", "broker"):
        run.look("flower", f"{flower}/{page}")
    # it waits a second for their answer, and knows it from then on
    refreshed = f"{flower}/api/workers?refresh=1"
    assert eventually(lambda: '"broker": {' in run.look("flower", refreshed)), "it has not asked them"
    for address in pages:
        run.look("told to Prometheus", f"{address}/metrics")


def test_everything_was_there_to_be_told(left: Left) -> None:
    """Else nothing could be found elsewhere."""
    used = "\n".join([*left.ledger.values(), left.used])
    shown = (KEYS["CANARY_API_KEY"], canaries.FILE_KEY, canaries.SEALED_KEY)
    assert words_in(used, (*SAID, *shown)) == [*SAID, *shown]
    assert words_in("\n".join(left.waiting.values()), (OUTSIDE, HOSTILE)) == [OUTSIDE, HOSTILE]
    assert "Incorrect API key" in left.errors
    logs = "\n".join(text for name, text in left.files.items() if name.endswith(".log"))
    assert [event for event in LOGGED if event not in logs] == []
    assert left.spans.count("palaver.job") > 10
    assert all("palaver_" in text for page, text in left.pages.items() if page.endswith("/metrics"))


def test_no_key_is_anywhere(left: Left) -> None:
    places = {**left.quiet, **left.waiting, **left.ledger, "errors": left.errors}
    assert not {place: found for place, text in places.items() if (found := words_in(text, left.keys))}


def test_what_is_said_is_where_it_is_kept_and_nowhere_else(left: Left) -> None:
    words = (*SAID, *UNSAID)
    assert not {place: found for place, text in left.quiet.items() if (found := words_in(text, words))}
    kept = {name: found for name, text in left.ledger.items() if (found := words_in(text, words))}
    assert not [name for name in kept if not LEDGER.match(name)]
    assert not [name for name, found in kept.items() if {*found} & {*UNSAID}]


def test_a_message_that_waits_has_ids_alone(left: Left) -> None:
    """But that of `palaver.submit`, which brings the job itself."""
    assert {name for name, text in left.waiting.items() if words_in(text, (*SAID, HOSTILE))} == {
        "palaver.submit"
    }
