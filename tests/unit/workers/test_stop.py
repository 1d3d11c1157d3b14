"""Ending work from outside, for a reason."""

import asyncio

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from palaver.shared.errors import JobCancelledError, JobExpiredError
from palaver.workers.pool.direct import Driven
from palaver.workers.stop import Stop, uninterrupted


async def test_the_block_raises_the_first_reason() -> None:
    stop = Stop()
    asyncio.get_running_loop().call_soon(stop, JobCancelledError())
    asyncio.get_running_loop().call_soon(stop, JobExpiredError())
    with pytest.raises(JobCancelledError):
        async with stop:
            await asyncio.Event().wait()
    await asyncio.sleep(0)  # nothing of the cancellation is left


async def test_a_reason_given_before_the_block_keeps_it_from_starting() -> None:
    stop = Stop()
    stop(JobCancelledError())
    with pytest.raises(JobCancelledError):
        async with stop:
            pytest.fail("the block was entered")


async def test_a_reason_given_after_the_block_cancels_nothing() -> None:
    stop = Stop()
    async with stop:
        pass
    stop(JobCancelledError())
    await asyncio.sleep(0)


async def test_the_clock_is_a_reason_too() -> None:
    stop = Stop()
    stop.after(0.001, JobExpiredError)
    with pytest.raises(JobExpiredError):
        async with stop:
            await asyncio.Event().wait()


async def test_a_foreign_cancellation_stays_one() -> None:
    async def work() -> None:
        async with Stop():
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_clean_up_within_the_block_runs_before_the_reason_comes_out() -> None:
    stop, seen = Stop(), []

    async def work() -> None:
        async with stop:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                seen.append("closed")

    asyncio.get_running_loop().call_soon(stop, JobCancelledError())
    with pytest.raises(JobCancelledError):
        await work()
    assert seen == ["closed"]


async def test_uninterrupted_work_is_finished_and_tells_of_the_cancellation() -> None:
    go, told = asyncio.Event(), []

    async def work() -> str:
        await go.wait()
        return "done"

    task = asyncio.create_task(uninterrupted(work(), lambda: told.append("cancelled")))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    go.set()
    assert await task == "done"
    assert told == ["cancelled"]


@pytest.mark.parametrize("heeded", [True, False])
async def test_a_soft_time_limit_leaves_no_work_half_done(heeded: bool) -> None:
    go_on, interrupted = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        await go_on.wait()
        return "done"

    def limited(_: BaseException) -> BaseException:
        task.uncancel()
        return SoftTimeLimitExceeded(1)

    async def body() -> str:
        return await Driven(uninterrupted(work(), interrupted.set if heeded else None), limited)

    task = asyncio.create_task(body())
    await asyncio.sleep(0)
    task.cancel()  # as the pool does, when that limit has come
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not task.done()
    assert interrupted.is_set() is heeded
    go_on.set()
    if heeded:
        assert await task == "done"
    else:
        with pytest.raises(SoftTimeLimitExceeded):
            await task
