"""Asks the provider for streams and throws them away: how fast the provider is.

python -m tests.benchmarks.drain PORT STREAMS QUESTION      prints the seconds that it took
"""

import asyncio
import json
import sys
import time

import uvloop


class Drain(asyncio.Protocol):
    """One stream, until its last bytes."""

    def __init__(self, request: bytes, done: asyncio.Future[None]) -> None:
        self.request, self.done = request, done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(self.request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n0\r\n\r\n"):
            self.done.set_result(None)


async def main(port: int, streams: int, question: str) -> None:
    loop = asyncio.get_running_loop()
    body = json.dumps({"messages": [{"role": "user", "content": question}]}).encode()
    request = b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    ends: list[asyncio.Future[None]] = [loop.create_future() for _ in range(streams)]
    began = time.monotonic()
    for end in ends:
        await loop.create_connection(lambda end=end: Drain(request, end), "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*ends)
    print(time.monotonic() - began, flush=True)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
