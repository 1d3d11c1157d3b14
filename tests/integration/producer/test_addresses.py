"""A Redis is reached by every form of URL that is documented, by producers and by a worker."""

from collections.abc import Callable

import pytest

from palaver.producer import Client
from palaver.producer.cli import status
from palaver.shared.settings import Settings
from tests.processes import Processes
from tests.servers import RedisServer

PASSWORD = "p@ss/w#rd?&"
QUOTED = "p%40ss%2Fw%23rd%3F%26"

FORMS = [
    "unix://{socket}?password={quoted}",
    "unix://:{quoted}@{socket}?db=1",
    "redis://127.0.0.1:{port}?password={quoted}",
    "redis://default:{quoted}@127.0.0.1:{port}/1",
    "redis://:{quoted}@localhost:{port}/1?db=0",
]


@pytest.fixture
def form(
    own_redis: Callable[..., RedisServer], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """The URL of this form for a server that also listens on a socket and wants a password."""
    socket = tmp_path_factory.mktemp("s") / "r"  # short: at most 107 bytes
    server = own_redis("--unixsocket", str(socket))
    with server.client() as client:
        client.config_set("requirepass", PASSWORD)
    return lambda form: form.format(socket=socket, quoted=QUOTED, port=server.port)


@pytest.mark.parametrize("url", FORMS)
def test_a_producer_reaches_ledger_and_broker(form: Callable[[str], str], url: str) -> None:
    settings = Settings(redis_url=form(url))
    with Client(settings) as client:
        handle = client.submit("Hello")
        assert next(handle.events()).type == "job_queued"
        assert status.look(settings).queues["palaver.normal"] == 1


@pytest.mark.worker
@pytest.mark.parametrize("url", [FORMS[1], FORMS[2]])
def test_a_worker_answers(form: Callable[[str], str], url: str, processes: Processes) -> None:
    settings = Settings(redis_url=form(url))
    worker = processes.start(
        ("palaver", "worker"), name="worker", env={"PALAVER_REDIS_URL": settings.redis_url}
    )
    worker.wait_for(r"\bready\b", seconds=60)
    with Client(settings) as client:
        assert client.submit("Hello").result(timeout=60).content == "Hello"
    assert PASSWORD not in worker.output
    assert QUOTED not in worker.output
