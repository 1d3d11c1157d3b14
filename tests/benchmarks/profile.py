"""Where the worker's time goes, by py-spy, as tables: of a chunk at 1,000 streams, and of a short job.

    python -m tests.benchmarks.profile

Samples the worker for a while, and shares out its CPU by what it was doing then. `make bench` does it too.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.benchmarks.contenders import RIVAL_PYTHON, Palaver
from tests.benchmarks.jobs import AT_ONCE, SHORT
from tests.benchmarks.stage import Load, cpu_seconds, stage
from tests.benchmarks.streams import SETTLING_SECONDS

SECONDS: Final = 15
JOBS: Final = 15_000  # more than a worker does meanwhile

Parts = tuple[tuple[str, str], ...]
"""The innermost frame that fits one of these says what a sample of the loop's thread was doing."""

OF_A_CHUNK: Final[Parts] = (
    ("read", r"aiohttp/|httpx|workers/http\.py"),
    ("decode", r"workers/providers/"),
    ("encode", r"(text|reasoning|event|_encoded|_add|_gathered|enqueue|take) .*(publisher|answer)\.py"),
    ("publish", r"workers/(publisher|link)\.py|hiredis"),
    ("the job around them", r"workers/|shared/|pydantic|celery/"),
)
OF_A_JOB: Final[Parts] = (
    ("log", r"logging/|structlog/|event_log\.py"),
    ("documents", r"pydantic|shared/(document|plain|jobs|messages|responses|spending|error_info)\.py"),
    ("HTTP", r"aiohttp/|httpx|workers/http\.py"),
    ("provider", r"workers/providers/"),
    ("ledger", r"workers/(publisher|link|lease)\.py|shared/ledger/|hiredis"),
    ("Celery's pool", r"workers/pool/|celery/|kombu/"),
    ("the job's steps", r"workers/|shared/"),
)
LOOP: Final = "loop"
CELERY: Final = "Celery's thread"


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
        written, cpu = on.provided()["written"], cpu_seconds(process.pid)
        shares = _sampled(process.pid, on.processes.folder / "samples", OF_A_CHUNK)
        chunks = on.provided()["written"] - written
        cost = (cpu_seconds(process.pid) - cpu) / chunks * 1e6
    title = f"{streams:,} streams x {rate}/s: {cost:.1f} µs of CPU a chunk"
    return _table(title, shares, cost, OF_A_CHUNK)


def _of_jobs() -> str:
    load = Load(streams=JOBS, chunks=SHORT, slots=AT_ONCE)
    with stage() as on:
        worker = Palaver(on, load)
        worker.submit()
        process = worker.start()
        while (ended := worker.ended()) < AT_ONCE:
            time.sleep(0.1)
        cpu = cpu_seconds(process.pid)
        shares = _sampled(process.pid, on.processes.folder / "samples", OF_A_JOB)
        jobs = worker.ended() - ended
        cost = (cpu_seconds(process.pid) - cpu) / jobs * 1e6
    return _table(f"Short jobs: {cost:,.0f} µs of CPU a job", shares, cost, OF_A_JOB)


def _sampled(pid: int, target: Path, parts: Parts) -> Counter[str]:
    """Samples by part, taken for `SECONDS` without stopping the process for each."""
    py_spy = RIVAL_PYTHON.parent / "py-spy"
    how = ("--nonblocking", "--threads", "--format", "raw", "--rate", "200", "--duration", str(SECONDS))
    command = (py_spy, "record", *how, "--pid", str(pid), "--output", target)
    subprocess.run(command, check=True, capture_output=True, timeout=SECONDS + 60)
    found: Counter[str] = Counter()
    # a line is the frames of one thread, the innermost last, and how often it was seen
    for line in target.read_text(encoding="utf-8").splitlines():
        stack, _, count = line.rpartition(" ")
        if not count.isdecimal():  # a thread that was sampled while it began has no frames yet
            continue
        thread, *frames = stack.split(";")
        found[_part_of(frames, parts) if "palaver-loop" in thread else CELERY] += int(count)
    return found


def _part_of(frames: list[str], parts: Parts) -> str:
    for frame in reversed(frames):
        for name, pattern in parts:
            if re.search(pattern, frame) and "/loop.py" not in frame:
                return name
    return LOOP


def _table(title: str, shares: Counter[str], cost: float, parts: Parts) -> str:
    lines = [f"{title}\n", "| part | share | µs |", "|---|---|---|"]
    for name in (*(name for name, _ in parts), LOOP, CELERY):
        share = shares[name] / max(1, shares.total())
        lines.append(f"| {name} | {share:.0%} | {share * cost:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    for table in profiles():
        print(table, end="\n\n", flush=True)
