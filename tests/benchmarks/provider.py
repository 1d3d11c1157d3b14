"""A provider that is never the limit: OpenAI streams at a given pace, or as fast as they are read.

    python -m tests.benchmarks.provider      prints its port, serves until it is killed

The last user message is JSON: {"n": deltas, "rate": a second (0: unpaced), "stamped": false}. A delta is
" wNUMBER"; stamped, it is " NUMBER:ASKED:WRITTEN", the times at which the request came and the delta was
written (nanoseconds of CLOCK_MONOTONIC, which the processes of a machine share). GET /_stats says what was
written so far, and how late that was by its own clock.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import time
from functools import cache
from itertools import count
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = (
    b'data: {"id":"chatcmpl-Bq4t1dYcK0w5J0kM2v6Qx1r8","object":"chat.completion.chunk","created":1795175234,'
    b'"model":"m","service_tier":"default","system_fingerprint":"fp_62a23a81ef","choices":[{"index":0,%b}]%b}\n\n'
)
DELTA = EVENT % (b'"delta":{"content":" %b"},"logprobs":null,"finish_reason":null', b"")
USAGE = b',"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}'
END = EVENT % (b'"delta":{},"logprobs":null,"finish_reason":"stop"', USAGE) + b"data: [DONE]\n\n"
BLOCK = 16  # deltas of one write of an unpaced stream
TICK = 0.001  # seconds between two looks at what is due
GOLDEN = 0.6180339887  # spreads the phases of the streams evenly, however many there are


def framed(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


@cache
def frame(number: int) -> bytes:
    return framed(DELTA % (b"w%d" % number))


@cache
def block(first: int, size: int) -> bytes:
    return b"".join(frame(number) for number in range(first, first + size))


LAST = framed(END) + b"0\r\n\r\n"


class Desk:
    """What all connections share: the clock of the paced streams, and what has been written."""

    def __init__(self) -> None:
        self.begun = self.live = self.ended = self.written = 0
        self.late = 0.0  # seconds, summed over all paced deltas
        self._due: list[tuple[float, int, Streams]] = []
        self._number = count()
        self._ticking = False

    def pace(self, stream: Streams, due: float) -> None:
        """Have the stream step at this time of the loop."""
        heapq.heappush(self._due, (due, next(self._number), stream))
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_later(TICK, self._tick)

    def _tick(self) -> None:
        loop, queue = asyncio.get_running_loop(), self._due
        now = loop.time()
        while queue and queue[0][0] <= now:
            due, number, stream = queue[0]
            self.late += now - due
            following = stream.step(due)
            if following is None:
                heapq.heappop(queue)
            else:
                heapq.heapreplace(queue, (following, number, stream))
        self._ticking = bool(queue)
        if queue:
            loop.call_later(TICK, self._tick)

    def stats(self) -> bytes:
        names = ("begun", "live", "ended", "written", "late")
        body = json.dumps({name: getattr(self, name) for name in names}).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


class Streams(asyncio.Protocol):
    """One connection; requests one after the other."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.received = b""
        self.count = self.sent = 0
        self.pause = 0.0  # seconds between two deltas
        self.full = False  # the client reads too slowly

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.sent < self.count:
            self.desk.live -= 1

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False
        self.pour()

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        if not found or len(body) < length:
            return
        self.received = body[length:]
        if head.startswith(b"GET"):
            self.transport.write(self.desk.stats())
        else:
            self.begin(json.loads(body[:length]))

    def begin(self, request: dict[str, Any]) -> None:
        script = json.loads(request["messages"][-1]["content"])
        self.count, self.sent, self.stamped = script["n"], 0, script.get("stamped", False)
        self.asked = time.monotonic_ns()
        self.desk.begun += 1
        self.desk.live += 1
        self.transport.write(HEAD)
        if script["rate"]:
            self.pause = 1 / script["rate"]
            phase = self.desk.begun * GOLDEN % 1
            self.desk.pace(self, asyncio.get_running_loop().time() + self.pause * phase)
        else:
            self.pause = 0.0
            self.pour()

    def step(self, due: float) -> float | None:
        """Write the delta that is due; when the next one is."""
        if self.transport.is_closing():
            return None
        self.write(1)
        if self.sent == self.count:
            self.end()
            return None
        return due + self.pause

    def pour(self) -> None:
        """Write the next block of an unpaced stream, and let the others have their turn."""
        if self.pause or self.full or self.transport.is_closing() or self.sent == self.count:
            return
        self.write(min(BLOCK, self.count - self.sent))
        if self.sent == self.count:
            self.end()
        else:
            asyncio.get_running_loop().call_soon(self.pour)

    def write(self, size: int) -> None:
        if self.stamped:
            stamps = b":%d:%d" % (self.asked, time.monotonic_ns())
            words = [b"%d%b" % (number, stamps) for number in range(self.sent, self.sent + size)]
            data = b"".join(framed(DELTA % word) for word in words)
        else:
            data = frame(self.sent) if size == 1 else block(self.sent, size)
        self.transport.write(data)
        self.sent += size
        self.desk.written += size

    def end(self) -> None:
        self.transport.write(LAST)
        self.desk.live -= 1
        self.desk.ended += 1


async def main() -> None:
    desk = Desk()
    server = await asyncio.get_running_loop().create_server(
        lambda: Streams(desk), "127.0.0.1", 0, backlog=4096
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
