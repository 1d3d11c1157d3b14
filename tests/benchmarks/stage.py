"""What every measurement stands on: a Redis, a provider, a worker, each in a process of its own.

CPU and memory are read from /proc, so this needs Linux.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.processes import Processes, Running
from tests.servers import RedisServer, any_redis_binary, start_redis

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PATIENCE_SECONDS = 60
_SCHEDULED = 2
"""With a process's id complemented and shifted: the clock of its CPU, see clock_getcpuclockid(3)."""


class Stuck(Exception):
    """A worker does not do what it was given."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """So many streams at once, each of so many chunks, so many a second (0: as fast as they are read)."""

    streams: int
    chunks: int
    rate: float = 0
    stamped: bool = False
    slots: int = 0  # of the worker; 0: one for each stream

    @property
    def room(self) -> int:
        """How many jobs the worker takes at once."""
        return self.slots or self.streams

    @property
    def total(self) -> int:
        return self.streams * self.chunks

    @property
    def question(self) -> str:
        """What the provider is asked."""
        return json.dumps({"n": self.chunks, "rate": self.rate, "stamped": self.stamped})


@dataclass(frozen=True)
class Stage:
    """The servers of one measurement."""

    processes: Processes
    redis: RedisServer
    provider: Running
    provider_port: int

    @property
    def provider_url(self) -> str:
        return f"http://127.0.0.1:{self.provider_port}/v1"

    def provided(self) -> dict[str, Any]:
        """What the provider has written so far: begun, live, ended, written, late."""
        with urlopen(f"http://127.0.0.1:{self.provider_port}/_stats", timeout=60) as response:
            document: dict[str, Any] = json.load(response)
            return document

    def published(self) -> int:
        """How often anybody has published, by a command of its own or in a script."""
        with self.redis.client() as client:
            stats: Any = client.info("commandstats")
            return sum(
                int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("publish", "spublish")
            )

    def until(self, done: Callable[[dict[str, Any]], bool], *, every: float = 0.1) -> dict[str, Any]:
        """What the provider has written, as soon as it is enough."""
        provided, since = self.provided(), time.monotonic()
        while not done(provided):
            time.sleep(every)
            before, provided = provided, self.provided()
            if provided != before:
                since = time.monotonic()
            elif time.monotonic() - since > PATIENCE_SECONDS:
                raise Stuck(f"nothing more happens: {provided}")
        return provided


@contextmanager
def stage() -> Iterator[Stage]:
    """Fresh servers, ended with everything that was started beside them."""
    binary = any_redis_binary()
    if binary is None:
        raise SystemExit("there is no Redis server on this machine")
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder)) as processes:
        redis = start_redis(processes, binary)
        provider = processes.python("-m", "tests.benchmarks.provider", name="provider")
        yield Stage(processes, redis, provider, int(provider.wait_for(r"^(\d+)$")[1]))


def cpu_seconds(leader: int) -> float:
    """User and system time of a process and of all in its group; of their children that have ended, in whole
    ticks, as is all that /proc says.
    """
    used = 0.0
    for pid, fields in _group(leader):
        with suppress(OSError):  # it has ended meanwhile
            used += time.clock_gettime(~pid << 3 | _SCHEDULED) + sum(map(int, fields[13:15])) / TICKS
    return used


def thread_seconds(pid: int) -> dict[int, tuple[float, float]]:
    """User and system time of each thread of a process, by its id."""
    times = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = (thread / "stat").read_text().rpartition(")")[2].split()
            times[int(thread.name)] = (int(fields[11]) / TICKS, int(fields[12]) / TICKS)
    return times


def waited_seconds(pid: int) -> float:
    """How long the threads of a process could have run and had no core to run on."""
    waited = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            waited += int((thread / "schedstat").read_text().split()[1])
    return waited / 1e9


def memory_kb(leader: int) -> int:
    """Resident memory of a process and of all in its group."""
    return sum(int(fields[21]) * PAGE for _, fields in _group(leader)) // 1024


def _group(leader: int) -> Iterator[tuple[int, list[str]]]:
    """The ids, and the fields of /proc/PID/stat after the name, of all that `Processes` started together."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[2]) == leader:
                yield int(entry.name), fields
