"""The floor: what the hot path costs when nothing but the hot path is there.

    python -m tests.benchmarks.floor REDIS_URL PROVIDER_PORT STREAMS CHUNKS RATE STAMPED

No worker, no Celery, no runner, no errors, one format of chunk: read N streams, and append each delta to its
session's log through the ledger's own script, hand-packed, on one raw connection that clocks itself: the
first delta leaves at once, and what gathers during a round trip leaves together. Its jobs are claimed before
it prints "ready"; it begins at SIGUSR1 and counts finished streams in the key `bench:ended`, as the rivals
do.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from urllib.parse import urlsplit

import aiohttp
import hiredis
import orjson
import uvloop

from palaver.shared.ids import new_token
from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import AsyncLedger, Claimed, load, operations
from palaver.shared.settings import Settings

LEASE_SECONDS = 3600

DELTA = b'"type":"text_chunk","data":{"delta":%b}'
END = b'"type":"stream_end","data":{"status":"completed"}'


def bulk(data: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(data), data)


class Wire(asyncio.Protocol):
    """The connection to Redis, and the streams that have something to send."""

    def __init__(self) -> None:
        self.replies = hiredis.Reader()
        self.owed = 0
        self.gathering: list[Stream] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.replies.feed(data)
        while (reply := self.replies.gets()) is not False:
            self.owed -= 1
            if isinstance(reply, hiredis.ReplyError) or (isinstance(reply, list) and reply[0] != b"ok"):
                raise SystemExit(f"the ledger refused: {reply!r}")
        if not self.owed and self.gathering:
            self.flush()

    def gather(self, stream: Stream) -> None:
        self.gathering.append(stream)
        if not self.owed and len(self.gathering) == 1:
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        if self.owed:  # a command that counts an end went first
            return
        streams, self.gathering = self.gathering, []
        self.send(b"".join([stream.take() for stream in streams]), len(streams))

    def send(self, data: bytes, replies: int) -> None:
        self.owed += replies
        self.transport.write(data)  # type: ignore[attr-defined]


class Stream:
    """One job's place in its log, and what it has said since the last batch."""

    def __init__(self, wire: Wire, session_id: str, job_id: str, base: str, fence: str) -> None:
        self.wire = wire
        words = ("EVALSHA", load("append").sha, "1", base, session_id, job_id, fence, "10000")
        self.head = b"".join([bulk(word.encode()) for word in words])
        self.sequence = 1
        self.said: list[str] = []
        self.ended = False

    def say(self, delta: str) -> None:
        self.said.append(delta)
        if len(self.said) == 1:
            self.wire.gather(self)

    def end(self) -> None:
        self.ended = True
        if not self.said:
            self.wire.gather(self)

    def take(self) -> bytes:
        text, self.said = "".join(self.said), []
        events = [DELTA % orjson.dumps(text)] if text else []
        if self.ended:
            events.append(END)
        arguments = bulk(b"%d" % self.sequence) + b"$1\r\n0\r\n" + bulk(text.encode()) + b"$0\r\n\r\n"
        self.sequence += len(events)
        return b"*%d\r\n" % (12 + len(events)) + self.head + arguments + b"".join(map(bulk, events))


async def follow(client: aiohttp.ClientSession, url: str, question: str, stream: Stream) -> None:
    """Read one answer to its end."""
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": question}]}
    async with client.post(url, json=body) as response:
        rest = b""
        async for data in response.content.iter_any():
            *lines, rest = (rest + data).split(b"\n\n")
            for line in lines:
                if line.startswith(b"data: {"):
                    choice = orjson.loads(line[6:])["choices"][0]
                    if text := choice["delta"].get("content"):
                        stream.say(text)


async def jobs(settings: Settings, streams: int) -> list[tuple[str, str, str, str]]:
    """(session id, job id, base key, fence) of claimed jobs."""
    ledger = AsyncLedger(settings)
    made = [ChatJob(messages="floor", session_id=f"bench-{number}") for number in range(streams)]
    await ledger.submit_many(made)
    names = [(job.session_id or "", job.job_id) for job in made]
    claims = [
        operations.claim(ledger.keys, *name, token=new_token(), worker="floor", lease=LEASE_SECONDS)
        for name in names
    ]
    claimed = await ledger.run_many(claims)
    await ledger.aclose()
    return [
        (*name, ledger.keys.base(name[0]), claim.fence)
        for name, claim in zip(names, claimed, strict=True)
        if isinstance(claim, Claimed)
    ]


async def main(redis_url: str, port: int, streams: int, chunks: int, rate: float, stamped: int) -> None:
    loop, go = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, go.set)
    names = await jobs(Settings(redis_url=redis_url), streams)
    address = urlsplit(redis_url)
    _, wire = await loop.create_connection(Wire, address.hostname or "", address.port or 0)
    wire.send(b"*3\r\n" + bulk(b"SCRIPT") + bulk(b"LOAD") + bulk(load("append").source.encode()), 1)
    question = json.dumps({"n": chunks, "rate": rate, "stamped": bool(stamped)})
    url = f"http://127.0.0.1:{port}/v1/chat/completions"

    async def run(name: tuple[str, str, str, str]) -> None:
        stream = Stream(wire, *name)
        await follow(client, url, question, stream)
        stream.end()
        wire.send(b"*2\r\n$4\r\nINCR\r\n$11\r\nbench:ended\r\n", 1)

    connector = aiohttp.TCPConnector(limit=streams)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout()) as client:
        print("ready", flush=True)
        await go.wait()
        await asyncio.gather(*map(run, names))
        await asyncio.Event().wait()  # until it is killed: its CPU is still to be read


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], *map(int, sys.argv[2:])))
