"""Room in memory for lines of several batches."""

import asyncio
from contextlib import AsyncExitStack, suppress

from palaver.workers.batches.room import Room, Share


async def takes(room: Room, lines: AsyncExitStack, share: Share, size: int) -> bool:
    """Whether a line of this batch begins now; it goes on as long as the others."""
    with suppress(TimeoutError):
        async with asyncio.timeout(0.01):
            await lines.enter_async_context(room.take(size, share))
            return True
    return False


async def begun(room: Room, lines: AsyncExitStack, share: Share, size: int) -> int:
    """How many lines of this batch begin."""
    count = 0
    while await takes(room, lines, share, size):
        count += 1
    return count


async def test_a_batch_that_is_alone_takes_all() -> None:
    async with AsyncExitStack() as lines:
        assert await begun(Room(100), lines, Share(), 10) == 10


async def test_each_batch_has_its_share_whatever_the_others_have_taken() -> None:
    room = Room(100)
    async with AsyncExitStack() as lines:
        assert [await begun(room, lines, Share(), 10) for _ in range(4)] == [10, 5, 3, 2]


async def test_one_line_of_a_batch_begins_however_large_it_is() -> None:
    room, first = Room(100), Share()
    async with AsyncExitStack() as lines:
        assert [await begun(room, lines, share, 1000) for share in (first, Share())] == [1, 1]
        assert not await takes(room, lines, first, 1)


async def test_what_is_given_back_is_anybodys() -> None:
    room, first, second = Room(100), Share(), Share()
    async with AsyncExitStack() as lines:
        async with AsyncExitStack() as soon_over:
            assert await begun(room, soon_over, first, 10) == 10
            assert await begun(room, lines, second, 10) == 5
        assert await begun(room, lines, second, 10) == 5
        assert await begun(room, lines, first, 10) == 5
    assert not first.held


async def test_lines_of_a_batch_begin_in_the_order_in_which_they_ask() -> None:
    room, share, order = Room(10), Share(), list[int]()

    async def line(number: int, size: int) -> None:
        async with room.take(size, share):
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(line(number, size) for number, size in enumerate((6, 8, 1, 9))))
    assert order == [0, 1, 2, 3]
