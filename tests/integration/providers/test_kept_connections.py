"""Connections that a server closes while the client keeps them."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from palaver.shared.errors import ConnectionError
from palaver.workers.http import HttpClient, HttpRequest


class Server:
    """Answers so many requests on each connection, and closes it when it has read another one, and worked
    on that for so many seconds.
    """

    def __init__(self) -> None:
        self.answers = 1
        self.resets = False
        self.works = 0.0
        self.requests = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self.answers
        while await self._read(reader):
            self.requests += 1
            if not left:
                await asyncio.sleep(self.works)
                break
            left -= 1
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        if self.resets:
            writer.transport.abort()
        writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        return await reader.readexactly(2) == b"{}" and head.startswith(b"POST")


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        yield server


async def ask(http: HttpClient, server: Server) -> bytes:
    async with await http.send(HttpRequest(method="POST", url=server.url, json={})) as response:
        return await response.read(100)


@pytest.fixture
def whenever(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process may stand still before it hears that a connection was closed."""
    monkeypatch.setattr("palaver.workers.http._AT_ONCE", 60.0)


@pytest.mark.usefixtures("whenever")
@pytest.mark.parametrize("resets", [False, True], ids=["closed", "reset"])
async def test_a_request_that_meets_a_closed_one_goes_out_again(
    http: HttpClient, server: Server, resets: bool
) -> None:
    server.resets = resets
    assert await ask(http, server) == b"ok"
    assert await ask(http, server) == b"ok"
    assert server.requests == 3


@pytest.mark.parametrize("resets", [False, True], ids=["closed", "reset"])
async def test_a_new_one_that_is_closed_is_a_failure(http: HttpClient, server: Server, resets: bool) -> None:
    server.answers, server.resets = 0, resets
    with pytest.raises(ConnectionError):
        await ask(http, server)
    assert server.requests == 1


@pytest.mark.parametrize("resets", [False, True], ids=["closed", "reset"])
async def test_one_that_is_closed_late_has_brought_its_request(
    http: HttpClient, server: Server, resets: bool
) -> None:
    """Who worked on it may have to be paid: to ask again is a retry."""
    server.resets, server.works = resets, 1.5
    assert await ask(http, server) == b"ok"
    with pytest.raises(ConnectionError):
        await ask(http, server)
    assert server.requests == 2


@pytest.mark.usefixtures("whenever")
async def test_where_one_is_closed_no_other_kept_one_is_tried(http: HttpClient, server: Server) -> None:
    """A server that restarts closes them all. A request is sent twice at most, and over one of them."""
    assert await asyncio.gather(*(ask(http, server) for _ in range(3))) == [b"ok"] * 3
    assert await ask(http, server) == b"ok"
    assert server.requests == 3 + 2
    assert await ask(http, server) == b"ok", "and the new one is kept as the others were"
    assert server.requests == 5 + 2
