"""Many readers of sessions over HTTP in one process.

    python -m tests.benchmarks.gateway.sse_reader PORT FILE EACH SECONDS

Says `connected` when all have their headers, `warm` two seconds later, and after SECONDS more what they heard
meanwhile: events, and how late the worst of a hundred was.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from pathlib import Path
from typing import cast

import uvloop

WARM_SECONDS = 2.0
_TIME = re.compile(rb'"time":([\d.]+)')
_SAMPLED = 20
"""The lateness of one in so many events is noted: the reader is not what is measured."""


class Heard:
    """What all readers have heard since it was last set to nothing."""

    def __init__(self) -> None:
        self.connected = self.events = 0
        self.refusal = b""
        self.late: list[float] = []


class Reader(asyncio.Protocol):
    """One connection."""

    def __init__(self, request: bytes, heard: Heard) -> None:
        self._request = request
        self._heard = heard
        self._begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.WriteTransport", transport).write(self._request)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        heard = self._heard
        if not self._begun:
            self._begun = True
            if not data.startswith(b"HTTP/1.1 200"):
                heard.refusal = data
            heard.connected += 1
        before = heard.events
        heard.events += data.count(b"\nid: ") + data.startswith(b"id: ")
        if heard.events // _SAMPLED != before // _SAMPLED and (found := _TIME.search(data)):
            heard.late.append(time.time() - float(found[1]))


async def main(port: int, sessions: list[str], each: int, seconds: float) -> None:
    loop, heard = asyncio.get_running_loop(), Heard()
    paths = [f"/sessions/{name}/events?after=2" for name in sessions for _ in range(each)]
    for place, path in enumerate(paths):
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        await loop.create_connection(lambda request=request: Reader(request, heard), "127.0.0.1", port)  # type: ignore[misc]
        await _until(heard, place - 100)
    await _until(heard, len(paths))
    print("connected", flush=True)
    await asyncio.sleep(WARM_SECONDS)
    print("warm", flush=True)
    heard.events, heard.late = 0, []
    await asyncio.sleep(seconds)
    late = sorted(heard.late) or [0.0]
    figures = {
        "events": heard.events,
        "events_a_second": heard.events / seconds,
        "p50_ms": late[len(late) // 2] * 1000,
        "p99_ms": late[len(late) * 99 // 100] * 1000,
    }
    print(json.dumps(figures), flush=True)
    await asyncio.Event().wait()


async def _until(heard: Heard, count: int) -> None:
    """So many are connected. Ends the program if one was refused."""
    while heard.connected < count:  # noqa: ASYNC110 - many hear at once
        await asyncio.sleep(0.001)
    if heard.refusal:
        sys.exit(f"a reader was refused: {heard.refusal!r}")


if __name__ == "__main__":
    names = Path(sys.argv[2]).read_text().split()
    uvloop.run(main(int(sys.argv[1]), names, int(sys.argv[3]), float(sys.argv[4])))
