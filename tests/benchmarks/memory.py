"""What a live stream holds of its worker's memory, as a table: objects by whose code made them, and the rest.

    python -m tests.benchmarks.memory [STREAMS]

So many streams (300) more in a worker that has 200: once as they are, for the resident memory, and once
traced by `tracemalloc`, whose own memory would be counted there.
"""

from __future__ import annotations

import re
import signal
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from palaver.producer import Client
from tests.benchmarks.contenders import Palaver
from tests.benchmarks.stage import Load, Stage, memory_kb, stage
from tests.benchmarks.streams import SETTLING_SECONDS
from tests.processes import Running

T = TypeVar("T")

FEW: Final = 200
RATE: Final = 4
LONG: Final = 1000  # chunks: the streams outlive the measurement
LEAST_BYTES: Final = 200  # a smaller row is one of the others


class Traced(Palaver):
    """The same worker, traced."""

    @property
    def snapshot(self) -> Path:
        return self.stage.processes.folder / "snapshot"

    def start(self) -> Running:
        words = ("-m", "tests.benchmarks.traced", self.snapshot, "--concurrency", str(self.load.room))
        worker = self.stage.processes.python(*words, name="traced", env=self.environment)
        worker.wait_for("ready", seconds=60)
        return worker

    def taken(self, worker: Running) -> tracemalloc.Snapshot:
        """What it holds now."""
        worker.signal(signal.SIGUSR2)
        while not self.snapshot.exists():
            time.sleep(0.05)
        snapshot = tracemalloc.Snapshot.load(str(self.snapshot))
        self.snapshot.unlink()
        return snapshot


def resident(more: int) -> float:
    """Bytes of resident memory for each stream more."""
    with stage() as on:
        worker = Palaver(on, _load(more))
        process = worker.start()
        before, after = _around(on, worker, more, lambda: memory_kb(process.pid))
    return (after - before) * 1024 / more


def objects(more: int) -> Counter[str]:
    """Bytes of objects for each stream more, by whose code made them."""
    with stage() as on:
        worker = Traced(on, _load(more))
        process = worker.start()
        before, after = _around(on, worker, more, lambda: worker.taken(process))
    found: Counter[str] = Counter()
    for line in after.compare_to(before, "filename"):
        found[_whose(line.traceback[0].filename)] += line.size_diff
    return Counter({whose: round(size / more) for whose, size in found.items()})


def table(more: int) -> Iterator[str]:
    """Its lines, in KB."""
    made, whole = objects(more), resident(more)
    shown = [(whose, size) for whose, size in made.most_common() if size >= LEAST_BYTES]
    rows = {
        **dict(shown),
        "others": made.total() - sum(size for _, size in shown),
        "**objects**": made.total(),
        "what the allocator holds besides, buffers of C, holes": whole - made.total(),
        "**resident memory**": whole,
    }
    yield f"| of each of {more} streams beyond {FEW} | KB |"
    yield "|---|---|"
    for what, size in rows.items():
        yield f"| {what} | {size / 1024:.1f} |"


def _load(more: int) -> Load:
    return Load(streams=FEW + more, chunks=LONG, rate=RATE)


def _around(on: Stage, worker: Palaver, more: int, look: Callable[[], T]) -> tuple[T, T]:
    """What a look gives at few live streams, and at so many more."""
    looks = []
    with Client(worker.settings) as client:
        for first, last in ((0, FEW), (FEW, FEW + more)):
            question = worker.load.question
            client.submit_many(
                {"messages": question, "model": "bench/m", "session_id": f"bench-{number}"}
                for number in range(first, last)
            )
            _await_live(on, last)
            time.sleep(SETTLING_SECONDS)
            looks.append(look())
    return looks[0], looks[1]


def _await_live(on: Stage, streams: int) -> None:
    on.until(lambda provided: provided["live"] == streams)


def _whose(file: str) -> str:
    """A module of ours, a package of others', or Python."""
    if ours := re.search(r"palaver/((?:workers|shared)/.*)$", file):
        return f"palaver/{ours[1]}"
    if theirs := re.search(r"site-packages/([^/]+)", file):
        return theirs[1]
    return "asyncio" if "/asyncio/" in file else "Python"


if __name__ == "__main__":
    for row in table(int(sys.argv[1]) if len(sys.argv) > 1 else 300):
        print(row, flush=True)
