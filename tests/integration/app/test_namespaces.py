"""Two systems on one Redis: each namespace has its own keys, queues and controls."""

from collections.abc import Callable

import pytest
from celery import Celery

from palaver.producer import Client
from palaver.producer.cli import status
from palaver.shared.settings import Settings
from tests.processes import WORKER, Processes, Running
from tests.servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.worker]

Start = Callable[[str], Running]


@pytest.fixture
def start(processes: Processes, redis_server: RedisServer) -> Start:
    """A worker of this namespace, ready."""

    def start(namespace: str) -> Running:
        env = {"PALAVER_REDIS_URL": redis_server.url, "PALAVER_NAMESPACE": namespace}
        worker = processes.start((*WORKER, "-n", f"{namespace}@%h"), name=namespace, env=env)
        worker.wait_for(r"\bready\b", seconds=60)
        return worker

    return start


def test_neither_takes_the_messages_of_the_other(redis_server: RedisServer, start: Start) -> None:
    theirs = start("theirs")
    settings = Settings(redis_url=redis_server.url, namespace="ours")
    plain = Celery(broker=redis_server.url)
    with Client(settings) as client:
        handles = [client.submit("Hello", model="scripted/echo") for _ in range(10)]
        document = {"job_id": "plain", "session_id": "s1", "messages": "Hi", "model": "scripted/echo"}
        plain.send_task("palaver.submit", args=[document], queue="ours.submit")
        queues = status.look(settings).queues
        assert {name: length for name, length in queues.items() if length} == {
            "ours.normal": 10,
            "ours.submit": 1,
        }
        ours = start("ours")
        assert [handle.result(timeout=60).content for handle in handles] == ["Hello"] * 10
        ours.wait_for(r"palaver\.submit\[\S+ succeeded", seconds=60)
        assert client.job("plain").result(timeout=60).content == "Hi"
    plain.close()
    assert "palaver.chat[" not in theirs.output
    assert "palaver.submit[" not in theirs.output


def test_a_worker_is_controlled_in_its_namespace(
    redis_server: RedisServer, start: Start, processes: Processes
) -> None:
    for namespace in ("theirs", "ours"):
        start(namespace)
        # One that has taken a job listens to what it is told; one that is ready may be about to.
        with Client(Settings(redis_url=redis_server.url, namespace=namespace)) as client:
            assert client.submit("Hello", model="scripted/echo").result(timeout=60).content == "Hello"
    env = {"PALAVER_REDIS_URL": redis_server.url, "PALAVER_NAMESPACE": "ours"}
    command = ("celery", "-A", "palaver.workers", "inspect", "active_queues", "--timeout", "3")
    asked = processes.start(command, name="inspect", env=env)
    assert asked.wait() == 0, asked.output
    asked.drained()
    assert "1 node online" in asked.output
    assert "'name': 'ours.resume'" in asked.output
