"""What a worker says of a broker that restarts: that it is lost, that it is back, and no traceback."""

import re
import signal
from collections import Counter
from collections.abc import Callable

import pytest

from palaver.producer import Client
from palaver.shared.settings import Settings
from tests.processes import Processes
from tests.servers import RedisServer

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
