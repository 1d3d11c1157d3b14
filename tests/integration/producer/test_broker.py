"""Messages to workers: Celery's format, one queue each, and a clear error in time when there is no broker."""

import asyncio
import json
import multiprocessing
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import celery
import pytest
import trustme

from palaver.producer import AsyncClient
from palaver.producer.broker import Broker
from palaver.shared.errors import BrokerUnavailableError
from palaver.shared.ledger import Dispatch
from palaver.shared.names import QUEUES, Queue
from palaver.shared.settings import Settings
from tests.faults.proxy import Proxy
from tests.servers import IN_TIME, RedisServer, come_to, free_port


def dispatch(number: int = 0, queue: str = Queue.NORMAL) -> Dispatch:
    return Dispatch(f"session-{number}", f"job-{number}", queue)


def messages(server: RedisServer, queue: str) -> list[dict[str, object]]:
    with server.client() as client:
        return [json.loads(raw) for raw in client.lrange(queue, 0, -1)]


def test_a_message_is_what_celery_itself_would_send(redis_server: RedisServer) -> None:
    Broker(redis_server.url).send([dispatch()])
    (message,) = messages(redis_server, Queue.NORMAL)
    app = celery.Celery(broker=redis_server.url)
    theirs = app.amqp.as_task_v2("job-0", "palaver.chat", ("session-0", "job-0"), ignore_result=True)
    ours = message["headers"]
    assert isinstance(ours, dict)
    assert {**ours, "origin": None} == {**theirs.headers, "origin": None}
    assert message["content-type"] == "application/json"


def test_the_body_names_a_session_and_a_job_and_nothing_else(redis_server: RedisServer) -> None:
    received: list[object] = []
    broker = Broker(redis_server.url)
    broker.send([dispatch()])
    app = celery.Celery(broker=redis_server.url)
    with app.connection_for_read() as connection:
        queue = connection.SimpleQueue(Queue.NORMAL)
        message = queue.get(timeout=5)
        received.append(message.payload)
        message.ack()
    assert received[0][:2] == [["session-0", "job-0"], {}]  # type: ignore[index]


def test_many_messages_arrive_in_order(redis_server: RedisServer) -> None:
    Broker(redis_server.url).send(dispatch(number) for number in range(1200))
    ids = [message["headers"]["id"] for message in messages(redis_server, Queue.NORMAL)]  # type: ignore[index]
    assert ids == [f"job-{number}" for number in reversed(range(1200))]


def test_queue_lengths(redis_server: RedisServer) -> None:
    broker = Broker(redis_server.url)
    broker.send([dispatch(1), dispatch(2), dispatch(3, Queue.HIGH)])
    lengths = broker.queue_lengths()
    assert lengths == {**dict.fromkeys(map(str, QUEUES), 0), "palaver.normal": 2, "palaver.high": 1}
    broker.close()


def test_no_broker_is_said_in_time_and_without_its_password() -> None:
    broker = Broker(f"redis://:geheim@127.0.0.1:{free_port()}/0")
    began = time.monotonic()
    with pytest.raises(BrokerUnavailableError, match=r"redis://:\*\*\*@127\.0\.0\.1") as caught:
        broker.check()
    assert time.monotonic() - began < IN_TIME
    assert "geheim" not in str(caught.value) + repr(broker)


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_never_answers_is_given_up_in_time(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker = Broker(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}//")
        began = time.monotonic()
        with pytest.raises(BrokerUnavailableError):
            broker.check()
    assert time.monotonic() - began < IN_TIME


def test_a_certificate_for_another_name_is_none(tmp_path: Path) -> None:
    trusted, served = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trusted.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    trusted.issue_cert("elsewhere.example").configure_cert(served)
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:

        def greet() -> None:
            with suppress(OSError), served.wrap_socket(server.accept()[0], server_side=True):
                pass

        pool.submit(greet)
        authority = f"ssl_ca_certs={tmp_path}/authority.pem"
        broker = Broker(f"amqps://127.0.0.1:{server.getsockname()[1]}//?{authority}")
        with pytest.raises(BrokerUnavailableError, match="certificate cannot be verified"):
            broker.check()


def test_who_waits_while_a_broker_is_found_silent_is_told_so_with_the_first() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, ThreadPoolExecutor(5) as pool:
        broker = Broker(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        together = threading.Barrier(5)

        def ask() -> None:
            together.wait()
            broker.prepare()

        for asking in [pool.submit(ask) for _ in range(5)]:
            assert isinstance(asking.exception(IN_TIME), BrokerUnavailableError)
        assert come_to(silent) == 1
        with pytest.raises(BrokerUnavailableError):  # who comes later asks again
            broker.prepare()
        assert come_to(silent) == 1


@pytest.mark.usefixtures("default_patience")
async def test_so_are_the_tasks_of_an_async_client(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        async with AsyncClient(settings.model_copy(update={"broker_url": url})) as client:
            jobs = [client.submit("x") for _ in range(5)]
            refused = await asyncio.gather(*jobs, return_exceptions=True)
        assert [type(error) for error in refused] == [BrokerUnavailableError] * 5
        assert come_to(silent) == 1


def test_a_broker_that_falls_silent_is_not_waited_for_twice(redis_server: RedisServer) -> None:
    with Proxy(redis_server.port) as proxy:
        broker = Broker(proxy.url)
        broker.check()
        before = len(proxy.links)
        proxy.stall()
        with pytest.raises(BrokerUnavailableError):
            broker.send([dispatch()])
        assert len(proxy.links) <= before


def test_a_broker_that_comes_back_is_used_again(own_redis) -> None:  # type: ignore[no-untyped-def]
    server = own_redis()
    broker = Broker(server.url)
    broker.send([dispatch(1)])
    server.running.kill()
    with pytest.raises(BrokerUnavailableError):
        broker.send([dispatch(2)])
    again = own_redis(port=server.port)
    broker.send([dispatch(3)])
    assert len(messages(again, Queue.NORMAL)) == 1


def test_a_forked_child_sends_on_a_connection_of_its_own(redis_server: RedisServer) -> None:
    broker = Broker(redis_server.url)
    broker.send([dispatch(1)])
    child = multiprocessing.get_context("fork").Process(target=broker.send, args=([dispatch(2)],))
    child.start()
    broker.send([dispatch(3)])
    child.join(20)
    assert child.exitcode == 0
    assert len(messages(redis_server, Queue.NORMAL)) == 3
