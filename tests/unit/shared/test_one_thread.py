"""A thread that several loops ask and close."""

import asyncio
import threading
import time
from functools import partial

from palaver.shared.one_thread import OneThread


async def test_who_asks_while_another_closes_it_is_served() -> None:
    thread, over = OneThread("asked-and-closed"), threading.Event()

    def close_again_and_again() -> None:
        while not over.is_set():
            thread.close()
            time.sleep(0.0005)  # the others need the interpreter too

    closing = asyncio.create_task(asyncio.to_thread(close_again_and_again))
    try:
        for number in range(100):
            assert await thread.run(partial(abs, number)) == number
    finally:
        over.set()
        await closing


async def test_calls_come_one_after_the_other_and_those_before_its_end_are_made() -> None:
    thread, made, go_on = OneThread("in-order"), list[int](), threading.Event()
    first = asyncio.create_task(thread.run(lambda: go_on.wait(30)))
    others = [asyncio.create_task(thread.run(partial(made.append, number))) for number in range(5)]
    await asyncio.sleep(0)
    thread.close()
    go_on.set()
    assert await first
    await asyncio.gather(*others)
    assert made == list(range(5))
