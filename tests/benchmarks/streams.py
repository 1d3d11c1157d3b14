"""Many live streams through one worker process: what a chunk costs, how late it is, how many there can be."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.benchmarks.contenders import Contender, Enter
from tests.benchmarks.stage import (
    PATIENCE_SECONDS,
    Load,
    Stage,
    Stuck,
    cpu_seconds,
    memory_kb,
    stage,
    waited_seconds,
)

SETTLING_SECONDS = 2.0  # the rush of the starts: as long again is left out at the end
WINDOW_SECONDS = 8.0  # of the steady state; CPU times come in ticks of 10 ms, at most a hundredth of it
BUSY = 0.9  # of a core: who wants more of the one that a Python process has may be behind

Figures = dict[str, float]


def paced(enter: Enter, load: Load) -> Figures:
    """CPU of the worker per chunk while all streams are live, and its memory then.

    A worker that is busy all the time may be behind, and one that has ended streams before it began the last
    has no steady state: then it is the CPU of the whole run, and `lag_s` how much later than the provider it
    ended. Of the others no end is waited for.
    """
    with stage() as on:
        contender = enter(on, load)
        worker = contender.start()
        idle, before = memory_kb(worker.pid), cpu_seconds(worker.pid)
        contender.submit()
        begun = on.until(lambda provided: provided["live"] == load.streams or provided["ended"] > 0)
        time.sleep(SETTLING_SECONDS)
        figures = _while_live(on, worker.pid, load)
        figures["streams_kb"] = memory_kb(worker.pid) - idle
        figures["memory_kb"] = figures["streams_kb"] / load.streams
        if begun["ended"] or figures["busy"] > BUSY:
            on.until(lambda provided: provided["ended"] == load.streams)
            figures["lag_s"] = _wait_for_end(contender)
            figures["cpu_us"] = (cpu_seconds(worker.pid) - before) / load.total * 1e6
        return figures


def _while_live(on: Stage, worker: int, load: Load) -> Figures:
    """What the processes use from now for a while, but no longer than until shortly before the first stream
    ends; `busy` is the share of this time that the worker ran, or waited for a core.
    """
    assert on.redis.running is not None
    pids = {"": worker, "redis_": on.redis.running.pid, "provider_": on.provider.pid}
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    published = on.published()
    waited, provided, began = waited_seconds(worker), on.provided(), time.monotonic()
    left = load.chunks / load.rate * (1 - provided["written"] / load.total)
    time.sleep(min(WINDOW_SECONDS, max(1.0, left - SETTLING_SECONDS)))
    after, seconds = on.provided(), time.monotonic() - began
    chunks = after["written"] - provided["written"]
    events = on.published() - published
    used = {name: cpu_seconds(pid) - before[name] for name, pid in pids.items()}
    return {
        **{f"{name}cpu_us": cpu / chunks * 1e6 for name, cpu in used.items()},
        "busy": (used[""] + waited_seconds(worker) - waited) / seconds,
        "chunks_a_second": chunks / seconds,
        "events_of_1000": events / chunks * 1000,
        "provider_late_ms": (after["late"] - provided["late"]) / chunks * 1000,
    }


def unpaced(enter: Enter, load: Load) -> Figures:
    """Chunks a second when the provider is as fast as it is read, and the events that 1,000 of them became:
    whoever merges publishes fewer than it has read. Starts and ends of streams are among them.
    """
    with stage() as on:
        contender = enter(on, load)
        worker = contender.start()
        before = cpu_seconds(worker.pid)
        contender.submit()
        on.until(lambda provided: provided["begun"] > 0, every=0.01)
        began = time.monotonic()
        _wait_for_end(contender)
        seconds = time.monotonic() - began
        used = cpu_seconds(worker.pid) - before
        return {
            "chunks_a_second": load.total / seconds,
            "cpu_us": used / load.total * 1e6,
            "events_of_1000": on.published() / load.total * 1000,
        }


def latency(enter: Enter, load: Load) -> Figures:
    """Milliseconds from the provider's write to a reader of the channel, while all streams are live."""
    with stage() as on:
        contender = enter(on, load)
        contender.start()
        words = (str(on.redis.port), str(load.streams), str(load.chunks))
        reader = on.processes.python("-m", "tests.benchmarks.reader", *words, name="reader")
        reader.wait_for("listening")
        contender.submit()
        patience = PATIENCE_SECONDS + load.chunks / load.rate
        found: dict[str, Any] = json.loads(reader.wait_for(r"^\{.*\}$", seconds=patience)[0])
    if found["lost_or_out_of_order"] or found["deltas"] != load.total:
        raise Stuck(f"something is lost: {found}")
    return {f"{part}_ms": value for part, value in found["all_live"].items()}


def capacity(load: Load) -> Figures:
    """Chunks a second that the provider writes to a client that throws them away."""
    with stage() as on:
        words = (str(on.provider_port), str(load.streams), load.question)
        drain = on.processes.python("-m", "tests.benchmarks.drain", *words, name="drain")
        seconds = float(drain.wait_for(r"^[\d.]+$", seconds=PATIENCE_SECONDS)[0])
        return {"chunks_a_second": load.total / seconds}


def percentiles(nanoseconds: list[int]) -> Figures:
    """p50, p95, p99 and the largest, in milliseconds; empty for no values."""
    ordered = sorted(nanoseconds)
    if not ordered:
        return {}
    parts = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * part))] / 1e6, 2)
        for name, part in parts.items()
    }


def _wait_for_end(contender: Contender) -> float:
    """Seconds until all jobs have ended."""
    began = time.monotonic()
    contender.until_ended(contender.load.streams)
    return time.monotonic() - began
