"""What producers cost: submitting, reading many sessions in one process, importing."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from tests.benchmarks.stage import PATIENCE_SECONDS, cpu_seconds, stage
from tests.benchmarks.streams import Figures
from tests.processes import clean_environment

HEAVY = ("aiohttp", "fastapi", "sqlalchemy", "celery", "kombu", "httpx")
"""What `palaver.producer` must not import."""


def submitting(one_by_one: int, many: int) -> Figures:
    """Jobs a second that one program submits, with `submit` and with `submit_many`, and its CPU for each."""
    with stage() as on:
        words = (on.redis.url, str(one_by_one), str(many))
        program = on.processes.python("-m", "tests.benchmarks.submitter", *words, name="submitter")
        figures: Figures = json.loads(program.wait_for(r"^\{.*\}$", seconds=PATIENCE_SECONDS)[0])
        return figures


def reading(sessions: int, events: int) -> Figures:
    """Events a second that one program reads live, of many sessions at once, and its CPU for each."""
    with stage() as on:
        words = (on.redis.url, str(sessions), str(events))
        feeder = on.processes.python("-m", "tests.benchmarks.feeder", *words, name="feeder")
        feeder.wait_for("ready", seconds=60)
        follower = on.processes.python("-m", "tests.benchmarks.follower", *words, name="follower")
        feeder.wait_for("begun", seconds=60)
        began, before = time.monotonic(), cpu_seconds(follower.pid)
        follower.wait_for("ended", seconds=PATIENCE_SECONDS)
        seconds, used = time.monotonic() - began, cpu_seconds(follower.pid) - before
        fed = float(feeder.wait_for(r"fed in ([\d.]+)")[1])
        total = sessions * events
        return {
            "events_a_second": total / seconds,
            "cpu_us": used / total * 1e6,
            "fed_a_second": total / fed,
        }


def importing() -> Figures:
    """Milliseconds that importing the clients takes a fresh interpreter, and how many of `HEAVY` it loads."""
    program = (
        "import sys, time; wall, cpu = time.perf_counter(), time.process_time(); "
        "from palaver.producer import AsyncClient, Client; "
        "print(time.perf_counter() - wall, time.process_time() - cpu, *sys.modules)"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=clean_environment())
    wall, cpu, *modules = done.stdout.split()
    heavy = len(set(HEAVY) & set(modules))
    return {"wall_ms": float(wall) * 1000, "cpu_ms": float(cpu) * 1000, "heavy": heavy}
