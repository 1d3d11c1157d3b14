"""Celery's test architecture on local processes: a broker, Palaver workers, and an app that sends to them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_celery import CeleryBrokerCluster, CeleryTestWorker, CeleryWorkerCluster, RedisTestBroker  # type: ignore[import-untyped]

from tests.integration.cli.shell import Inside
from tests.integration.nodes import LocalRedis, LocalWorker
from tests.processes import Processes
from tests.servers import IN_TIME, RedisServer

StartWorker = Callable[..., LocalWorker]


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks Redis in this process takes a machine that does much else for no outage."""
    monkeypatch.setenv("PALAVER_CONNECT_SECONDS", str(IN_TIME))


@pytest.fixture
def default_patience(_patience: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As users have it who set nothing: for tests of what is silent."""
    monkeypatch.delenv("PALAVER_CONNECT_SECONDS")


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    """Commands without a process of their own, in an empty folder."""
    return Inside(tmp_path, monkeypatch, capsys)


@pytest.fixture
def celery_broker_cluster(
    own_redis: Callable[..., RedisServer], processes: Processes
) -> Iterator[CeleryBrokerCluster]:
    """One Redis of the test's own: it is the broker and the ledger."""
    cluster = CeleryBrokerCluster(RedisTestBroker(LocalRedis(own_redis(), processes)))
    yield cluster
    cluster.teardown()


@pytest.fixture
def celery_backend_cluster() -> None:
    """No results: what became of a job stands in the ledger."""


@pytest.fixture
def worker_env(celery_broker_cluster: CeleryBrokerCluster, palaver_env: dict[str, str]) -> dict[str, str]:
    """Environment of the workers; add to it before `celery_setup` is asked for."""
    return {**palaver_env, "PALAVER_REDIS_URL": celery_broker_cluster[0].container.url}


@pytest.fixture
def worker_options() -> tuple[str, ...]:
    """Options of every worker; override it in a test module or class."""
    return ("--concurrency", "20", "--without-mingle")


@pytest.fixture
def start_worker(
    processes: Processes, worker_env: dict[str, str], worker_options: tuple[str, ...]
) -> StartWorker:
    """Start one more worker, and wait until it consumes."""

    def start(*options: str, **env: str) -> LocalWorker:
        worker = LocalWorker.launch(processes, {**worker_env, **env}, *worker_options, *options)
        assert worker.ready()
        return worker

    return start


@pytest.fixture
def celery_worker_cluster(start_worker: StartWorker) -> Iterator[CeleryWorkerCluster]:
    """One worker; `start_worker` adds more."""
    cluster = CeleryWorkerCluster(CeleryTestWorker(start_worker(), app=None))
    yield cluster
    cluster.teardown()
