"""Ledger and broker behind TLS, by `rediss://` alone; nobody talks to a server that is not who it says."""

from pathlib import Path

import pytest

from palaver.producer import Client
from palaver.shared.errors import LedgerUnavailableError
from palaver.shared.settings import Settings
from tests.certificates import Certificates, write_certificates
from tests.processes import Processes
from tests.servers import free_port, missing, redis_binary, start_redis, words

pytestmark = [pytest.mark.redis, pytest.mark.worker]


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return write_certificates(tmp_path)


@pytest.fixture
def url(processes: Processes, certificates: Certificates) -> str:
    """A Redis that demands a certificate of its clients too; the URL names all that it takes."""
    binary = redis_binary("redis-7")  # the packaged one has no TLS
    if binary is None:
        missing("no Redis 7 server on this machine")
    port = free_port()
    start_redis(processes, binary, *words(certificates.of_redis(port)))
    return f"rediss://127.0.0.1:{port}/0?{certificates.query}"


def test_a_job_goes_all_the_way(url: str, processes: Processes) -> None:
    worker = processes.start(("palaver", "worker"), name="worker", env={"PALAVER_REDIS_URL": url})
    worker.wait_for(r"\bready\b", seconds=60)
    with Client(Settings(redis_url=url)) as client:
        handle = client.submit("Hello", model="scripted/echo")
        assert "".join(chunk.delta for chunk in handle) == "Hello"
        assert handle.result(timeout=30).content == "Hello"
    assert "Traceback" not in worker.output


def test_a_server_that_a_stranger_vouches_for_is_none(url: str, certificates: Certificates) -> None:
    certificates.distrust()
    with Client(Settings(redis_url=url)) as client, pytest.raises(LedgerUnavailableError) as refused:
        client.submit("Hello")
    assert "certificate cannot be verified" in str(refused.value)


def test_who_has_no_certificate_is_not_served(url: str) -> None:
    bare = url.partition("&")[0]
    with Client(Settings(redis_url=bare)) as client, pytest.raises(LedgerUnavailableError):
        client.submit("Hello")
