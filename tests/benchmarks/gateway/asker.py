"""Asks for streams as OpenAI's clients do, and says how soon and how fast they come.

    python -m tests.benchmarks.gateway.asker PORT first COUNT LIVE      one by one, LIVE others beside them
    python -m tests.benchmarks.gateway.asker PORT many STREAMS SECONDS  unpaced, that many at once

The provider writes " w" before the number of each chunk, so counting these counts chunks, however many of
them are told in one event. An answer with fewer or more of them than it was asked for ends the program.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

from tests.benchmarks.results import Figures
from tests.benchmarks.streams import percentiles

WORD = b" w"
END = b"\r\n0\r\n\r\n"  # of a body in chunks, which all of them send
SHORT = 3  # chunks of an answer of which only the first word counts
CHUNKS = 100  # of an unpaced stream
LIVE_CHUNKS, LIVE_RATE = 2000, 20  # of a paced one: it lasts longer than the measurement
PAUSE_SECONDS = 0.02  # between two questions to a system that is to be idle
WARM_UP = 10  # answers that are not counted
WARM_SECONDS = 2.0


class Heard:
    """What all connections have heard since it was last set to nothing."""

    def __init__(self) -> None:
        self.chunks = self.answers = 0
        self.firsts: list[int] = []  # nanoseconds to the first word of each answer


class Connection(asyncio.Protocol):
    """Asks one question after the other."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._last = b""
        self._words = self._wanted = self._asked = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is none by its class

    def ask(self, *, chunks: int, rate: float = 0) -> None:
        """Ask; `begun` and `ended` are done when the first word has come, and all of them."""
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[int] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        question = json.dumps({"n": chunks, "rate": rate})
        messages = [{"role": "user", "content": question}]
        body = json.dumps({"model": "bench/m", "stream": True, "messages": messages}).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self._last, self._words, self._wanted = b"", 0, chunks
        self._asked = time.perf_counter_ns()
        self._transport.write(b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body))

    def data_received(self, data: bytes) -> None:
        joined = self._last + data
        found = joined.count(WORD) - self._last.count(WORD)
        self._words += found
        self._heard.chunks += found
        if found and not self.begun.done():
            self.begun.set_result(time.perf_counter_ns() - self._asked)
        self._last = joined[-len(END) :]
        if self._last == END:
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the server has closed the connection")

    def _end(self) -> None:
        if self._words != self._wanted:
            self._fail(f"{self._words} of {self._wanted} chunks have come")
            return
        self._heard.answers += 1
        self._heard.firsts.append(self.begun.result())
        self.ended.set_result(None)

    def _fail(self, why: str) -> None:
        for waiting in (self.begun, self.ended):
            if not waiting.done():
                waiting.set_exception(ConnectionError(why))


async def first(port: int, count: int, live: int) -> Figures:
    """p50, p95, p99 and the largest, in milliseconds, of answers that follow each other."""
    others = [await connect(port, Heard()) for _ in range(live)]
    for other in others:
        other.ask(chunks=LIVE_CHUNKS, rate=LIVE_RATE)
    for other in others:
        await other.begun
    heard = Heard()
    connection = await connect(port, heard)
    for _ in range(WARM_UP + count):
        connection.ask(chunks=SHORT)
        await connection.ended
        await asyncio.sleep(PAUSE_SECONDS)
    ended = sum(other.ended.done() for other in others)
    assert not ended, f"{ended} of the other streams did not last"
    return {f"{part}_ms": value for part, value in percentiles(heard.firsts[WARM_UP:]).items()}


async def many(port: int, streams: int, seconds: float) -> Figures:
    """Chunks and answers a second, and how soon these began, of streams that are there all the time."""
    heard = Heard()
    asking = [asyncio.create_task(_again_and_again(await connect(port, heard))) for _ in range(streams)]
    await _unless_failed(asking, WARM_SECONDS)
    heard.chunks = heard.answers = 0
    heard.firsts.clear()
    began = time.perf_counter()
    await _unless_failed(asking, seconds)
    passed = time.perf_counter() - began
    first_ms = percentiles(heard.firsts)
    return {
        "chunks": heard.chunks,
        "chunks_a_second": heard.chunks / passed,
        "answers_a_second": heard.answers / passed,
        "first_p50_ms": first_ms["p50"],
        "first_p99_ms": first_ms["p99"],
    }


async def connect(port: int, heard: Heard) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(
        lambda: Connection(heard), "127.0.0.1", port
    )
    return connection


async def _again_and_again(connection: Connection) -> None:
    while True:
        connection.ask(chunks=CHUNKS)
        await connection.ended


async def _unless_failed(tasks: list[asyncio.Task[None]], seconds: float) -> None:
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in done:
        task.result()


async def main(port: int, mode: str, count: int, more: float) -> None:
    figures = await (first(port, count, int(more)) if mode == "first" else many(port, count, more))
    print(json.dumps(figures), flush=True)
    await asyncio.Event().wait()  # the others go on until this is killed: nobody's end is measured


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
