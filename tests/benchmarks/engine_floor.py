"""What the engine costs: CPU of one worker process per chunk, from the provider's bytes to the ledger.

    python -m tests.benchmarks.engine_floor [STREAMS] [CHUNKS] [RATE]     (1000 200 20; rate 0: unpaced)

A provider and a Redis run in processes of their own; this process reads, decodes, encodes and publishes, and
counts its own CPU time only. Celery has no part in it.
"""

import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from palaver.shared.jobs import ChatJob
from palaver.shared.profiles import Catalog
from palaver.shared.settings import Settings
from palaver.workers.service import WorkerService
from tests.processes import ROOT, Processes
from tests.servers import any_redis_binary, start_redis


async def measure(redis_url: str, port: int, streams: int, chunks: int, rate: float) -> None:
    settings = Settings(redis_url=redis_url)
    profile = {"kind": "openai", "base_url": f"http://127.0.0.1:{port}/v1"}
    service = WorkerService(settings, Catalog.of({"p": profile}), slots=streams)
    await service.start()
    said = json.dumps({"n": chunks, "rate": rate})
    jobs = [ChatJob(messages=said, session_id=f"s{n}", model="p/m") for n in range(streams)]
    await service.ledger.submit_many(jobs)
    memory, cpu, wall = memory_kb(), time.process_time(), time.monotonic()
    running = asyncio.gather(*(service.run(job.session_id or "", job.job_id) for job in jobs))
    live = await while_all_live(service, chunks / rate) if rate else None
    memory = memory_kb() - memory
    outcomes = await running
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    assert [outcome.status for outcome in outcomes] == ["completed"] * streams
    view = await service.ledger.job(jobs[-1].job_id)
    assert view.response is not None
    assert view.response.content == "".join(f" w{n}" for n in range(chunks))
    total = streams * chunks
    print(f"{streams} streams, {total} chunks in {wall:.1f} s, {total / wall:,.0f} a second")
    print(f"whole jobs: {cpu / total * 1e6:.1f} us of CPU a chunk, {cpu / wall:.0%} of a core")
    if live is not None:
        print(f"while all streams are live: {live:.1f} us of CPU a chunk")
    print(f"memory: {memory / streams:.0f} KB a stream")
    await service.close()


async def while_all_live(service: WorkerService, seconds: float) -> float:
    """CPU microseconds a chunk in the middle half of the streams' time."""
    await asyncio.sleep(seconds / 4)
    before, cpu = said(service), time.process_time()
    await asyncio.sleep(seconds / 2)
    cpu = time.process_time() - cpu
    return cpu / (said(service) - before) * 1e6


def said(service: WorkerService) -> int:
    """Words that the running jobs have said."""
    return sum(lease.writer.said.count(b"w") for lease in service._leases._leases.values())


def memory_kb() -> int:
    """What this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def main(streams: int = 1000, chunks: int = 200, rate: float = 20) -> None:
    binary = any_redis_binary()
    if binary is None:
        raise SystemExit("no Redis server on this machine")
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder)) as processes:
        server = start_redis(processes, binary)
        provider = processes.start([sys.executable, str(ROOT / "tests" / "provider.py")], name="provider")
        port = int(provider.wait_for(r"^\d+$")[0])
        uvloop.run(measure(server.url, port, streams, chunks, rate))


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
