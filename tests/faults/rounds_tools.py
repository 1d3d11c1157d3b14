"""Tools of the workers in `test_rounds`. What runs is written into the file that `ROUNDS_BOOK` names."""

import os
import signal
import threading
import time

from palaver.workers.generation import ToolContext, tool


@tool
def mark(where: ToolContext, seconds: float = 0.0) -> str:
    """Write down that it runs, and take so long."""
    with open(os.environ["ROUNDS_BOOK"], "a", encoding="utf-8") as book:  # one write: lines do not mix
        book.write(f"{time.time()} {where.job_id} {where.call_id}\n")
    time.sleep(seconds)
    return f"done {where.call_id}"


@tool
async def amark(where: ToolContext, seconds: float = 0.0) -> str:
    """The same on a loop, which it holds as long as it takes: another loop than that of the streams."""
    return mark(where, seconds)


@tool
def deadly(seconds: float) -> str:
    """Kill the worker."""
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


@tool
def endless(seconds: float) -> str:
    """Never end, whoever asks."""
    threading.Event().wait()
    return "never"
