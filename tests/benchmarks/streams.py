"""1,000 live streams through one worker process: how long from the provider's write to a reader?

    make bench           or: python -m tests.benchmarks.streams [STREAMS [DELTAS [RATE]]]

Provider, worker, Redis and reader are processes of their own. Use an otherwise idle machine: the figures
are its own as much as the program's. "all live" is the time in which every stream is live: after the rush of
their starts, before the first ends. Exit 1 when anything was lost, or p99 is over 100 ms while all are live.
"""

import json
import math
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from palaver.producer import Client
from palaver.shared.settings import Settings
from tests.processes import Processes
from tests.servers import any_redis_binary, start_redis

LIMIT_MS = 100


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, from /proc; 0 where there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return 0.0
    user, system = stat.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / 100


def measure(processes: Processes, streams: int, deltas: int, rate: float) -> dict[str, Any]:
    """Run all streams at once; the reader's figures and the worker's CPU."""
    binary = any_redis_binary()
    if binary is None:
        sys.exit("no Redis server on this machine")
    redis = start_redis(processes, binary)
    provider = processes.python("-m", "tests.benchmarks.provider")
    port = provider.wait_for(r"^(\d+)$")[1]
    config = processes.folder / "palaver.toml"
    config.write_text(f'[providers.bench]\nkind = "openai"\nbase_url = "http://127.0.0.1:{port}/v1"\n')
    env = {"PALAVER_REDIS_URL": redis.url, "PALAVER_CONFIG": str(config)}
    worker = processes.start(("palaver", "worker", "--concurrency", str(streams)), name="worker", env=env)
    worker.wait_for("ready", seconds=60)
    reader = processes.python("-m", "tests.benchmarks.reader", str(redis.port), str(streams), str(deltas))
    reader.wait_for("listening")

    begun = time.monotonic()
    question = json.dumps({"n": deltas, "rate": rate})
    jobs = [{"messages": question, "model": "bench/m", "session_id": f"bench-{n}"} for n in range(streams)]
    with Client(Settings(redis_url=redis.url, config=str(config))) as client:
        client.submit_many(jobs)
        submitted = time.monotonic() - begun
        patience = 120 + deltas / rate
        reader.wait_for("all live", seconds=patience)
        started, before = time.monotonic() - begun, cpu_seconds(worker.pid)
        live = int(reader.wait_for(r"first end after (\d+)", seconds=patience)[1])
        used = cpu_seconds(worker.pid) - before
        found = reader.wait_for(r"^\{.*\}$", seconds=patience)
    figures: dict[str, Any] = json.loads(found[0])
    figures |= {"submitted_after_s": round(submitted, 2), "all_live_after_s": round(started, 2)}
    figures["worker_cpu_us_per_delta"] = round(used * 1e6 / live, 1) if live else None
    return figures


def main(streams: int = 1000, deltas: int = 300, rate: int = 10) -> int:
    """Print the figures; the exit code."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4 * streams + 1000)), hard))
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder)) as processes:
        figures = measure(processes, streams, deltas, rate)
    print(f"{streams} streams x {rate} deltas a second, {deltas} each, one worker process")
    for name, value in figures.items():
        print(f"  {name:<24} {value}")
    whole = figures["deltas"] == streams * deltas and not figures["lost_or_out_of_order"]
    p99 = figures["all_live"].get("p99", math.inf)
    print("nothing lost" if whole else "SOMETHING IS LOST", end="; ")
    print(f"p99 while all are live: {p99} ms, the bound is {LIMIT_MS}")
    return 0 if whole and p99 < LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
