"""Bodies as they come off the wire: in bytes of their own, after pauses, and those that say nothing more."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from palaver.shared.errors import TimeoutError
from palaver.shared.jobs import Timeouts
from palaver.workers.http import HttpClient, HttpRequest

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
BYTES = bytes(range(256)) * 200

Server = Callable[[asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def serving() -> AsyncIterator[Callable[[Server], Awaitable[str]]]:
    """Starts a server that answers each request as it is told, and gives its URL."""
    listening: list[asyncio.Server] = []

    async def start(answer: Server) -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        listening.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"

    yield start
    for server in listening:
        server.close()


Serving = Callable[[Server], Awaitable[str]]


def chunked(data: bytes) -> bytes:
    """Each byte a chunk of its own."""
    return b"".join(b"1\r\n%c\r\n" % byte for byte in data)


async def read(http: HttpClient, url: str, *, silence: float = 30.0) -> bytes:
    request = HttpRequest(method="GET", url=url, timeouts=Timeouts(read=silence))
    async with await http.send(request) as response:
        return await response.read(1_000_000)


@pytest.mark.parametrize("at_once", [True, False], ids=["all with the head", "after a pause"])
async def test_bytes_that_come_one_by_one(http: HttpClient, serving: Serving, at_once: bool) -> None:
    read_on = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + (b"" if at_once else b"1\r\n!\r\n"))
        if not at_once:
            await read_on.wait()
        writer.write(chunked(BYTES) + b"0\r\n\r\n")
        await writer.drain()

    url, body = await serving(answer), bytearray()

    def take(data: bytes) -> bool:
        body.extend(data)
        read_on.set()
        return True

    async with await http.send(HttpRequest(method="GET", url=url)) as response:
        assert await response.pour(take)
    assert bytes(body) == (b"" if at_once else b"!") + BYTES


async def test_a_taker_with_enough_goes_on_where_it_stopped(http: HttpClient, serving: Serving) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for start in range(0, len(BYTES), 1000):
            writer.write(chunked(BYTES[start : start + 1000]))
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    body = bytearray()

    def take(data: bytes) -> bool:
        body.extend(data)
        return len(body) % 3 == 0

    async with await http.send(HttpRequest(method="GET", url=await serving(answer))) as response:
        while not await response.pour(take):
            pass
    assert bytes(body) == BYTES


async def test_each_is_given_up_after_its_own_silence(http: HttpClient, serving: Serving) -> None:
    held = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"1\r\n!\r\n")
        await held.wait()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    url = await serving(answer)
    patient = asyncio.ensure_future(read(http, url))
    later = asyncio.ensure_future(read(http, url, silence=0.9))
    with pytest.raises(TimeoutError, match=r"nothing came for 0\.2 s"):
        await read(http, url, silence=0.2)
    with pytest.raises(TimeoutError, match=r"nothing came for 0\.9 s"):
        await later
    assert not patient.done()
    held.set()
    assert await patient == b"!"


async def test_an_answer_that_switches_protocols_has_no_body(http: HttpClient, serving: Serving) -> None:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n")
        await writer.drain()

    async with await http.send(HttpRequest(method="GET", url=await serving(answer))) as response:
        assert response.status == 101
        assert await response.read(100) == b""
