"""A worker for the tests that leave it as it was; they are in one group, so that it starts once."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.integration.nodes import LocalWorker
from tests.processes import Processes, Running
from tests.servers import any_redis_binary, missing, start_redis


@dataclass(frozen=True)
class System:
    """A Redis that is broker and ledger, and a worker on it."""

    url: str
    environment: dict[str, str]
    worker: Running


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    binary = any_redis_binary() or missing("no Redis server on this machine")
    with Processes(tmp_path_factory.mktemp("system")) as processes:
        url = start_redis(processes, binary).url
        environment = {
            "PALAVER_REDIS_URL": url,
            "PALAVER_TENANTS": '{"bounded": {"queued": 1}}',
            "PALAVER_FILES_URL": f"file://{tmp_path_factory.mktemp('files')}",
        }
        worker = LocalWorker.launch(processes, environment, "--concurrency", "20", "--without-mingle")
        assert worker.ready()
        yield System(url, environment, worker.running)
