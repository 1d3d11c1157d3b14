"""Reads every session's channel and says how late each delta was.

    python -m tests.benchmarks.reader REDIS_PORT JOBS DELTAS

Prints "listening", and one JSON line of figures when JOBS jobs have ended. A plain socket, so that what is
measured is the worker and Redis, and not a client library.
"""

import json
import socket
import sys
import time
from typing import Any

import hiredis
import orjson


class Figures:
    """What arrived, and how late."""

    def __init__(self, deltas: int) -> None:
        self.deltas = deltas
        self.delays: list[int] = []  # nanoseconds from the provider's write
        self.sequences: dict[str, int] = {}
        self.words: dict[str, int] = {}
        self.gaps = 0
        self.ended: dict[str, int] = {}

    def take(self, raw: bytes, now: int) -> None:
        event = orjson.loads(raw)
        session, data = event["session_id"], event["data"]
        self.gaps += event["seq"] != self.sequences.get(session, 0) + 1
        self.sequences[session] = event["seq"]
        if event["type"] == "text_chunk":
            for word in data["delta"].split():
                number, _, written = word.partition(":")
                self.gaps += int(number) != self.words.get(session, 0)
                self.words[session] = int(number) + 1
                self.delays.append(now - int(written))
        elif event["type"] == "stream_end":
            status = data["status"]
            self.ended[status] = self.ended.get(status, 0) + 1

    def report(self) -> dict[str, Any]:
        delays = sorted(self.delays)

        def percentile(part: float) -> float:
            return round(delays[min(len(delays) - 1, int(len(delays) * part))] / 1e6, 1)

        return {
            "ended": self.ended,
            "deltas": len(delays),
            "lost_or_out_of_order": self.gaps,
            "incomplete": sum(count != self.deltas for count in self.words.values()),
            "p50_ms": percentile(0.5),
            "p95_ms": percentile(0.95),
            "p99_ms": percentile(0.99),
            "max_ms": percentile(1.0),
        }


def main(port: int, jobs: int, deltas: int) -> None:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(b"PSUBSCRIBE palaver:{bench-*}\r\n")
    reader = hiredis.Reader()
    figures = Figures(deltas)
    while sum(figures.ended.values()) < jobs:
        reader.feed(connection.recv(1 << 18))
        now = time.monotonic_ns()
        while (reply := reader.gets()) is not False:
            if reply[0] == b"pmessage":
                figures.take(reply[3], now)
            else:
                print("listening", flush=True)
    print(json.dumps(figures.report()), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
