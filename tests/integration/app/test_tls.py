"""Ledger and broker behind TLS, by `rediss://` alone; nobody talks to a server that is not who it says."""

from pathlib import Path

import pytest
import trustme

from palaver.producer import Client
from palaver.shared.errors import LedgerUnavailableError
from palaver.shared.settings import Settings
from tests.processes import Processes
from tests.servers import free_port, missing, redis_binary, start_redis

pytestmark = [pytest.mark.redis, pytest.mark.worker]


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """The certificate of who vouches for the server."""
    return tmp_path / "authority.pem"


@pytest.fixture
def url(processes: Processes, tmp_path: Path, authority: Path) -> str:
    """A Redis that demands a certificate of its clients too; the URL names all that it takes."""
    binary = redis_binary("redis-7")  # the packaged one has no TLS
    if binary is None:
        missing("no Redis 7 server on this machine")
    trusted = trustme.CA()
    trusted.cert_pem.write_to_path(str(authority))
    for name in ("server", "client"):
        trusted.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            str(tmp_path / f"{name}.pem")
        )
    port, own = free_port(), str(tmp_path / "server.pem")
    options = ("--tls-cert-file", own, "--tls-key-file", own, "--tls-ca-cert-file", str(authority))
    start_redis(processes, binary, "--tls-port", str(port), *options)
    client = tmp_path / "client.pem"
    return f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority}&ssl_certfile={client}&ssl_keyfile={client}"


def test_a_job_goes_all_the_way(url: str, processes: Processes) -> None:
    worker = processes.start(("palaver", "worker"), name="worker", env={"PALAVER_REDIS_URL": url})
    worker.wait_for(r"\bready\b", seconds=60)
    with Client(Settings(redis_url=url)) as client:
        handle = client.submit("Hello", model="scripted/echo")
        assert "".join(chunk.delta for chunk in handle) == "Hello"
        assert handle.result(timeout=30).content == "Hello"
    assert "Traceback" not in worker.output


def test_a_server_that_a_stranger_vouches_for_is_none(url: str, authority: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(authority))
    with Client(Settings(redis_url=url)) as client, pytest.raises(LedgerUnavailableError) as refused:
        client.submit("Hello")
    assert "certificate cannot be verified" in str(refused.value)


def test_who_has_no_certificate_is_not_served(url: str) -> None:
    bare = url.partition("&")[0]
    with Client(Settings(redis_url=bare)) as client, pytest.raises(LedgerUnavailableError):
        client.submit("Hello")
