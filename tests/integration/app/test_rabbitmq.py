"""RabbitMQ as the broker, behind TLS on both sides, by `PALAVER_BROKER_URL` alone; the ledger is a Redis."""

import json
import pickle
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
import yaml
from celery import Celery
from kombu import Connection

from palaver.producer import Client
from palaver.producer.broker import Broker
from palaver.shared.errors import BrokerUnavailableError
from palaver.shared.ids import new_job_id
from palaver.shared.ledger import Dispatch
from palaver.shared.names import QUEUES, Queue
from palaver.shared.settings import Settings
from tests.certificates import write_client_certificate
from tests.outsider import text_of
from tests.processes import ROOT, Processes, Running
from tests.rabbitmq import RabbitMQ, start_rabbitmq
from tests.servers import IN_TIME, any_redis_binary, eventually, free_port, missing, start_redis

pytestmark = [
    pytest.mark.redis,
    pytest.mark.worker,
    pytest.mark.rabbitmq,
    pytest.mark.long,
    pytest.mark.xdist_group("rabbitmq"),
]

CLIENT = Path(__file__).parents[2] / "e2e" / "plain_client.py"
SECRET = "whatever somebody asked"
MSGPACK = bytes([0x93, 0x91, 0xA0 + len(SECRET)]) + SECRET.encode() + b"\x80\x80"
SERVED = (
    '{{ssl_listeners, [{{"127.0.0.1", {port}}}]}}',
    '{{ssl_options, [{{cacertfile, "{folder}/authority.pem"}}, {{certfile, "{folder}/server.pem"}},'
    ' {{keyfile, "{folder}/server.pem"}}, {{verify, verify_peer}}, {{fail_if_no_peer_cert, true}}]}}',
)


@dataclass(frozen=True)
class System:
    """A worker that takes its messages over TLS."""

    broker: RabbitMQ
    settings: Settings
    worker: Running

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PALAVER_REDIS_URL": self.settings.redis_url,
            "PALAVER_BROKER_URL": self.settings.broker_url,
        }


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder, binary = tmp_path_factory.mktemp("rabbitmq"), any_redis_binary()
    if binary is None:
        missing("no Redis server on this machine")
    trusted = trustme.CA()
    trusted.cert_pem.write_to_path(str(folder / "authority.pem"))
    own_pem = trusted.issue_cert("127.0.0.1").private_key_and_cert_chain_pem
    own_pem.write_to_path(str(folder / "server.pem"))
    write_client_certificate(trusted, folder / "client.pem")
    with Processes(folder) as processes:
        port = free_port()
        broker = start_rabbitmq(processes, *(line.format(port=port, folder=folder) for line in SERVED))
        own = f"ssl_certfile={folder}/client.pem&ssl_keyfile={folder}/client.pem"
        url = f"amqps://guest:guest@127.0.0.1:{port}//?ssl_ca_certs={folder}/authority.pem&{own}"
        redis = start_redis(processes, binary)
        settings = Settings(redis_url=redis.url, broker_url=url, connect_seconds=IN_TIME)
        environment = {"PALAVER_REDIS_URL": settings.redis_url, "PALAVER_BROKER_URL": url}
        worker = processes.start(("palaver", "worker"), name="worker", env=environment)
        worker.wait_for(r"\bready\b", seconds=60)
        yield System(broker, settings, worker)


@pytest.fixture
def client(system: System) -> Iterator[Client]:
    with Client(system.settings) as client:
        yield client


def test_a_job_goes_all_the_way(client: Client, system: System) -> None:
    handle = client.submit("Hello", model="scripted/echo")
    assert "".join(chunk.delta for chunk in handle) == "Hello"
    handles = client.submit_many([{"messages": f"Hello {n}", "model": "scripted/echo"} for n in range(300)])
    assert [handle.result(timeout=60).content for handle in handles] == [f"Hello {n}" for n in range(300)]
    assert "Traceback" not in system.worker.output


def test_a_server_that_a_stranger_vouches_for_is_none(system: System, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    before, _, after = system.settings.broker_url.partition("ssl_ca_certs=")
    broker = Broker(f"{before}ssl_ca_certs={tmp_path}/authority.pem&{after.partition('&')[2]}")
    with pytest.raises(BrokerUnavailableError, match="certificate cannot be verified"):
        broker.check()


def test_who_has_no_certificate_is_not_served(system: System) -> None:
    with pytest.raises(BrokerUnavailableError):
        Broker(system.settings.broker_url.partition("&")[0]).check()


def test_the_next_node_is_behind_tls_too(system: System) -> None:
    url = system.settings.broker_url
    own = f":{urlsplit(url).port}"
    with closing(Broker(f"{url.replace(own, f':{free_port()}')};{url}", connect_seconds=IN_TIME)) as broker:
        broker.check()
        broker.send([Dispatch("session", "job", Queue.LOW)])


def test_a_wrong_password_is_told_in_time_without_it(system: System) -> None:
    began = time.monotonic()
    with pytest.raises(BrokerUnavailableError, match="refused the user or password") as caught:
        Broker(system.broker.url.replace("guest@", "hunter2@")).check()
    assert "hunter2" not in str(caught.value)
    assert time.monotonic() - began < IN_TIME


def test_all_queues_are_quorum_queues_and_there_are_no_others(system: System) -> None:
    """Until the last test but one adds some for an application of its own."""
    kinds = {name: kind for name, kind in system.broker.kinds().items() if not name.startswith("celeryev.")}
    kinds = {name: kind for name, kind in kinds.items() if not name.endswith(".pidbox")}
    assert kinds == {str(name): "quorum" for name in QUEUES}


def test_a_client_with_only_celery(system: System, processes: Processes) -> None:
    job_id = new_job_id()
    words = (system.settings.redis_url, "theirs", job_id, "To be, or not to be", system.broker.url)
    client = processes.start((sys.executable, CLIENT, *words), name="client")
    assert client.wait() == 0, client.output
    client.drained()
    assert text_of([json.loads(line) for line in client.lines]) == "To be, or not to be"


@pytest.mark.parametrize(
    ("kind", "body", "encoding"),
    [
        ("application/x-python-serialize", pickle.dumps([[SECRET], {}, {}]), "binary"),
        ("application/x-yaml", yaml.safe_dump([[SECRET], {}, {}]).encode(), "utf-8"),
        ("application/x-msgpack", MSGPACK, "binary"),
        ("application/json", b"[[" + SECRET.encode(), "utf-8"),
    ],
    ids=["pickle", "yaml", "msgpack", "broken"],
)
def test_what_is_no_json_is_refused_without_being_read(
    system: System, client: Client, kind: str, body: bytes, encoding: str
) -> None:
    told = system.worker.output.count("message.discarded")
    with Connection(system.broker.url) as connection:
        connection.Producer().publish(
            body,
            exchange="",
            routing_key="palaver.submit",
            content_type=kind,
            content_encoding=encoding,
            headers={"task": "palaver.submit", "id": "x", "lang": "py"},
        )
    assert eventually(lambda: system.worker.output.count("message.discarded") == told + 1)
    assert client.submit("Hello", model="scripted/echo").result(timeout=30).content == "Hello"
    assert client.broker.queue_lengths()["palaver.submit"] == 0
    assert SECRET not in system.worker.output
    assert "Traceback" not in system.worker.output


def test_operators_see_it_as_any_celery_worker(system: System, client: Client) -> None:
    """What Flower is made of: events, and answers to controls."""
    theirs = Celery(broker=system.broker.url)
    seen: dict[str, Any] = {}
    wanted = {"task-received", "task-started", "task-succeeded"}
    with theirs.connection_for_read() as connection:
        receiver = theirs.events.Receiver(
            connection, handlers={"*": lambda event: seen.setdefault(event["type"], event)}
        )
        with receiver.consumer_context(wakeup=False) as (listening, *_):
            client.submit("Hello", model="scripted/echo").result(timeout=30)
            end = time.monotonic() + IN_TIME  # the first that is heard may be the end of a task before
            while not wanted <= seen.keys() and time.monotonic() < end:
                listening.drain_events(timeout=IN_TIME)
    assert wanted <= seen.keys()
    asked = theirs.control.inspect(timeout=IN_TIME, limit=1)
    (queues,) = (asked.active_queues() or {}).values()
    assert {queue["name"] for queue in queues} == {str(name) for name in QUEUES}
    (stats,) = (asked.stats() or {}).values()
    assert stats["pool"]["waiting"] == 0


def test_tasks_of_one_s_own_wait_in_rabbitmq_for_their_countdown(
    system: System, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {**system.environment, "PALAVER_BROKER_URL": system.broker.url, "PALAVER_NAMESPACE": "own"}
    words = ("-A", "tests.integration.app.own_quorum_app", "worker", "--loglevel", "INFO", "--without-mingle")
    worker = processes.start(("celery", *words), name="own", env={**environment, "PYTHONPATH": str(ROOT)})
    worker.wait_for(r"\bready\b", seconds=60)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    from tests.integration.app.own_quorum_app import tell  # reads them

    sent = time.time()
    tell.apply_async(("late",), countdown=2)
    tell.apply_async(("early",))
    worker.wait_for("told early")
    worker.wait_for("told late")
    assert time.time() - sent >= 1
    assert "Traceback" not in worker.output


def test_the_status_shows_it(system: System, processes: Processes) -> None:
    asked = processes.start(("palaver", "status", "--json"), name="status", env=system.environment)
    assert asked.wait(30) == 0, asked.output
    asked.drained()
    status = json.loads(asked.output)
    assert status["queues"] == {str(name): 0 for name in QUEUES}
    assert len(status["workers"]) == 1
