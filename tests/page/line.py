"""A network between a browser and the gateway, which can die without a word."""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Self, TypeVar

T = TypeVar("T")


class Line:
    """Passes connections on, in a thread of its own. A context manager.

    After `die` nothing comes through, and nobody is told: connections stay open. After `revive` new ones
    work; those from before stay dead, as when a router has forgotten them.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._deaths = 0
        self._alive = asyncio.Event()
        self._alive.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="line", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        server = self._do(asyncio.start_server(self._pass_on, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def die(self) -> None:
        self._do(self._set(alive=False))

    def revive(self) -> None:
        self._do(self._set(alive=True))

    async def _set(self, *, alive: bool) -> None:
        if alive:
            self._alive.set()
        else:
            self._deaths += 1
            self._alive.clear()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError):  # at the end of the test
            await self._alive.wait()
            born = self._deaths
            answers, asks = await asyncio.open_connection("127.0.0.1", self._upstream)
            await asyncio.gather(self._pump(reader, asks, born), self._pump(answers, writer, born))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, born: int) -> None:
        try:
            while data := await reader.read(1 << 16):
                if self._deaths != born:
                    await asyncio.Event().wait()  # nothing more, and no end either
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)
