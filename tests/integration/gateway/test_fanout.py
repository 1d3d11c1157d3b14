"""One reader a session, for all who follow it."""

import asyncio
from collections.abc import Callable

import pytest

from palaver.producer import AsyncClient
from palaver.producer.gateway.fanout.feed import Feed, Feeds
from palaver.producer.reader import Reader
from tests.integration.gateway.conftest import new_session
from tests.integration.gateway.here import begin
from tests.integration.ledger.world import World
from tests.servers import eventually

pytestmark = pytest.mark.redis

FOLLOWERS = 20


async def until(condition: Callable[[], bool]) -> None:
    assert await asyncio.to_thread(eventually, condition)


async def test_who_has_caught_up_reads_by_himself_no_longer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also who was ahead of the session's reader, and is told of each event before that is."""
    free, run = asyncio.Event(), Feed._run

    async def held(self: Feed, reader: Reader) -> None:
        await free.wait()
        await run(self, reader)

    monkeypatch.setattr(Feed, "_run", held)
    job = world.submit(new_session())
    channel, told = world.keys.channel(job.session_id).encode(), [0] * FOLLOWERS
    async with AsyncClient(world.settings) as client, asyncio.TaskGroup() as tasks:
        feeds, inboxes = Feeds(client), client._hub.subscriptions._inboxes

        async def follow(number: int) -> None:
            async for piece in feeds.follow(job.session_id, 0):
                told[number] += piece.count(b'"seq":')

        followers = [tasks.create_task(follow(0))]
        await until(lambda: told[0] == 1)
        begin(world, job)
        followers += [tasks.create_task(follow(number)) for number in range(1, FOLLOWERS)]
        await until(lambda: len(inboxes.get(channel, ())) == FOLLOWERS - 1)
        free.set()
        await until(lambda: len(inboxes[channel]) == FOLLOWERS)
        for count, text in ((3, "a"), (4, "b")):
            world.append(job, text, first=count - 1)
            await until(lambda count=count: set(told) == {count})  # type: ignore[misc]
        await until(lambda: len(inboxes[channel]) == 1)
        for follower in followers:
            follower.cancel()
