"""A batch through two worker processes, with the scripted provider in them: how fast, with how much memory.

python -m tests.benchmarks.batches 100000        this scenario alone; prints its figures
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from palaver.producer import BatchHandle, Client
from palaver.shared.settings import Settings
from tests.benchmarks.stage import Stage, cpu_seconds, memory_kb, stage
from tests.benchmarks.streams import Figures
from tests.processes import Running

WORKERS = 2
LOOK_SECONDS = 0.25
PROFILES = """
[providers.scripted]
kind = "scripted"
[providers.scripted.options]
rate = 0
"""


def batch(lines: int) -> Figures:
    """Lines a second from the opening to the end, output files included, and how much faster the first tenth
    was than the last; memory of the largest worker, and of the producer; bytes of the ledger for a finished
    line; milliseconds from the submit of a chat job in the middle to its first chunk.
    """
    with stage() as on:
        settings = _settings(on)
        workers = [_worker(on, settings, number) for number in range(WORKERS)]
        with Client(settings) as client:
            client.submit("warm up", model="scripted/echo").result(30)
            submitted = time.monotonic()
            handle = client.batch(_lines(lines))
            opening = time.monotonic() - submitted
            course = _Course(client, handle, workers)
            course.follow(lines)
            left = sum(
                int(on.redis.client().memory_usage(key) or 0)
                for key in on.redis.client().scan_iter(f"*{handle.batch_id}*")
            )
            return {
                "opened_a_second": lines / opening,
                "lines_a_second": lines / course.seconds,
                "last_tenth_to_first": course.last_tenth_to_first(lines),
                "last_tenth_cpu_to_first": course.last_tenth_cpu_to_first(lines),
                "worker_mb": course.memory_kb / 1024,
                "producer_mb": _peak_mb(),
                "ledger_bytes_a_line": left / lines,
                "chat_ms": course.chat_ms,
                "cpu_ms": sum(cpu_seconds(worker.pid) for worker in workers) / lines * 1000,
            }


class _Course:
    """What is seen of a batch while it runs."""

    def __init__(self, client: Client, handle: BatchHandle, workers: list[Running]) -> None:
        self._client = client
        self._handle = handle
        self._workers = workers
        self._done: list[tuple[float, int]] = []  # when how many lines were done
        self._cpu: list[tuple[float, int]] = []  # and by how many seconds of the workers' CPU
        self.memory_kb = 0
        self.chat_ms = 0.0
        self.seconds = 0.0

    def follow(self, lines: int) -> None:
        """Until the end."""
        while True:
            view = self._handle.progress
            self._done.append((time.time(), view.counts.done))
            self._cpu.append((sum(cpu_seconds(worker.pid) for worker in self._workers), view.counts.done))
            self.memory_kb = max(self.memory_kb, *(memory_kb(worker.pid) for worker in self._workers))
            if view.ended_at is not None:
                self.seconds = view.ended_at - view.created_at
                return
            if not self.chat_ms and view.counts.done > lines / 2:
                self.chat_ms = self._chat()
            time.sleep(LOOK_SECONDS)

    def last_tenth_to_first(self, lines: int) -> float:
        """The rate of the last tenth of the lines, as a part of that of the first."""
        return _tenth(self._done, 0, lines) / _tenth(self._done, 9, lines)

    def last_tenth_cpu_to_first(self, lines: int) -> float:
        """The CPU that a line of the last tenth takes, times that of the first: it bears company."""
        return _tenth(self._cpu, 9, lines) / _tenth(self._cpu, 0, lines)

    def _chat(self) -> float:
        began = time.monotonic()
        next(iter(self._client.submit("Hello there", model="scripted/echo")))
        return (time.monotonic() - began) * 1000


def _tenth(course: list[tuple[float, int]], number: int, lines: int) -> float:
    """What the tenth of this number took, of time or of CPU."""
    return _at(course, max(1, lines * (number + 1) / 10)) - _at(course, max(1, lines * number / 10))


def _at(course: list[tuple[float, int]], count: float) -> float:
    """Where so many lines were done, between two looks in proportion."""
    before = (course[0][0], 0)
    for at, done in course:
        if done >= count:
            part = (count - before[1]) / max(1, done - before[1])
            return before[0] + part * (at - before[0])
        before = (at, done)
    raise ValueError(f"{count} lines were never done")


def _lines(count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        script = json.dumps({"text": f"This is the answer to line {number}."})
        yield {"custom_id": f"line-{number}", "messages": script, "model": "scripted/echo"}


def _settings(on: Stage) -> Settings:
    folder = on.processes.folder
    config = folder / "palaver.toml"
    config.write_text(PROFILES, encoding="utf-8")
    return Settings(redis_url=on.redis.url, config=str(config), files_url=f"file://{folder}/files")


def _worker(on: Stage, settings: Settings, number: int) -> Running:
    environment = {
        "PALAVER_REDIS_URL": settings.redis_url,
        "PALAVER_CONFIG": settings.config,
        "PALAVER_FILES_URL": settings.files_url,
    }
    command = ("palaver", "worker", "--hostname", f"w{number}@bench", "--without-mingle")
    worker = on.processes.start(command, name=f"w{number}", env=environment)
    worker.wait_for("ready", seconds=60)
    return worker


def _peak_mb() -> float:
    """The largest that this process ever was."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    for name, value in batch(int(sys.argv[1])).items():
        print(f"{name:22} {value:,.2f}")
