"""A real RabbitMQ of one's own: on free ports of the loopback, in the folder of a test, with an epmd."""

import os
import shutil
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kombu import Connection

from palaver.shared.names import QUEUES
from tests.processes import Processes, Running
from tests.servers import eventually, free_port, missing

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
CONTROL = "/usr/lib/rabbitmq/bin/rabbitmqctl"
# Erlang's schedulers spin while they wait, which costs other processes of a small machine their time.
FRUGAL = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"


@dataclass(eq=False)
class RabbitMQ:
    """A server, to be killed, started again with what it has kept, and asked."""

    processes: Processes
    port: int
    folder: Path
    environment: Mapping[str, str] = field(repr=False)
    running: Running | None = None

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        """Start it, for the first time or with all that it had, and wait until it listens."""
        self.running = self.processes.start((SERVER,), name="rabbitmq", env=self.environment)
        self.running.wait_for("completed with", seconds=90)

    def kill(self) -> None:
        """SIGKILL, as a crash of its machine."""
        assert self.running is not None
        self.running.kill()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """SIGSTOP for the length of the block: its kernel goes on to take in connections and bytes."""
        assert self.running is not None
        os.killpg(self.running.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.running.pid, signal.SIGCONT)

    def restart(self) -> None:
        self.kill()
        self.start()

    def forget_queues(self) -> None:
        """Remove all queues of Palaver, with what is in them."""
        with Connection(self.url) as connection:
            channel: Any = connection.default_channel
            for queue in QUEUES:
                channel.queue_delete(queue)

    def control(self, *words: str) -> str:
        """What `rabbitmqctl` says; it takes seconds to start."""
        asked = self.processes.start((CONTROL, *words), name="rabbitmqctl", env=self.environment)
        assert asked.wait(60) == 0, asked.tail()
        asked.drained()
        return asked.output

    def kinds(self) -> dict[str, str]:
        """Of each queue, whether it is `classic` or `quorum`."""
        return {name: kind for name, (kind,) in self.queues("type").items()}

    def queues(self, *columns: str) -> dict[str, list[str]]:
        """What `rabbitmqctl list_queues` says in these columns, by the name of the queue."""
        listed = self.control("--quiet", "--no-table-headers", "list_queues", "name", *columns)
        rows = [line.split("\t") for line in listed.splitlines() if "\t" in line]
        return {name: values for name, *values in rows}


def start_rabbitmq(processes: Processes, *settings: str) -> RabbitMQ:
    """Start a server that listens on the loopback alone; `settings` are Erlang's, as
    `{consumer_timeout, 2000}`.
    """
    if not os.access(SERVER, os.X_OK) or shutil.which("epmd") is None:
        missing("no RabbitMQ on this machine")
    port, names, peers = free_port(), free_port(), free_port()
    folder = processes.folder / f"rabbitmq-{port}"
    folder.mkdir()
    (folder / "advanced.config").write_text(f"[{{rabbit, [{', '.join(settings)}]}}].\n")
    (folder / "plugins").write_text("[].\n")
    server = RabbitMQ(processes, port, folder, _environment(folder, port, names, peers))
    # By itself Erlang would start one that outlives it, and us.
    epmd = processes.start(("epmd", "-port", str(names), "-address", "127.0.0.1"), name="epmd")
    assert eventually(lambda: _listens(names)), epmd.tail()
    server.start()
    return server


def _environment(folder: Path, port: int, names: int, peers: int) -> dict[str, str]:
    return {
        "HOME": str(folder),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": str(folder / "none"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_NODENAME": f"palaver{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(peers),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": FRUGAL,
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(names),
    }


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
