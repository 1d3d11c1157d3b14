"""What a worker says of a broker that restarts, or refuses: that it is lost, that it is back."""

import re
import signal
from collections import Counter
from collections.abc import Callable

import pytest
import redis

from palaver.producer import Client
from palaver.shared.settings import Settings
from tests.processes import Processes
from tests.servers import RedisServer, eventually

pytestmark = [pytest.mark.redis, pytest.mark.worker]


def test_a_restart_of_the_broker_costs_a_line_and_no_traceback(
    own_redis: Callable[..., RedisServer], processes: Processes
) -> None:
    server = own_redis()
    worker = processes.start(("palaver", "worker"), name="worker", env={"PALAVER_REDIS_URL": server.url})
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


def test_a_broker_that_lets_it_in_and_takes_nothing_costs_a_line(
    own_redis: Callable[..., RedisServer], processes: Processes
) -> None:
    server = own_redis()
    worker = processes.start(("palaver", "worker"), name="worker", env={"PALAVER_REDIS_URL": server.url})
    worker.wait_for(r"\bready\b", seconds=60)
    with server.client() as raw:
        raw.config_resetstat()
        raw.config_set("min-replicas-to-write", 1)
        assert eventually(lambda: refused_writes(raw) > 10)
        raw.config_set("min-replicas-to-write", 0)
    with Client(Settings(redis_url=server.url)) as client:
        assert client.submit("Hello", model="scripted/echo").result(timeout=60).content == "Hello"
    told = re.findall("Cannot connect to|broker.refused reason=.*|broker.unsteady", worker.output)
    assert told == ['broker.refused reason="it has too few replicas for a write"']


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
    assert server.running is not None
    server.running.kill()
    worker.wait_for("asked meanwhile: it has no connection to the broker")
    worker.wait_for("Cannot connect to")
