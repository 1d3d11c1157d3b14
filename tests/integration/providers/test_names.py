"""Names of providers mean what they mean to the machine, whatever else looks names up in a worker."""

import asyncio
import socket
from typing import Any

import pytest

from palaver.workers.http import HttpClient, HttpRequest


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    writer.close()


async def test_the_system_looks_them_up(http: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = socket.getaddrinfo

    def of_this_machine(host: Any, *question: Any, **options: Any) -> Any:
        return look_up("127.0.0.1" if host == "model.lan" else host, *question, **options)

    monkeypatch.setattr(socket, "getaddrinfo", of_this_machine)
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        url = f"http://model.lan:{listening.sockets[0].getsockname()[1]}/"
        async with await http.send(HttpRequest(method="GET", url=url)) as response:
            assert await response.read(100) == b"ok"
