"""Fixtures of every test: real servers, processes that are waited for and ended, and nothing from outside."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from palaver.shared.collector import COLLECTIONS
from tests import guard
from tests.processes import WORKER, Processes, Running
from tests.servers import (
    FLAVOURS,
    RedisServer,
    any_redis_binary,
    missing,
    new_namespace,
    redis_binary,
    required,
    run_fakeredis,
    start_redis,
)

# Examples are searched at random, but are the same each time where nothing may be skipped: a change is not
# to be judged by luck. How long one takes says something of the machine alone.
settings.register_profile(
    "patient",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("PALAVER_TEST_REQUIRE")),
)
settings.load_profile("patient")

# To rewrite the asserts of all tests takes each process of the suite ten seconds; the next one finds it done.
sys.dont_write_bytecode = False

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # So a shell's script starts what it does not wait for; the commands of the tests are to heed Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

guard.install()
for _name in [name for name in os.environ if name.startswith("PALAVER_")]:
    if not _name.startswith("PALAVER_TEST_"):
        del os.environ[_name]  # what a developer has set must not reach the tests

_PROCESSES = pytest.StashKey[list[Processes]]()


class _Servers:
    """Servers shared by the tests of one pytest process, started when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.stack = ExitStack()
        self.processes = self.stack.enter_context(Processes(folder))
        self._started: dict[str, RedisServer] = {}

    def get(self, flavour: str) -> RedisServer:
        if flavour not in self._started:
            self._started[flavour] = self._start(flavour)
        return self._started[flavour]

    def _start(self, flavour: str) -> RedisServer:
        if flavour == "fakeredis":
            return self.stack.enter_context(run_fakeredis())
        binary = any_redis_binary() if flavour == "redis" else redis_binary(flavour)
        if binary is None:
            missing(f"no {flavour} server on this machine")
        return start_redis(self.processes, binary)


@pytest.fixture(scope="session")
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Servers]:
    servers = _Servers(tmp_path_factory.mktemp("servers"))
    with servers.stack:
        yield servers


def _emptied(server: RedisServer) -> RedisServer:
    """Of all but the scripts that it knows: each test would load its own again."""
    with server.client() as client:
        client.flushall()
    return server


@pytest.fixture
def redis_server(_servers: _Servers) -> RedisServer:
    """The best real Redis of this machine, empty. Shared by the tests of this process: do not stop it."""
    return _emptied(_servers.get("redis"))


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """Address of `redis_server`."""
    return redis_server.url


@pytest.fixture(params=FLAVOURS)
def any_redis(request: pytest.FixtureRequest, _servers: _Servers) -> RedisServer:
    """Runs the test over Redis 7, Redis 6.2 and fakeredis, each empty."""
    return _emptied(_servers.get(request.param))


@pytest.fixture
def namespace() -> str:
    """A key prefix of this test's own."""
    return new_namespace()


@pytest.fixture
def processes(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Processes]:
    """Start processes in the test's own folder; all are ended after it, and shown when it fails."""
    with Processes(tmp_path) as started:
        request.node.stash.setdefault(_PROCESSES, []).append(started)
        yield started


@pytest.fixture
def own_redis(processes: Processes) -> Callable[..., RedisServer]:
    """Start a Redis for this test alone: `own_redis("--appendonly", "yes", port=0)`."""

    def start(*options: str, port: int = 0) -> RedisServer:
        binary = any_redis_binary()
        if binary is None:
            missing("no Redis server on this machine")
        return start_redis(processes, binary, *options, port=port)

    return start


@pytest.fixture
def palaver_env(redis_server: RedisServer, tmp_path: Path) -> dict[str, str]:
    """PALAVER_* settings of one system on `redis_server`; its palaver.toml, at PALAVER_CONFIG, is empty."""
    config = tmp_path / "palaver.toml"
    config.touch()
    return {"PALAVER_REDIS_URL": redis_server.url, "PALAVER_CONFIG": str(config)}


@pytest.fixture
def worker(processes: Processes, palaver_env: dict[str, str]) -> Callable[..., Running]:
    """Start a worker process and wait until it consumes: `worker("--concurrency", "50", env={…})`."""

    def start(*options: str, env: dict[str, str] | None = None) -> Running:
        # To look for other workers costs a second; there is nothing to learn from them here.
        words = (*WORKER, "--without-mingle", *options)
        running = processes.start(words, name="worker", env={**palaver_env, **(env or {})})
        running.wait_for(r"\bready\b", seconds=60)
        return running

    return start


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Modules and tests stay to the end: a search of them for garbage finds nothing, now or later. While they
    are collected such searches take each process more than a second; later, as often as Python makes them, a
    twentieth of its time.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(*COLLECTIONS)
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A skip fails where everything is required; a failure shows what its processes wrote last."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.skipped and required() and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, and PALAVER_TEST_REQUIRE=all forbids it: {report.longrepr}"
    if report.failed:
        for processes in item.stash.get(_PROCESSES, []):
            for running in processes.all:
                report.sections.append((f"{running.name} ({running.log})", running.tail()))
    return report  # type: ignore[return-value]


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    """A whole file that skips itself is a skip too."""
    report: pytest.CollectReport = yield  # type: ignore[assignment]
    if report.skipped and required():
        report.outcome = "failed"
        report.longrepr = f"skipped, and PALAVER_TEST_REQUIRE=all forbids it: {report.longrepr}"
    return report  # type: ignore[return-value]
