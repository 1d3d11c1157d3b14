"""Where the worker's time goes, by py-spy, as tables: of a chunk at 1,000 streams, and of a short job.

    python -m tests.benchmarks.profile

The kernel says what CPU the loop's thread and the others took for a while, and how much of it in system
calls. Then samples of the loop's thread, with the frames of C, share out what it took: those in a system call
its system time, all others its user time. `make bench` does it too.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tests.benchmarks.contenders import RIVAL_PYTHON, Palaver
from tests.benchmarks.jobs import AT_ONCE, SHORT
from tests.benchmarks.stage import Load, Stage, stage, thread_seconds
from tests.benchmarks.streams import SETTLING_SECONDS

SECONDS: Final = 10
JOBS: Final = 30_000  # more than a worker does meanwhile

Parts = tuple[tuple[str, str], ...]
"""The innermost frame that fits one of these says what a sample of the loop's thread was doing."""

OF_THE_SYSTEM: Final[Parts] = (
    ("send (the system's write)", r"^(write|writev|send|sendto|sendmsg|uv__try_write|uv__write) "),
    ("receive (the system's read)", r"^(read|readv|recv|recvfrom|recvmsg|uv__read) "),
    ("poll (epoll, and waking from it)", r"^(epoll_\w+|uv__io_poll) "),
)
OF_A_CHUNK: Final[Parts] = (
    *OF_THE_SYSTEM,
    ("read", r"aiohttp/|httpx|workers/http\.py"),
    ("decode", r"workers/providers/"),
    ("encode", r"(text|reasoning|event|_encoded|_add|_gathered|enqueue|take) .*(publisher|answer)\.py"),
    ("publish", r"workers/(publisher|link)\.py|hiredis"),
    ("the job around them", r"workers/|shared/|pydantic|celery/"),
)
OF_A_JOB: Final[Parts] = (
    *OF_THE_SYSTEM,
    ("log", r"logging/|structlog/|event_log\.py"),
    ("documents", r"pydantic|shared/(document|plain|jobs|messages|responses|spending|error_info)\.py"),
    ("HTTP", r"aiohttp/|httpx|workers/http\.py"),
    ("provider", r"workers/providers/"),
    ("ledger", r"workers/(publisher|link|lease)\.py|shared/ledger/|hiredis"),
    ("Celery's pool", r"workers/pool/|celery/|kombu/"),
    ("the job's steps", r"workers/|shared/"),
)
LOOP: Final = "the loop itself (libuv, uvloop)"
OTHERS: Final = "other threads (Celery's)"


def profiles() -> Iterator[str]:
    """Both tables, each below a line that says what was measured."""
    yield _of_chunks(streams=1000, rate=10)
    yield _of_jobs()


def _of_chunks(*, streams: int, rate: int) -> str:
    load = Load(streams=streams, chunks=rate * 60, rate=rate)
    with stage() as on:
        worker = Palaver(on, load)
        process = worker.start()
        worker.submit()
        on.until(lambda provided: provided["live"] == streams)
        time.sleep(SETTLING_SECONDS)
        costs = _costs(on, process.pid, lambda: int(on.provided()["written"]), OF_A_CHUNK)
    return _table(f"{streams:,} streams x {rate}/s: {{:.1f}} µs of CPU a chunk", costs)


def _of_jobs() -> str:
    load = Load(streams=JOBS, chunks=SHORT, slots=AT_ONCE)
    with stage() as on:
        worker = Palaver(on, load)
        worker.submit()
        process = worker.start()
        worker.until_ended(AT_ONCE)
        costs = _costs(on, process.pid, worker.ended, OF_A_JOB)
    return _table("Short jobs: {:,.0f} µs of CPU a job", costs)


def _costs(on: Stage, pid: int, count: Callable[[], int], parts: Parts) -> dict[str, float]:
    """Microseconds of CPU by part, of each of what is counted."""
    before, counted = thread_seconds(pid), count()
    time.sleep(SECONDS)
    spent, each = thread_seconds(pid), 1e6 / (count() - counted)
    # afterwards: a process stands still for each sample, which is not for nothing
    loop, samples = _sampled(pid, on.processes.folder / "samples", parts)
    user, kernel = (now - then for now, then in zip(spent[loop], before.get(loop, (0.0, 0.0)), strict=True))
    everybody = sum(map(sum, spent.values())) - sum(map(sum, before.values()))
    system = {name for name, _ in OF_THE_SYSTEM}
    in_system = sum(samples[name] for name in system)
    costs = {}
    for name in (*(name for name, _ in parts), LOOP):
        time_of, total = (kernel, in_system) if name in system else (user, samples.total() - in_system)
        costs[name] = time_of * samples[name] / max(1, total) * each
    return {**costs, OTHERS: (everybody - user - kernel) * each}


def _sampled(pid: int, target: Path, parts: Parts) -> tuple[int, Counter[str]]:
    """The id of the loop's thread, and its samples by part, taken for `SECONDS`."""
    py_spy = RIVAL_PYTHON.parent / "py-spy"
    how = ("--native", "--threads", "--format", "raw", "--rate", "100", "--duration", str(SECONDS))
    command = (py_spy, "record", *how, "--pid", str(pid), "--output", target)
    subprocess.run(command, check=True, capture_output=True, timeout=SECONDS + 60)
    found: Counter[str] = Counter()
    loop = 0
    # a line is the frames of one thread, the innermost last, and how often it was seen
    for line in target.read_text(encoding="utf-8").splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        named = re.match(r"thread \((\d+)\): palaver-loop", thread)
        if named and count.isdecimal():
            loop = int(named[1])
            found[_part_of(frames, parts)] += int(count)
    return loop, found


def _part_of(frames: list[str], parts: Parts) -> str:
    for frame in reversed(frames):
        for name, pattern in parts:
            if re.search(pattern, frame) and "/loop.py" not in frame:
                return name
    return LOOP


def _table(title: str, costs: dict[str, float]) -> str:
    """`title` has a place for what all of it costs."""
    total = sum(costs.values())
    rows = [f"| {name} | {cost / total:.0%} | {cost:.1f} |" for name, cost in costs.items()]
    return "\n".join([title.format(total) + "\n", "| part | share | µs |", "|---|---|---|", *rows])


if __name__ == "__main__":
    for table in profiles():
        print(table, end="\n\n", flush=True)
