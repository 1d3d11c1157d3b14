"""What a worker says of a broker that restarts, or refuses: that it is lost, that it is back."""

import logging
import re
import signal
import time
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Connection, Exchange, Queue

from palaver.producer import Client
from palaver.shared.errors import JobNotFoundError
from palaver.shared.ids import new_job_id
from palaver.shared.ledger import SyncLedger
from palaver.shared.names import TASK_SUBMIT
from palaver.shared.names import Queue as QueueName
from palaver.shared.settings import Settings
from palaver.workers.flower_pages.quiet import SELDOM, quieten
from palaver.workers.pool.intake import Intake
from tests.processes import WORKER, Processes
from tests.servers import RedisServer, eventually

pytestmark = [pytest.mark.redis, pytest.mark.worker]

BEAT_SECONDS = 2.2  # from one beat of Celery's to the next, and a little


def test_a_restart_of_the_broker_costs_a_line_and_no_traceback(
    own_redis: Callable[..., RedisServer], processes: Processes
) -> None:
    server = own_redis()
    worker = processes.start(WORKER, name="worker", env={"PALAVER_REDIS_URL": server.url})
    worker.wait_for(r"\bready\b", seconds=60)  # with gossip and mingle, as users have it
    for port in (server.port, server.port, None):
        worker.forget()
        assert server.running is not None
        server.running.kill()
        worker.wait_for("Cannot connect to")
        if port is None:
            worker.wait_for(r"Trying again in 5\.00 seconds\.\.\. \(3/")  # and never later than that
            worker.signal(signal.SIGTERM)
            assert worker.wait() == 0
            worker.drained()
        else:
            server = own_redis(port=port)
            with Client(Settings(redis_url=server.url)) as client:
                assert client.submit("Hello", model="scripted/echo").result(timeout=60).content == "Hello"
        told = Counter(re.findall("Connection to broker lost|link.unreachable|sweep.failed", worker.output))
        assert max(told.values()) == 1, told
        assert not re.search("Traceback|Deprecation", worker.output), worker.output


@pytest.mark.parametrize("leaves", [False, True], ids=["stays", "leaves"])
def test_a_loss_of_the_broker_that_a_worker_hears_of_late_is_a_loss_like_any(
    leaves: bool, own_redis: Callable[..., RedisServer], processes: Processes
) -> None:
    """When its beat is due before it can notice: that is not tried again in the thread that would notice."""
    ledger, broker = own_redis(), own_redis()
    env = {"PALAVER_REDIS_URL": ledger.url, "PALAVER_BROKER_URL": broker.url}
    worker = processes.start(WORKER, name="worker", env=env)
    worker.wait_for(r"\bready\b", seconds=60)
    assert broker.running is not None
    worker.signal(signal.SIGSTOP)
    stood_still = time.monotonic()
    broker.running.kill()
    if leaves:
        worker.signal(signal.SIGTERM)
    else:
        assert eventually(lambda: time.monotonic() > stood_still + BEAT_SECONDS)
    worker.signal(signal.SIGCONT)
    if not leaves:
        worker.wait_for("Cannot connect to")
        worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    worker.drained()
    assert "Traceback" not in worker.output


def test_no_time_limit_ends_a_whole_job_before_it_is_stored(
    own_redis: Callable[..., RedisServer], processes: Processes
) -> None:
    ledger, broker = own_redis(), own_redis()
    env = {"PALAVER_REDIS_URL": ledger.url, "PALAVER_BROKER_URL": broker.url}
    limits = ("--time-limit", "3.2", "--soft-time-limit", "3")
    worker = processes.start((*WORKER, *limits), name="worker", env=env)
    worker.wait_for(r"\bready\b", seconds=60)
    assert ledger.running is not None
    ledger.running.signal(signal.SIGSTOP)  # one that is known to be away lets it take nothing
    job_id = new_job_id()
    document = {"job_id": job_id, "messages": "Hello", "model": "scripted/echo"}
    Celery(broker=broker.url).send_task(TASK_SUBMIT, args=[document], queue=QueueName.SUBMIT.value)
    worker.wait_for(r"palaver\.submit\[\S+ received")
    ledger.running.kill()
    worker.wait_for(r"submit\.waiting .*delay=4$")  # three seconds and a half after it was taken, at least
    own_redis(port=ledger.port)
    with Client(Settings(redis_url=ledger.url, broker_url=broker.url)) as client, client.ledger:
        assert eventually(lambda: client.ledger.unended() or client.ledger.dead())
        assert client.job(job_id).result(timeout=60).content == "Hello"
    assert "time limit" not in worker.output


def test_a_broker_that_lets_it_in_and_takes_nothing_costs_a_line(
    own_redis: Callable[..., RedisServer], processes: Processes
) -> None:
    # The ledger is another: a worker whose ledger takes nothing asks the broker for nothing.
    ledger, broker = own_redis(), own_redis()
    env = {"PALAVER_REDIS_URL": ledger.url, "PALAVER_BROKER_URL": broker.url}
    worker = processes.start(WORKER, name="worker", env=env)
    worker.wait_for(r"\bready\b", seconds=60)
    with broker.client() as raw:
        raw.config_resetstat()
        raw.config_set("min-replicas-to-write", 1)
        assert eventually(lambda: refused_writes(raw) > 3, seconds=60)
        connected = len(raw.client_list())
        assert eventually(lambda: refused_writes(raw) > 10, seconds=60)
        assert len(raw.client_list()) < connected + 5, "each try leaves sockets"
        raw.config_set("min-replicas-to-write", 0)
    with Client(Settings(redis_url=ledger.url, broker_url=broker.url)) as client:
        assert client.submit("Hello", model="scripted/echo").result(timeout=60).content == "Hello"
    told = re.findall("Cannot connect to|broker.refused reason=.*|broker.unsteady", worker.output)
    assert told == ['broker.refused reason="it has too few replicas for a write"']
    assert "Traceback" not in worker.output


def test_a_message_that_is_held_while_the_broker_restarts_ends_no_worker(
    own_redis: Callable[..., RedisServer], processes: Processes
) -> None:
    """A job's message is long forgotten then, and of one the job's only copy."""
    ledger, broker = own_redis(), own_redis()
    env = {"PALAVER_REDIS_URL": ledger.url, "PALAVER_BROKER_URL": broker.url, "PALAVER_LEASE_SECONDS": "60"}
    worker = processes.start(WORKER, name="worker", env=env)
    worker.wait_for(r"\bready\b", seconds=60)
    assert ledger.running is not None
    assert broker.running is not None
    settings = Settings(redis_url=ledger.url, broker_url=broker.url, connect_seconds=30)
    with Client(settings) as client, broker.client() as raw:
        assert eventually(lambda: canaries_are_through(client, raw))  # the next ones come a minute later
        streaming = client.submit('{"endless": true, "rate": 20}', model="scripted/echo")
        next(iter(streaming))
        document = {"job_id": new_job_id(), "messages": "Hello", "model": "scripted/echo"}
        ledger.running.signal(signal.SIGSTOP)
        Celery(broker=broker.url).send_task(TASK_SUBMIT, args=[document], queue=QueueName.SUBMIT.value)
        worker.wait_for(r"Task palaver.submit\[.*received")
        broker.running.kill()
        worker.wait_for("Connection to broker lost")
        worker.forget()  # while there is no broker: it may be found in the moment in which it begins
        own_redis(port=broker.port)
        worker.wait_for("Connected to")
        ledger.running.signal(signal.SIGCONT)
        assert eventually(lambda: is_stored(client, document["job_id"]))
        assert client.job(document["job_id"]).result(timeout=60).content == "Hello"
        streaming.cancel()
        worker.wait_for(r"Task palaver\.submit\[\S+ succeeded")
    # Of a broker that came back empty it was not received again: it was held here, and ran once.
    assert re.findall(r"Task palaver\.submit\[\S+ (\w+)", worker.output) == ["succeeded"]
    assert "Traceback" not in worker.output


def canaries_are_through(client: Client, broker: redis.Redis) -> bool:
    canaries = client.ledger.vigil().canaries
    return set(canaries) == set(QueueName) and not (
        any(state.waits_for for state in canaries.values()) or broker.exists("unacked")
    )


def is_stored(client: Client, job_id: str) -> bool:
    try:
        return bool(client.job(job_id))
    except JobNotFoundError:
        return False


def test_a_full_broker_is_emptied_by_a_worker_that_comes_then(
    own_redis: Callable[..., RedisServer], processes: Processes
) -> None:
    ledger, broker = own_redis(), own_redis("--maxmemory-policy", "noeviction")
    env = {"PALAVER_REDIS_URL": ledger.url, "PALAVER_BROKER_URL": broker.url}
    with Client(Settings(redis_url=ledger.url, broker_url=broker.url)) as client, broker.client() as raw:
        job = client.submit("Hello", model="scripted/echo")
        raw.config_set("maxmemory", 1)
        worker = processes.start(WORKER, name="worker", env=env)
        assert job.result(timeout=60).content == "Hello"
        assert raw.llen("palaver.normal") == 0
    assert "Traceback" not in worker.output


def refused_writes(raw: redis.Redis) -> int:
    """Those that a connection of kombu's begins with."""
    told: dict[str, dict[str, int]] = raw.info("commandstats")
    return told.get("cmdstat_set", {}).get("rejected_calls", 0)


def test_how_it_is_can_be_asked_while_a_lost_broker_is_said_goodbye(
    own_redis: Callable[..., RedisServer], processes: Processes
) -> None:
    server = own_redis()
    words = ("-m", "celery", "-A", "tests.integration.app.asked_app", "worker", "--without-mingle")
    worker = processes.python(*words, "--loglevel", "INFO", env={"PALAVER_REDIS_URL": server.url})
    worker.wait_for(r" ready\.$", seconds=60)
    with SyncLedger(Settings(redis_url=server.url)) as ledger:
        assert eventually(ledger.workers)  # announced a moment after it is ready
    assert server.running is not None
    server.running.kill()
    worker.wait_for("asked meanwhile: it has no connection to the broker")
    worker.wait_for("Cannot connect to")


def test_a_full_redis_that_refreshes_no_bindings_costs_a_line(
    own_redis: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture
) -> None:
    server = own_redis()
    celery = Celery(broker=server.url, set_as_current=False)
    intake = Intake(lambda _: None, app=celery, controller=SimpleNamespace(use_eventloop=False))
    with intake.connection_for_read() as connection, server.client() as raw:
        queue = Queue("q", Exchange("e", type="fanout"), expires=10)
        connection.Consumer([queue], channel=connection.channel()).consume()
        raw.delete("_kombu.binding.e")
        raw.config_set("maxmemory", 1)
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                connection.transport.cycle.maybe_refresh_binding_expiry()
        (told,) = ours(caplog)
        assert told.getMessage() == 'bindings.not_refreshed reason="it is out of memory"'
        assert told.exc_info is None
        raw.config_set("maxmemory", 0)
        connection.transport.cycle.maybe_refresh_binding_expiry()
        assert raw.exists("_kombu.binding.e")


def ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What is told here of a broker, and not of what a test before this has left."""
    told_by = ("kombu", "palaver.workers.intake")
    return [record for record in caplog.records if record.name.startswith(told_by)]


def test_flower_tells_of_a_full_redis_once_and_without_a_traceback(
    own_redis: Callable[..., RedisServer], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SELDOM:
        monkeypatch.setattr(logging.getLogger(name), "filters", [])
    quieten()
    server = own_redis()
    with Connection(server.url) as connection, server.client() as raw:
        queue = Queue("q", Exchange("e", type="fanout"), expires=10)
        transport: Any = connection.transport
        connection.Consumer([queue], channel=connection.channel()).consume()
        raw.delete("_kombu.binding.e")
        raw.config_set("maxmemory", 1)
        for _ in range(3):
            transport.cycle.maybe_refresh_binding_expiry()
    for _ in range(3):  # as Flower does of events that it cannot ask for
        logging.getLogger("flower.events").error("Failed to capture events: '%s', trying", "NOREPLICAS")
    assert [record.name for record in caplog.records].count("flower.events") == 1
    (told,) = [record for record in caplog.records if record.name == "kombu.transport.redis"]
    assert told.exc_info is None
