"""What readers cost a gateway: `python -m tests.benchmarks.gateway [IDLE] [READERS] [SESSIONS]`.

First many that hear nothing, each of a session of its own; then some that hear 20 events a second. At last
what OpenAI's API costs: until the first word of an answer, and for each chunk of streams as fast as they go.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

from palaver.producer import Client
from palaver.shared.settings import Settings
from tests.benchmarks.stage import cpu_seconds, memory_kb
from tests.benchmarks.streams import Figures
from tests.processes import Processes, Running
from tests.servers import any_redis_binary, start_redis

RATE = 20
"""Events a second of a session."""
SECONDS = 8.0
_MOST_FILES = 65_536


@dataclass(frozen=True)
class System:
    """A Redis, a worker and a gateway, each in a process of its own."""

    processes: Processes
    client: Client
    gateway: Running
    port: int

    def readers(self, sessions: list[str], each: int) -> Running:
        """So many readers of each session, in one process, all of them connected."""
        listed = self.processes.folder / f"sessions-{len(self.processes.all)}"
        listed.write_text("\n".join(sessions))
        words = ("-m", "tests.benchmarks.sse_reader", str(self.port), str(listed), str(each))
        running = self.processes.python(*words, name="readers")
        running.wait_for("connected", seconds=120)
        return running


@contextmanager
def system() -> Iterator[System]:
    """A running system, which serves this machine without a key."""
    binary = any_redis_binary()
    assert binary is not None, "no Redis server on this machine"
    with tempfile.TemporaryDirectory() as folder, Processes(Path(folder)) as processes:
        redis = start_redis(processes, binary)
        env = {"PALAVER_REDIS_URL": redis.url, "PALAVER_CONFIG": f"{folder}/palaver.toml"}
        (Path(folder) / "palaver.toml").touch()
        worker = processes.start(("palaver", "worker", "--without-mingle"), name="worker", env=env)
        words = ("palaver", "gateway", "--port", "0", "--json")
        gateway = processes.start(words, name="gateway", env=env)
        port = int(gateway.wait_for(r'"url":"http://127.0.0.1:(\d+)"', seconds=60)[1])
        worker.wait_for(r"\bready\b", seconds=60)
        with Client(Settings(redis_url=redis.url)) as client:
            yield System(processes, client, gateway, port)


def idle(count: int) -> Figures:
    """Memory and CPU of a gateway whose readers hear nothing."""
    with system() as on:
        sessions = [f"s{number}" for number in range(count)]
        jobs = [{"messages": "Hi", "session_id": session} for session in sessions]
        for handle in on.client.submit_many(jobs):
            handle.result(timeout=120)
        before = memory_kb(on.gateway.pid)
        on.readers(sessions, 1)
        used = cpu_seconds(on.gateway.pid)
        time.sleep(SECONDS)
        used = cpu_seconds(on.gateway.pid) - used
        after = memory_kb(on.gateway.pid)
        return {
            "readers": count,
            "memory_mb": after / 1024,
            "kb_a_reader": (after - before) / count,
            "cpu_percent": used / SECONDS * 100,
        }


def busy(readers: int, sessions: int) -> Figures:
    """CPU of a gateway for each event and reader, and how late the events are."""
    with system() as on:
        names = [f"s{number}" for number in range(sessions)]
        prompt = json.dumps({"endless": True, "rate": RATE})
        for name in names:
            on.client.submit(prompt, session_id=name)
        running = on.readers(names, readers // sessions)
        running.wait_for("warm", seconds=60)
        used = cpu_seconds(on.gateway.pid)
        told: Figures = json.loads(running.wait_for(r"^\{.*\}$", seconds=120)[0])
        used = cpu_seconds(on.gateway.pid) - used
        return {**told, "cpu_us": used / told["events"] * 1e6, "memory_mb": memory_kb(on.gateway.pid) / 1024}


def answering(count: int, streams: int, chunks: int) -> Figures:
    """Milliseconds until the first word of an unpaced answer, one by one; then chunks a second of many."""
    with system() as on:
        connection = HTTPConnection("127.0.0.1", on.port)
        firsts = sorted(_first_word(connection) for _ in range(count))
        used, began = cpu_seconds(on.gateway.pid), time.monotonic()
        with ThreadPoolExecutor(streams) as pool:
            list(
                pool.map(
                    lambda _: _ask(HTTPConnection("127.0.0.1", on.port), chunks).read(), range(10 * streams)
                )
            )
        total, seconds = 10 * streams * chunks, time.monotonic() - began
        return {
            "first_p50_ms": firsts[count // 2] * 1000,
            "first_p99_ms": firsts[count * 99 // 100] * 1000,
            "chunks_a_second": total / seconds,
            "cpu_us_a_chunk": (cpu_seconds(on.gateway.pid) - used) / total * 1e6,
            "memory_mb": memory_kb(on.gateway.pid) / 1024,
        }


def _first_word(connection: HTTPConnection) -> float:
    began = time.perf_counter()
    response = _ask(connection, 3)
    while b'"content":" w0"' not in response.readline():
        pass
    first = time.perf_counter() - began
    response.read()
    return first


def _ask(connection: HTTPConnection, chunks: int) -> HTTPResponse:
    prompt = json.dumps({"n": chunks, "rate": 0})
    body = {"stream": True, "messages": [{"role": "user", "content": prompt}]}
    headers = {"content-type": "application/json"}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    return connection.getresponse()


def main(words: list[str]) -> None:
    """Print the figures as JSON, a line each."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_MOST_FILES, most), most))
    count, readers, sessions = (int(word) for word in (words + ["5000", "1000", "10"][len(words) :]))
    if count:
        print(json.dumps({"idle": idle(count)}), flush=True)
    if readers:
        print(json.dumps({"busy": busy(readers, sessions)}), flush=True)
    print(json.dumps({"answering": answering(200, 20, 100)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
