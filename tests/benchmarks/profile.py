"""Where the worker's time goes, by py-spy, as a table for RESULTS.md.

    python -m tests.benchmarks.profile [STREAMS] [RATE]      (1000 10)

Samples the worker while all streams are live, and shares out the CPU of a chunk by what it was doing then.
"""

import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

from tests.benchmarks.contenders import RIVAL_PYTHON, Palaver
from tests.benchmarks.stage import Load, cpu_seconds, stage
from tests.benchmarks.streams import SETTLING_SECONDS

SECONDS: Final = 20
PARTS: Final = (
    ("read", r"aiohttp/|httpx|workers/http\.py"),
    ("decode", r"workers/providers/"),
    ("encode", r"(text|reasoning|event|_encoded|_add|_gathered|enqueue|take) .*(publisher|answer)\.py"),
    ("publish", r"workers/(publisher|link)\.py|hiredis"),
    ("the job around them", r"workers/|shared/|pydantic|celery/"),
)
"""The innermost frame that fits one of these says what a sample of the loop's thread was doing."""
LOOP: Final = "loop"
CELERY: Final = "Celery"


def main(streams: int = 1000, rate: int = 10) -> None:
    load = Load(streams=streams, chunks=rate * 60, rate=rate)
    with stage() as on:
        worker = Palaver(on, load)
        process = worker.start()
        worker.submit()
        on.until(lambda provided: provided["live"] == streams)
        time.sleep(SETTLING_SECONDS)
        written, cpu = on.provided()["written"], cpu_seconds(process.pid)
        samples = on.processes.folder / "samples"
        sample(process.pid, samples)
        chunks = on.provided()["written"] - written
        cost = (cpu_seconds(process.pid) - cpu) / chunks * 1e6
        shares = parts_of(samples.read_text(encoding="utf-8"))
    print(f"{streams:,} streams x {rate}/s, {chunks / SECONDS:,.0f} chunks a second: {cost:.1f} us a chunk\n")
    print("| part | share | µs a chunk |\n|---|---|---|")
    for name in (*(name for name, _ in PARTS), LOOP, CELERY):
        share = shares[name] / shares.total()
        print(f"| {name} | {share:.0%} | {share * cost:.1f} |")


def sample(pid: int, target: Path) -> None:
    """Record for `SECONDS`, without stopping the process for each sample."""
    py_spy = RIVAL_PYTHON.parent / "py-spy"
    how = ("--nonblocking", "--threads", "--format", "raw", "--rate", "200", "--duration", str(SECONDS))
    command = (py_spy, "record", *how, "--pid", str(pid), "--output", target)
    subprocess.run(command, check=True, capture_output=True, timeout=SECONDS + 60)


def parts_of(samples: str) -> Counter[str]:
    """Samples by part; a line is the frames of one thread, the innermost last, and how often it was seen."""
    found: Counter[str] = Counter()
    for line in samples.splitlines():
        stack, _, count = line.rpartition(" ")
        thread, *frames = stack.split(";")
        found[part_of(frames) if "palaver-loop" in thread else CELERY] += int(count)
    return found


def part_of(frames: list[str]) -> str:
    for frame in reversed(frames):
        for name, pattern in PARTS:
            if re.search(pattern, frame) and "/loop.py" not in frame:
                return name
    return LOOP


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
