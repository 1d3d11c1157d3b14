"""Code that is not ours, and who waits for it."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator

import pytest

from palaver.workers.generation import UserCode
from palaver.workers.generation.user_code import Escaped


@pytest.fixture
async def code() -> AsyncIterator[UserCode]:
    code = UserCode(2)
    yield code
    await code.aclose()


async def test_what_it_raises_arrives(code: UserCode) -> None:
    def plain() -> None:
        raise KeyError("x")

    async def coroutine() -> None:
        raise KeyError("y")

    for function in (plain, coroutine):
        with pytest.raises(KeyError):
            await code.run(function)


@pytest.mark.parametrize(
    "error", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration, asyncio.CancelledError]
)
async def test_what_no_loop_may_see_is_told_as_an_error(code: UserCode, error: type[BaseException]) -> None:
    def plain() -> None:
        raise error

    async def coroutine() -> None:
        raise error

    async def fine() -> str:
        return "fine"

    for function in (plain, coroutine):
        with pytest.raises((Escaped, RuntimeError), match=f"{error.__name__}|StopIteration"):
            await code.run(function)
    assert await code.run(fine) == "fine"


async def test_a_coroutine_is_cancelled_with_who_waits_for_it(code: UserCode) -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def endless() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    waiting = asyncio.ensure_future(code.run(endless))
    assert await asyncio.to_thread(begun.wait, 10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.to_thread(cancelled.wait, 10)


async def test_a_coroutine_that_will_not_be_cancelled_is_left_alone(code: UserCode) -> None:
    begun, goes_on = threading.Event(), threading.Event()

    async def stubborn() -> None:
        begun.set()
        while not goes_on.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue

    waiting = asyncio.ensure_future(code.run(stubborn))
    assert await asyncio.to_thread(begun.wait, 10)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    goes_on.set()


async def test_so_many_threads_and_no_more(code: UserCode) -> None:
    running, goes_on = threading.Semaphore(0), threading.Event()
    count = 0

    def work() -> None:
        nonlocal count
        count += 1
        running.release()
        goes_on.wait(10)

    waiting = [asyncio.ensure_future(code.run(work)) for _ in range(5)]
    for _ in range(2):
        assert await asyncio.to_thread(running.acquire, timeout=10)
    # One that nobody waits for any more still has its thread; one that waits for a thread may go away.
    waiting[0].cancel()
    waiting[4].cancel()
    await asyncio.sleep(0.05)
    assert count == 2
    goes_on.set()
    await asyncio.gather(*waiting[1:4])
    assert count == 4


async def test_a_function_that_never_returns_does_not_hold_its_process() -> None:
    program = """
import asyncio, threading
from palaver.workers.generation import UserCode
async def main():
    code = UserCode(1)
    waiting = asyncio.ensure_future(code.run(threading.Event().wait))
    await asyncio.sleep(0.1)
    waiting.cancel()
    await code.aclose()
asyncio.run(main())
"""
    async with asyncio.timeout(30):
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
        assert await process.wait() == 0
