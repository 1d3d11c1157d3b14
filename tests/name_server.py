"""A name server that is as slow as can be: of most names it says nothing."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

__all__ = ["NameServer", "name_server"]


class NameServer(asyncio.DatagramProtocol):
    """Knows `receiver.example`, which is this machine, and is silent of other names."""

    def __init__(self) -> None:
        self.address = ""  # host and port
        self._silent: set[str] = set()
        self._news = asyncio.Event()

    async def is_asked_for(self, count: int) -> None:
        """Return when it was silent of so many names."""
        async with asyncio.timeout(20):
            while len(self._silent) < count:
                self._news.clear()
                await self._news.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        host, port = transport.get_extra_info("sockname")
        self.address = f"{host}:{port}"

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question, place, labels = data[12:], 0, list[str]()
        while length := question[place]:
            labels.append(question[place + 1 : place + 1 + length].decode().lower())
            place += 1 + length
        if labels != ["receiver", "example"]:
            self._silent.add(".".join(labels))
            self._news.set()
            return
        kind = int.from_bytes(question[place + 1 : place + 3])
        a_record = b"\xc0\x0c" + struct.pack("!HHIH4s", kind, 1, 60, 4, socket.inet_aton("127.0.0.1"))
        answers = [a_record] if kind == 1 else []
        head = data[:2] + struct.pack("!HHHHH", 0x8180, 1, len(answers), 0, 0)
        self._transport.sendto(head + question[: place + 5] + b"".join(answers), addr)


@asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    """One that listens on this machine."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    try:
        yield server
    finally:
        transport.close()
