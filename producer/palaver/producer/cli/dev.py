"""`palaver dev`: Redis, a worker, the gateway and Flower, started, watched and stopped together."""

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from palaver.producer.broker import Broker
from palaver.producer.cli import ports
from palaver.producer.cli.embedded import choose_server
from palaver.producer.cli.failures import complain
from palaver.producer.cli.folder import FOLDER, Addresses, DevFolder
from palaver.producer.cli.gateway import PORT as GATEWAY_PORT
from palaver.producer.cli.gateway import is_installed
from palaver.producer.cli.processes import Part, PartDied, Parts, StopAsked
from palaver.producer.cli.terminal import bold, columns, dim, harmless, note, seconds, write, write_json
from palaver.producer.cli.worker import WORKER, require_worker
from palaver.shared.errors import ConfigurationError, LedgerUnavailableError
from palaver.shared.ledger import SyncLedger
from palaver.shared.profiles import Catalog
from palaver.shared.redis_url import DEFAULT_PORT
from palaver.shared.settings import Settings, redacted_url

REDIS_STARTS = 10.0  # seconds
WORKER_STARTS = 60.0
FLOWER_STARTS = 30.0  # it is a convenience: without it the stack is ready all the same
FLOWER_PORT = 5555
GATEWAY_STARTS = 30.0
DRAINS = 3.0  # whoever stops a dev waits for it
STOPS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which parts, and where; a port of 0 is any that is free, None the usual one if it is free, else any."""

    port_redis: int | None = None
    port_flower: int | None = None
    flower: bool = True
    port_gateway: int | None = None
    gateway: bool = True
    workers: int = 1
    concurrency: int | None = None
    agents: str | None = None


def run(options: Options, *, as_json: bool) -> int:
    """Start everything, say so, and stay until Ctrl-C (exit code 0) or until a part dies (1)."""
    try:
        with running(options, Path.cwd()) as (stack, parts):
            _say_ready(stack, as_json=as_json)
            try:
                parts.watch()
            except StopAsked:
                note("\nstopping (Ctrl-C again: at once) …" if sys.stderr.isatty() else "stopping …")
    except PartDied as death:
        return say_died(death, DevFolder(Path.cwd()))
    except StopAsked:
        pass  # while it was starting
    note("stopped")
    return 0


@contextlib.contextmanager
def running(options: Options, root: Path) -> Iterator[tuple["Stack", Parts]]:
    """The whole stack, ready, in the folder `root`; stopped in order at the end of the block.

    Raises PartDied and StopAsked while it starts, as `Parts.watch` and `Parts.until` do in the block.
    """
    require_worker()
    folder = DevFolder(root)
    with folder.held() as mine:
        if not mine:
            raise ConfigurationError(_already_runs(folder))
        settings = Settings.load()
        Catalog.load(settings)  # what is wrong with it is said before anything is started
        with folder.open_log() as log, Parts(log) as parts, parts.signals():
            stack = Stack(options, settings, folder, parts)
            grace = STOPS
            try:
                stack.start()
                folder.publish(stack.addresses)
                yield stack, parts
            except PartDied:
                grace = 1.0  # the others may be waiting for it
                raise
            finally:
                parts.stop(grace=grace)


class Stack:
    """The parts, in the order of their start: each needs those before it."""

    def __init__(self, options: Options, settings: Settings, folder: DevFolder, parts: Parts) -> None:
        self._options = options
        self._folder = folder
        self._parts = parts
        self.settings = settings
        self.server = "PALAVER_REDIS_URL"
        self.workers: dict[str, Part] = {}  # by the name under which each is announced
        self.flower_url: str | None = None
        self.gateway_url: str | None = None
        self.agents: list[str] = []
        self.took = 0.0

    @property
    def addresses(self) -> Addresses:
        return Addresses(
            pid=os.getpid(),
            redis_url=self.settings.redis_url,
            broker_url=self.settings.broker_url,
            namespace=self.settings.namespace,
            config=self.settings.config,
            files_url=self.settings.files_url or self._folder.files_url,
            flower_url=self.flower_url,
            gateway_url=self.gateway_url,
            log=str(self._folder.log),
            parts=self._parts.pids,
        )

    def start(self) -> None:
        """Start all parts; returns when the workers have announced themselves: they consume."""
        begun = time.monotonic()
        own_redis = "redis_url" not in self.settings.model_fields_set
        if not own_redis:
            SyncLedger(self.settings).check()
        if self.settings.broker_url != self.settings.redis_url:
            with contextlib.closing(Broker.of(self.settings)) as broker:
                broker.check()
        if own_redis:
            self._start_redis()
        for number in range(1, self._options.workers + 1):
            self._start_worker(number)
        if self._options.gateway and is_installed():
            self._start_gateway()
        self._await_workers()
        if self._options.flower:
            self._start_flower()
        self.took = time.monotonic() - begun

    def _start_redis(self) -> None:
        # Somebody may take a free port between its choice and its use: then another one.
        asked = self._options.port_redis
        attempts = 1 if asked else 3
        for attempt in range(1, attempts + 1):
            port = ports.choose(asked, usual=DEFAULT_PORT)
            server = choose_server(port, self._folder.path)
            self.settings = Settings.load(redis_url=f"redis://127.0.0.1:{port}/0")
            part = self._parts.start("redis", server.command)
            try:
                self._await_redis(part)
            except PartDied:
                if attempt == attempts:
                    raise
                self._parts.discard(part)
            else:
                self.server = server.label
                return

    def _await_redis(self, part: Part) -> None:
        ledger = SyncLedger(self.settings)
        if not self._parts.until(lambda: _answers(ledger), seconds=REDIS_STARTS):
            raise ConfigurationError(self._too_late(part, REDIS_STARTS))

    def _start_worker(self, number: int) -> None:
        name = f"dev-{os.getpid()}-{number}@{socket.gethostname()}"
        # To look for other workers would cost it a second.
        command = [*WORKER, "--hostname", name, "--without-mingle", "--without-gossip"]
        if self._options.concurrency:
            command += ["--concurrency", str(self._options.concurrency)]
        environment = self._environment()
        if "drain_seconds" not in self.settings.model_fields_set:
            environment["PALAVER_DRAIN_SECONDS"] = str(DRAINS)
        if self._options.agents:
            environment["PALAVER_AGENTS"] = self._options.agents
        part = "worker" if self._options.workers == 1 else f"worker {number}"
        self.workers[name] = self._parts.start(part, command, env=environment)

    def _await_workers(self) -> None:
        ledger = SyncLedger(self.settings)

        def silent() -> list[Part]:
            names = {worker.data.get("name") for worker in ledger.workers()}
            return [part for name, part in self.workers.items() if name not in names]

        if not self._parts.until(lambda: not silent(), seconds=WORKER_STARTS):
            raise ConfigurationError(self._too_late(silent()[0], WORKER_STARTS))
        self.agents = [agent.name for agent in ledger.announced_agents()]

    def _start_gateway(self) -> None:
        port = ports.choose(self._options.port_gateway, usual=GATEWAY_PORT)
        self.gateway_url = f"http://{ports.HOST}:{port}"
        command = [sys.executable, "-m", "palaver.producer.cli", "gateway", "--port", str(port)]
        part = self._parts.start("gateway", command, env=self._environment())
        if not self._parts.until(lambda: ports.listens(port), seconds=GATEWAY_STARTS):
            raise ConfigurationError(self._too_late(part, GATEWAY_STARTS))

    def _start_flower(self) -> None:
        """After the worker: Flower asks for the workers once, when it starts."""
        if not find_spec("flower"):
            return
        port = ports.choose(self._options.port_flower, usual=FLOWER_PORT)
        self.flower_url = f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "celery", "-A", "palaver.workers", "flower"]
        command += ["--address=127.0.0.1", f"--port={port}", f"--conf={_flower_configuration()}"]
        # Without a login Flower refuses what its buttons ask for (Terminate …), unless it is told not to.
        environment = {**self._environment(), "FLOWER_UNAUTHENTICATED_API": "true"}
        self._parts.start("flower", command, env=environment)
        self._parts.until(lambda: ports.listens(port), seconds=FLOWER_STARTS)

    def _environment(self) -> dict[str, str]:
        addresses = self.addresses
        return {
            "PALAVER_REDIS_URL": addresses.redis_url,
            "PALAVER_BROKER_URL": addresses.broker_url,
            "PALAVER_FILES_URL": addresses.files_url,
        }

    def _too_late(self, part: Part, limit: float) -> str:
        return f"{part.name} did not answer within {limit:.0f} s; see {FOLDER / self._folder.log.name}"


def _answers(ledger: SyncLedger) -> bool:
    try:
        ledger.check()
    except LedgerUnavailableError:
        return False
    return True


def _flower_configuration() -> str:
    # Only located: Flower executes it, and this process imports nothing of a worker.
    spec = find_spec("palaver.workers")
    return str(Path(spec.origin).with_name("flowerconfig.py")) if spec and spec.origin else ""


def _say_ready(stack: Stack, *, as_json: bool) -> None:
    addresses, worker = stack.addresses, next(iter(stack.workers))
    if as_json:
        write_json({"ready": True, **asdict(addresses), "server": stack.server, "worker": worker})
        return
    same_broker = addresses.broker_url == addresses.redis_url
    gateway = addresses.gateway_url or ("not started" if is_installed() else "needs palaver[gateway]")
    flower = addresses.flower_url or ("not started" if find_spec("flower") else "needs palaver[flower]")
    rows = [
        ("Redis", redacted_url(addresses.redis_url), dim(stack.server)),
        *([] if same_broker else [("broker", redacted_url(addresses.broker_url), "")]),
        ("worker", worker, ""),
        *([("agents", ", ".join(stack.agents), "")] if stack.agents else []),
        ("gateway", gateway, dim("OpenAI's clients: base_url=…/v1") if addresses.gateway_url else ""),
        ("Flower", flower, ""),
        ("log", str(FOLDER / "dev.log"), ""),
    ]
    write(columns(rows))
    agent = next((f"--agent {path} " for path in stack.agents if "<" not in path), "")
    hint = dim(f' · palaver chat {agent}"Hello" · Ctrl-C stops it all')
    write(f"{bold('ready')} after {seconds(stack.took)}{hint}\n")


def say_died(death: PartDied, folder: DevFolder) -> int:
    """Which part ended, and what it said last; returns the exit code."""
    complain(f"{death}, so everything was stopped. The end of its part of {folder.log}:")
    for line in death.part.last_lines:
        note(f"  {harmless(line)}")
    return 1


def _already_runs(folder: DevFolder) -> str:
    running = folder.addresses()
    who = f" (process {running.pid}, {redacted_url(running.redis_url)})" if running else ""
    return f"palaver dev already runs in this folder{who}: use it, stop it, or take another folder"
