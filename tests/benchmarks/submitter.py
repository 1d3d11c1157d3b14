"""Submits jobs, and says how fast: `python -m tests.benchmarks.submitter REDIS_URL ONE_BY_ONE MANY`."""

import json
import sys
import time
from typing import Any

from palaver.producer import Client
from palaver.shared.settings import Settings


def main(redis_url: str, one_by_one: int, many: int) -> None:
    figures: dict[str, float] = {}
    with Client(Settings(redis_url=redis_url, models={}, providers={})) as client:
        client.submit("warm", model="p/m")
        wall, cpu = time.monotonic(), time.process_time()
        for number in range(one_by_one):
            client.submit("Tell me a story.", model="p/m", session_id=f"one-{number}")
        took("one", one_by_one, wall, cpu, figures)
        jobs: list[dict[str, Any]] = [
            {"messages": "Tell me a story.", "model": "p/m", "session_id": f"many-{number}"}
            for number in range(many)
        ]
        wall, cpu = time.monotonic(), time.process_time()
        client.submit_many(jobs)
        took("many", many, wall, cpu, figures)
    print(json.dumps(figures), flush=True)


def took(name: str, jobs: int, wall: float, cpu: float, figures: dict[str, float]) -> None:
    figures[f"{name}_a_second"] = jobs / (time.monotonic() - wall)
    figures[f"{name}_cpu_us"] = (time.process_time() - cpu) / jobs * 1e6


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
