"""Many requests that are asked for together, and given up together."""

import asyncio

import pytest

from palaver.producer.interfaces.settled import settle_all
from palaver.shared.responses import ChatResponse


async def test_who_still_cancels_its_job_is_not_interrupted_by_who_already_has() -> None:
    asked, cancelled = list[int](), list[int]()

    async def ask(turns: int) -> ChatResponse:
        asked.append(turns)
        try:
            return await asyncio.Future[ChatResponse]()
        finally:
            for _ in range(turns):
                await asyncio.sleep(0)
            cancelled.append(turns)

    asking = asyncio.create_task(settle_all(ask, [1, 20, 3], name="messages", batch_size=2))
    while len(asked) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (asked, cancelled) == ([1, 20], [1, 20])
