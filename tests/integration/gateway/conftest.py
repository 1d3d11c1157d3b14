"""One Redis, one worker and one gateway for all tests here; each test has ids of its own."""

import json
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from palaver.producer import Client
from palaver.shared.settings import Settings
from tests.http_clients import async_http_client, http_client
from tests.integration.gateway.here import Here, gateway_here
from tests.integration.gateway.keys import make_key
from tests.integration.ledger.world import World
from tests.processes import ROOT, WORKER, Processes, Running
from tests.servers import IN_TIME, RedisServer, any_redis_binary, missing, start_redis

SECRET = "of the gateway, its workers and the tests"
PALAVER_TOML = """
[providers.scripted]
kind = "scripted"
options = { rate = 0 }
[providers.slow]
kind = "scripted"
options = { rate = 50 }
[models]
default = "scripted/echo"
"""


@dataclass(frozen=True)
class Stand:
    """The running system. `key` is that of the tenant `acme`, whose Python clients use `client`."""

    settings: Settings
    processes: Processes
    environment: dict[str, str]
    url: str
    key: str
    client: Client

    def make_key(self, **fields: Any) -> str:
        """Another API key."""
        return make_key(self.settings, **fields)

    def http(self, key: str | None = None, **options: Any) -> httpx2.Client:
        """A client of the gateway, with `acme`'s key or another one."""
        headers = {"authorization": f"Bearer {key or self.key}"}
        return http_client(base_url=self.url, headers=headers, timeout=30, **options)

    def start_gateway(self, *words: str, env: dict[str, str] | None = None) -> tuple[Running, str]:
        """Another gateway process, and its address."""
        command = ("palaver", "gateway", "--port", "0", "--json", *words)
        running = self.processes.start(command, name="gateway", env={**self.environment, **(env or {})})
        ready = running.wait_for(r'"ready":true,"url":"([^"]+)"', seconds=60)
        return running, ready[1]


def script(**fields: Any) -> str:
    """A prompt that tells the scripted provider what to do."""
    return json.dumps(fields)


def new_session() -> str:
    """A session's id that nobody has."""
    return f"s-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with running_stand(tmp_path_factory.mktemp("gateway")) as stand:
        yield stand


@contextmanager
def running_stand(
    folder: Path, *, toml: str = PALAVER_TOML, worker_env: dict[str, str] | None = None
) -> Iterator[Stand]:
    binary = any_redis_binary()
    if binary is None:
        missing("no Redis server on this machine")
    config = folder / "palaver.toml"
    config.write_text(toml)
    with Processes(folder) as processes:
        redis = start_redis(processes, binary)
        values = {"redis_url": redis.url, "config": str(config), "secret": SECRET}
        values |= {"files_url": f"file://{folder}/files"}
        settings = Settings(**values, connect_seconds=IN_TIME)
        environment = {f"PALAVER_{name.upper()}": value for name, value in values.items()}
        key = make_key(settings, tenant="acme")
        worker = processes.start(
            (*WORKER, "--without-mingle", "--concurrency", "100"),
            name="worker",
            env={**environment, "PYTHONPATH": str(ROOT), "PALAVER_DRAIN_SECONDS": "1", **(worker_env or {})},
        )
        with Client(settings) as client:
            stand = Stand(settings, processes, environment, "", key, client)
            _, url = stand.start_gateway()
            worker.wait_for(r"\bready\b", seconds=60)
            yield Stand(settings, processes, environment, url, key, client)


@pytest.fixture
def http(stand: Stand) -> Iterator[httpx2.Client]:
    with stand.http() as client:
        yield client


@pytest.fixture
async def ahttp(stand: Stand) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"authorization": f"Bearer {stand.key}"}
    async with async_http_client(base_url=stand.url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def world(redis_server: RedisServer) -> Iterator[World]:
    """The ledger of `here`, where the test is the worker."""
    world = World(redis_server, secret=SECRET, drain_seconds=1.0)
    yield world
    world.close()


@pytest.fixture
def here(world: World) -> Iterator[Here]:
    with gateway_here(world.settings) as here:
        yield here
