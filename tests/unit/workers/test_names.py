"""Lookups of names that are forgotten."""

import asyncio
import socket

from aiohttp.abc import AbstractResolver, ResolveResult

from palaver.workers.webhooks.names import Forgetful


class Slow(AbstractResolver):
    """Answers when it is `let`."""

    made: list["Slow"]

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.asked = self.closed = 0
        self.made.append(self)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        await self.let.wait()
        return []

    async def close(self) -> None:
        self.closed += 1


async def test_each_is_asked_so_often_and_closed_after_its_last_answer() -> None:
    made = Slow.made = []
    names = Forgetful(Slow, lookups=2)
    asking = [asyncio.create_task(names.resolve("x")) for _ in range(5)]
    while sum(slow.asked for slow in made) < 5:  # noqa: ASYNC110 - a plain count
        await asyncio.sleep(0)
    assert [(slow.asked, slow.closed) for slow in made] == [(2, 0), (2, 0), (1, 0)]
    asking[0].cancel()
    made[1].let.set()
    await asyncio.gather(*asking[2:4])
    assert [slow.closed for slow in made] == [0, 1, 0]
    made[0].let.set()
    await asking[1]
    assert [slow.closed for slow in made] == [1, 1, 0]
    await names.close()
    assert [slow.closed for slow in made] == [1, 1, 1]
    asking[4].cancel()
