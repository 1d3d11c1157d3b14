"""Lanes: bounded for the job's pieces, never for one's own, and in order."""

import asyncio

from palaver.producer.interfaces.outlet import Lane


async def taken(lane: Lane) -> list[object]:
    return [piece async for piece in lane]


async def test_the_job_waits_where_a_reader_does_not_keep_up() -> None:
    lane = Lane(2)
    await lane.put("a")
    await lane.put("b")
    third = asyncio.create_task(lane.put("c"))
    await asyncio.sleep(0)
    assert not third.done()
    pieces = aiter(lane)
    assert await anext(pieces) == "a"
    await third
    assert await anext(pieces) == "b"


async def test_one_s_own_pieces_never_wait_and_keep_their_place() -> None:
    lane = Lane(1)
    await lane.put("a")
    for own in ("x", "y", "z"):
        lane.slip_in(own)
    lane.end()
    assert await taken(lane) == ["a", "x", "y", "z"]


async def test_own_pieces_take_no_room_of_the_job_s() -> None:
    lane = Lane(1)
    for own in ("x", "y"):
        lane.slip_in(own)
    pieces = aiter(lane)
    assert [await anext(pieces), await anext(pieces)] == ["x", "y"]
    await lane.put("a")
    second = asyncio.create_task(lane.put("b"))
    await asyncio.sleep(0)
    assert not second.done()
    second.cancel()
