"""A look that many ask for."""

import asyncio
import threading

import pytest

from palaver.workers.flower_pages.looks import FRESH_SECONDS, Looks


async def test_who_asks_within_a_second_of_a_look_or_during_it_shares_it() -> None:
    go_on, looked, now = threading.Event(), [0], [5.0]

    def look() -> int:
        assert go_on.wait(20)
        looked[0] += 1
        return looked[0]

    looks = Looks(look, clock=lambda: now[0])
    asking = [asyncio.create_task(looks.latest()) for _ in range(5)]
    await asyncio.sleep(0)
    now[0] += 60  # it takes long
    go_on.set()
    assert await asyncio.gather(*asking) == [1] * 5
    now[0] += FRESH_SECONDS * 0.9
    assert await looks.latest() == 1
    now[0] += FRESH_SECONDS * 0.2
    assert await looks.latest() == 2


async def test_an_error_is_told_to_all_who_share_it_and_not_to_the_next() -> None:
    now, wrong = [0.0], [True]

    def look() -> str:
        if wrong[0]:
            raise ConnectionError("away")
        return "seen"

    looks = Looks(look, clock=lambda: now[0])
    told = await asyncio.gather(looks.latest(), looks.latest(), return_exceptions=True)
    assert [str(error) for error in told] == ["away", "away"]
    wrong[0] = False
    with pytest.raises(ConnectionError):
        await looks.latest()
    now[0] += FRESH_SECONDS
    assert await looks.latest() == "seen"


async def test_one_who_goes_leaves_the_look_to_the_others() -> None:
    go_on = threading.Event()
    looks = Looks(lambda: go_on.wait(20))
    going, staying = asyncio.create_task(looks.latest()), asyncio.create_task(looks.latest())
    await asyncio.sleep(0)
    going.cancel()
    await asyncio.wait([going])
    go_on.set()
    assert await staying
