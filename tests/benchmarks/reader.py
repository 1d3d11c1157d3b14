"""Reads every session's channel and says how late each delta was.

    python -m tests.benchmarks.reader REDIS_PORT JOBS DELTAS

Prints "listening", and one JSON line of figures when JOBS jobs have ended; "all_live" is the time after
every job has written and before the first ends. A plain socket, so that what is measured is the worker and
Redis, and not a client library.
"""

import json
import socket
import sys
import time
from typing import Any

import hiredis
import orjson

from tests.benchmarks.streams import percentiles


class Figures:
    """What arrived, and how late."""

    def __init__(self, jobs: int, deltas: int) -> None:
        self.jobs = jobs
        self.deltas = deltas
        self.delays: list[int] = []  # nanoseconds from the provider's write
        self.live: range | None = None  # of the delays: those while every stream was live
        self.sequences: dict[str, int] = {}
        self.words: dict[str, int] = {}
        self.gaps = 0
        self.ended: dict[str, int] = {}

    def take(self, raw: bytes, now: int) -> None:
        event = orjson.loads(raw)
        session, data = event["session_id"], event["data"]
        if seq := event.get("seq"):  # rivals do not count; the floor's jobs were submitted before
            self.gaps += seq != self.sequences.get(session, seq - 1) + 1
            self.sequences[session] = seq
        if event["type"] == "text_chunk":
            for word in data["delta"].split():
                number, _, written = word.split(":")
                self.gaps += int(number) != self.words.get(session, 0)
                self.words[session] = int(number) + 1
                self.delays.append(now - int(written))
            if self.live is None and len(self.words) == self.jobs:
                self.live = range(len(self.delays), sys.maxsize)
        elif event["type"] == "stream_end":
            status = data["status"]
            if not self.ended:
                self.live = range(self.live.start if self.live else len(self.delays), len(self.delays))
            self.ended[status] = self.ended.get(status, 0) + 1

    def report(self) -> dict[str, Any]:
        live = self.live or range(0)
        return {
            "ended": self.ended,
            "deltas": len(self.delays),
            "lost_or_out_of_order": self.gaps,
            "incomplete": sum(count != self.deltas for count in self.words.values()),
            "all": percentiles(self.delays),
            "all_live": percentiles(self.delays[live.start : live.stop]),
        }


def main(port: int, jobs: int, deltas: int) -> None:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(b"PSUBSCRIBE palaver:{bench-*}\r\n")
    reader = hiredis.Reader()
    figures = Figures(jobs, deltas)
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
