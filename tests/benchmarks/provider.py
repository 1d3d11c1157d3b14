"""A provider that is never the bottleneck: paced OpenAI streams, every delta stamped with its time.

    python -m tests.benchmarks.provider      prints its port, serves until it is killed

The last user message is JSON {"n": deltas, "rate": per second}. A delta is " NUMBER:NANOSECONDS" of the
moment in which it was written (CLOCK_MONOTONIC, which the processes of a machine share).
"""

import asyncio
import json
import time
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'data: {"id":"b","object":"chat.completion.chunk","model":"m","choices":[{"index":0,%b}]%b}\n\n'
DELTA = EVENT % (b'"delta":{"content":" %d:%d"},"finish_reason":null', b"")
USAGE = b',"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}'
END = EVENT % (b'"delta":{},"finish_reason":"stop"', USAGE) + b"data: [DONE]\n\n"


def framed(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


class Streams(asyncio.Protocol):
    """One connection; requests one after the other."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
        if found and len(body) >= length:
            self.received = body[length:]
            self.begin(json.loads(body[:length]))

    def begin(self, request: dict[str, Any]) -> None:
        script = json.loads(request["messages"][-1]["content"])
        self.count, self.pause = script["n"], 1 / script["rate"]
        self.sent = 0
        self.loop = asyncio.get_running_loop()
        self.due = self.loop.time() + self.pause
        self.transport.write(HEAD)
        self.loop.call_at(self.due, self.step)

    def step(self) -> None:
        if self.transport.is_closing():
            return
        if self.sent == self.count:
            self.transport.write(framed(END) + b"0\r\n\r\n")
            return
        self.transport.write(framed(DELTA % (self.sent, time.monotonic_ns())))
        self.sent += 1
        self.due += self.pause
        self.loop.call_at(self.due, self.step)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Streams, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
