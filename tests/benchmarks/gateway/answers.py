"""What answers through a gateway take: until their first word, idle and busy, and for each chunk of many."""

from __future__ import annotations

import json
from typing import Any

from tests.benchmarks.gateway.servers import Enter, Server
from tests.benchmarks.results import Figures
from tests.benchmarks.stage import PATIENCE_SECONDS, Stage, cpu_seconds, memory_kb, stage


def answers(enter: Enter, probes: int, streams: int, seconds: float) -> Figures:
    """Milliseconds to the first word on an idle system; then chunks a second of unpaced streams, as many at
    once, that follow each other; at last the memory of the one process, and of all that work for it.
    """
    with stage() as on:
        server = enter(on)
        first = _asked(on, server, "first", str(probes), "0")
        cpu = [cpu_seconds(pid) for pid in server.pids]
        many = _asked(on, server, "many", str(streams), str(seconds))
        used = [cpu_seconds(pid) - before for pid, before in zip(server.pids, cpu, strict=True)]
        memory = [memory_kb(pid) / 1024 for pid in server.pids]
        chunks = many.pop("chunks")
        return {
            **{f"idle_{name}": value for name, value in first.items()},
            **many,
            "cpu_us": used[0] / chunks * 1e6,
            "all_cpu_us": sum(used) / chunks * 1e6,
            "memory_mb": memory[0],
            "all_memory_mb": sum(memory),
        }


def first_words(enter: Enter, probes: int, live: int) -> Figures:
    """Milliseconds to the first word of an answer while so many others are being told."""
    with stage() as on:
        return _asked(on, enter(on), "first", str(probes), str(live))


def _asked(on: Stage, server: Server, *words: str) -> dict[str, Any]:
    program = ("-m", "tests.benchmarks.gateway.asker", str(server.port), *words)
    asker = on.processes.python(*program, name="asker")
    found: dict[str, Any] = json.loads(asker.wait_for(r"^\{.*\}$", seconds=PATIENCE_SECONDS)[0])
    return found
