"""A worker that keeps a record of its memory: `python -m tests.benchmarks.traced FILE WORDS…`.

The words are those of `palaver worker`. At SIGUSR2 it writes what it holds, by the line that made it, to FILE
(a snapshot of `tracemalloc`).
"""

import runpy
import signal
import sys
import tracemalloc
from pathlib import Path


def main(target: Path, words: list[str]) -> None:
    def write(*_: object) -> None:
        unfinished = target.with_suffix(".part")
        tracemalloc.take_snapshot().dump(str(unfinished))
        unfinished.replace(target)

    tracemalloc.start()
    signal.signal(signal.SIGUSR2, write)
    sys.argv = ["palaver.workers", *words]
    runpy.run_module("palaver.workers", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
