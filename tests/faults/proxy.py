"""A proxy before Redis that stops at a point: it knows which command each reply belongs to.

    proxy = Proxy(redis.port)                     # give `proxy.url` to a worker or a client
    trap = proxy.hold("claim")                    # the script has run; its reply waits here
    trap = proxy.hold("LPUSH", reply=False)       # the command waits here; Redis has not seen it
    trap = proxy.cut("append")                    # the script has run; instead of its reply, a reset
    trap.wait()                                   # until somebody walked into it
    proxy.stall(); proxy.heal()                   # no byte passes either way; and again
    proxy.reset()                                 # RST for every connection

A name is that of one of the ledger's scripts, or of a command. A trap catches once.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from palaver.shared.ledger import load, script_names

SMALL_BUFFER = 32 * 1024
LINGER_NOT = struct.pack("ii", 1, 0)
NOTHING = (b"*-1\r\n", b"$-1\r\n")
"""Replies that no trap catches: a queue was asked for a message, and there was none."""
NOT_RUN = b"-NOSCRIPT"
"""How another such reply begins: the server does not know the script, which will be sent to it whole."""
PUSHED = (b"*3\r\n$7\r\nmessage\r\n", b"*4\r\n$8\r\npmessage\r\n")
"""How values begin that answer no command."""
SUBSCRIBING = (b"SUBSCRIBE", b"PSUBSCRIBE", b"UNSUBSCRIBE", b"PUNSUBSCRIBE")
"""Commands with a reply for each word after the first."""


@dataclass(eq=False)
class Trap:
    """Set by `hold` and `cut`. `words` is what was caught."""

    name: str
    reply: bool
    cuts: bool
    where: Callable[[list[bytes]], bool]
    words: list[bytes] = field(default_factory=list)
    _caught: threading.Event = field(default_factory=threading.Event)

    @property
    def caught(self) -> bool:
        return self._caught.is_set()

    def wait(self, seconds: float = 30) -> None:
        """Until the command came by."""
        assert self._caught.wait(seconds), f"nobody sent {self.name} within {seconds} s"

    def matches(self, name: str, words: list[bytes], *, reply: bool) -> bool:
        return not self.caught and self.reply is reply and self.name == name and self.where(words)

    def catch(self, words: list[bytes]) -> None:
        self.words = words
        self._caught.set()


class Cut(Exception):
    """This connection is to be reset."""


class Proxy:
    """Listens on a free port of the loopback, in a thread of its own. A context manager."""

    def __init__(self, port: int) -> None:
        self.upstream = port
        self.port = 0
        scripts = [load(name) for name in script_names()]
        self.names = {script.sha.encode(): script.name for script in scripts}
        self.names |= {script.source.encode(): script.name for script in scripts}
        self.seen: Counter[str] = Counter()  # commands and scripts by name
        self.traps: list[Trap] = []
        self.links: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._do(self._listen())

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    # Faults

    def hold(
        self, name: str, *, reply: bool = True, where: Callable[[list[bytes]], bool] = lambda words: True
    ) -> Trap:
        """Keep the next one's reply (or the command itself) back, for ever."""
        return self._trap(Trap(name, reply, cuts=False, where=where))

    def cut(
        self, name: str, *, reply: bool = True, where: Callable[[list[bytes]], bool] = lambda words: True
    ) -> Trap:
        """Reset the connection instead of passing on the reply (or the command)."""
        return self._trap(Trap(name, reply, cuts=True, where=where))

    def stall(self) -> None:
        """Let nothing through, in open and new connections, until `heal`."""
        self._do(self._set(self.flowing.clear))

    def heal(self) -> None:
        """Let through what waited, and go on."""
        self._do(self._set(self.flowing.set))

    def reset(self) -> int:
        """Reset every connection; how many there were."""
        links = list(self.links)
        for link in links:
            self._do(self._set(link.cut))
        return len(links)

    # What connections ask

    def name_of(self, words: list[bytes]) -> str:
        """The script's name of an EVALSHA or EVAL, else the command."""
        command = words[0].upper()
        found = self.names.get(words[1]) if command in (b"EVALSHA", b"EVAL") else None
        return found or command.decode()

    async def inspect(self, words: list[bytes], *, reply: bool) -> None:
        """Where a command and its reply are caught."""
        name = self.name_of(words)
        if not reply:
            self.seen[name] += 1
        for trap in self.traps:
            if trap.matches(name, words, reply=reply):
                trap.catch(words)
                if trap.cuts:
                    raise Cut
                await asyncio.Event().wait()

    # The loop

    def _trap(self, trap: Trap) -> Trap:
        self.traps.append(trap)
        return trap

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    @staticmethod
    async def _set(change: Callable[[], object]) -> None:
        change()

    async def _listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, reader, writer)
        self.links.add(connection)
        try:
            await connection.run()
        finally:
            self.links.discard(connection)

    async def _close(self) -> None:
        self._server.close()
        for link in list(self.links):
            link.cut()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)


class _Connection:
    """One client's connection and the one to Redis that belongs to it."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.proxy = proxy
        self.client = (reader, writer)
        self.owed: deque[list[bytes]] = deque()  # commands without a reply yet
        self.pumps: list[asyncio.Task[None]] = []
        self.writers = [writer]

    async def run(self) -> None:
        reader, writer = self.client
        with contextlib.suppress(ConnectionError, Cut, asyncio.IncompleteReadError):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.proxy.upstream))
            server_reader, server_writer = await asyncio.open_connection(sock=sock, limit=SMALL_BUFFER)
            self.writers.append(server_writer)
            self.pumps = [
                asyncio.ensure_future(self.commands(reader, server_writer)),
                asyncio.ensure_future(self.replies(server_reader, writer)),
            ]
            await asyncio.wait(self.pumps, return_when=asyncio.FIRST_COMPLETED)
        self.cut()
        await asyncio.gather(*self.pumps, return_exceptions=True)

    def cut(self) -> None:
        """RST both sides."""
        for pump in self.pumps:
            pump.cancel()
        for writer in self.writers:
            sock = writer.get_extra_info("socket")
            if sock is not None and not writer.transport.is_closing():
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
                writer.transport.abort()

    async def commands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for message in _messages(reader):
            await self.proxy.flowing.wait()
            words = _words(message)
            replies = len(words) - 1 if words[0].upper() in SUBSCRIBING else 1
            self.owed.extend([words] * replies)
            await self.proxy.inspect(words, reply=False)
            writer.write(message)
            await writer.drain()

    async def replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async for message in _messages(reader):
            await self.proxy.flowing.wait()
            if self.owed and not message.startswith(PUSHED):
                words = self.owed.popleft()
                if message not in NOTHING and not message.startswith(NOT_RUN):
                    await self.proxy.inspect(words, reply=True)
            writer.write(message)
            await writer.drain()


async def _messages(reader: asyncio.StreamReader) -> Any:
    """The bytes of each RESP2 value."""
    held = b""
    while data := await reader.read(SMALL_BUFFER):
        held += data
        start = 0
        while (end := _end(held, start)) is not None:
            yield held[start:end]
            start = end
        held = held[start:]


def _end(data: bytes, start: int) -> int | None:
    """Where the value that begins at `start` ends; None when it is not all there."""
    line = data.find(b"\r\n", start)
    if line < 0:
        return None
    kind, place = data[start : start + 1], line + 2
    if kind == b"$":
        place += max(int(data[start + 1 : line]) + 2, 0) if data[start + 1 : line] != b"-1" else 0
        return place if place <= len(data) else None
    if kind == b"*":
        for _ in range(max(int(data[start + 1 : line]), 0)):
            inner = _end(data, place)
            if inner is None:
                return None
            place = inner
    return place


def _words(message: bytes) -> list[bytes]:
    """The words of a command."""
    words, place = [], message.index(b"\r\n") + 2
    while place < len(message):
        line = message.index(b"\r\n", place)
        length = int(message[place + 1 : line])
        words.append(message[line + 2 : line + 2 + length])
        place = line + 2 + length + 2
    return words
