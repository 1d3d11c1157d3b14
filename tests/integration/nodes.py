"""pytest-celery's nodes on local processes: what it expects of a Docker container, told about a process.

pytest-celery drives brokers and workers as containers. It asks of one only what `ProcessContainer` has
here, so its nodes, clusters and `CeleryTestSetup` work unchanged on a machine without Docker.
"""

import os
import signal as signals
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_celery import CeleryTestContainer, CeleryWorkerContainer, RedisContainer  # type: ignore[import-untyped]
from pytest_docker_tools.exceptions import ContainerFailed  # type: ignore[import-untyped]

from tests.processes import WORKER, Processes, Running, clean_environment
from tests.servers import RedisServer

READY = r" ready\.$"


class ProcessContainer:
    """Has the members of a Docker container that pytest-celery touches."""

    def __init__(
        self, processes: Processes, running: Running, restart: Sequence[str], env: dict[str, str]
    ) -> None:
        self.id = uuid.uuid4().hex
        self.name = running.name
        self.running = running
        self._processes = processes
        self._words = restart
        self._env = env
        self.attrs: dict[str, Any] = {
            "Config": {"Hostname": "127.0.0.1", "Env": [f"{key}={value}" for key, value in env.items()]},
            "HostConfig": {"PortBindings": {}},
            "NetworkSettings": {"Networks": {}, "Ports": {}},
        }

    @property
    def status(self) -> str:
        return "running" if self.running.process.poll() is None else "exited"

    def reload(self) -> None:
        """Nothing to fetch: a process is asked each time."""

    def logs(self) -> bytes:
        return self.running.output.encode()

    def kill(self, signal: str | int | None = None) -> None:
        number = (
            signals.Signals[signal] if isinstance(signal, str) else signals.Signals(signal or signals.SIGKILL)
        )
        if number == signals.SIGKILL:
            self.running.kill()
        else:
            self.running.signal(number)

    def restart(self, timeout: float = 15) -> None:
        self.running.stop(timeout)
        self.running = self._processes.start(self._words, name="worker", env=self._env)

    def exec_run(self, command: str | Sequence[str], **_: Any) -> tuple[int, bytes]:
        words = command.split() if isinstance(command, str) else list(command)
        words[0] = sys.executable if words[0] == "python" else words[0]
        done = subprocess.run(
            words,
            env=clean_environment(self._env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return done.returncode, done.stdout

    def remove(self, force: bool = False) -> None:
        self.running.stop(0 if force else 15)


class _Local(CeleryTestContainer):  # type: ignore[misc]
    """Waits for a process without asking a Docker engine."""

    _container: ProcessContainer

    def ready(self) -> bool:
        if self._container.status == "exited":
            raise ContainerFailed(self, f"{self.name} ended:\n{self._container.running.tail()}")
        return self._wait_ready()

    def _wait_ready(self, timeout: int = 60) -> bool:
        if self.prompt:
            self._container.running.wait_for(self.prompt, seconds=timeout)
        return True

    prompt = ""


class LocalRedis(_Local, RedisContainer):  # type: ignore[misc]
    """A Redis that is running already."""

    def __init__(self, server: RedisServer, processes: Processes) -> None:
        assert server.running is not None
        super().__init__(ProcessContainer(processes, server.running, (), {}))
        self._server = server

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def hostname(self) -> str:
        return "127.0.0.1"

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def host_url(self) -> str:
        return self._server.url


class LocalWorker(_Local, CeleryWorkerContainer):  # type: ignore[misc]
    """A Palaver worker."""

    prompt = READY

    @classmethod
    def launch(cls, processes: Processes, env: dict[str, str], *options: str) -> "LocalWorker":
        """Start a worker; `ready()` waits until it consumes."""
        name = f"test-{uuid.uuid4().hex[:8]}@%h"
        # One interpreter and no console script in between, so that a signal reaches the worker itself.
        words = (*WORKER, "--hostname", name, *options)
        running = processes.start(words, name="worker", env=env)
        return cls(ProcessContainer(processes, running, words, env))

    @property
    def running(self) -> Running:
        return self._container.running

    @property
    def folder(self) -> Path:
        return Path(os.path.dirname(self.running.log))
