"""What readers of sessions cost a gateway: those that hear nothing, and those that hear a lot."""

from __future__ import annotations

import json
import time

from palaver.producer import Client
from palaver.shared.settings import Settings
from tests.benchmarks.gateway.servers import Server, palaver
from tests.benchmarks.results import Figures
from tests.benchmarks.stage import Load, Stage, cpu_seconds, memory_kb, stage, waited_seconds
from tests.processes import Running

RATE = 20
"""Events a second of a session."""
LASTING_SECONDS = 300  # of an answer: longer than the measurement
CONNECTING_SECONDS = 120


def silent(count: int, seconds: float) -> Figures:
    """Memory and CPU of a gateway whose readers hear nothing, each of a session of its own."""
    with stage() as on:
        server = palaver(on)
        sessions = [f"s{number}" for number in range(count)]
        _ask(on, sessions, Load(streams=count, chunks=1), wait=True)
        before = memory_kb(server.process.pid)
        _readers(on, server, sessions, each=1, seconds=seconds)
        used = cpu_seconds(server.process.pid)
        time.sleep(seconds)
        used = cpu_seconds(server.process.pid) - used
        after = memory_kb(server.process.pid)
        return {
            "readers": count,
            "memory_mb": after / 1024,
            "kb_a_reader": (after - before) / count,
            "cpu_percent": used / seconds * 100,
        }


def busy(readers: int, sessions: int, seconds: float) -> Figures:
    """CPU of a gateway for each event and reader, and how late the events are: from the worker's clock when
    it made the event to the reader that has it. For how much of the time the gateway and the program that
    reads ran, and waited for a core, says what that lateness is made of.
    """
    with stage() as on:
        server = palaver(on)
        names = [f"s{number}" for number in range(sessions)]
        _ask(on, names, Load(streams=sessions, chunks=RATE * LASTING_SECONDS, rate=RATE), wait=False)
        on.until(lambda provided: provided["live"] == sessions)
        running = _readers(on, server, names, each=readers // sessions, seconds=seconds)
        running.wait_for("warm", seconds=60)
        pids = {"gateway": server.process.pid, "reader": running.pid}
        before = {name: (cpu_seconds(pid), waited_seconds(pid)) for name, pid in pids.items()}
        told: Figures = json.loads(running.wait_for(r"^\{.*\}$", seconds=seconds + 60)[0])
        ran = {name: cpu_seconds(pid) - before[name][0] for name, pid in pids.items()}
        waited = {name: waited_seconds(pid) - before[name][1] for name, pid in pids.items()}
        events = told.pop("events")
        return {
            **told,
            "readers": readers,
            "cpu_us": ran["gateway"] / events * 1e6,
            "memory_mb": memory_kb(server.process.pid) / 1024,
            **{f"{name}_ran_percent": value / seconds * 100 for name, value in ran.items()},
            **{f"{name}_waited_percent": value / seconds * 100 for name, value in waited.items()},
        }


def _ask(on: Stage, sessions: list[str], load: Load, *, wait: bool) -> None:
    """Ask one question in each session."""
    jobs = [{"messages": load.question, "model": "bench/m", "session_id": name} for name in sessions]
    with Client(Settings(redis_url=on.redis.url, models={}, providers={})) as client:
        for handle in client.submit_many(jobs):
            if wait:
                handle.result(timeout=120)


def _readers(on: Stage, server: Server, sessions: list[str], *, each: int, seconds: float) -> Running:
    """So many readers of each session, in one process, all of them connected."""
    listed = on.processes.folder / "sessions"
    listed.write_text("\n".join(sessions))
    words = ("-m", "tests.benchmarks.gateway.sse_reader", server.port, listed, each, seconds)
    running = on.processes.python(*map(str, words), name="readers")
    running.wait_for("connected", seconds=CONNECTING_SECONDS)
    return running
