"""What a worker does for all workers does not wait for its own streams."""

import asyncio
import threading
import time
from collections.abc import Collection, Sequence

import pytest

from palaver.shared.ledger import Dispatch
from palaver.shared.metrics import Spread
from palaver.shared.metrics import catalogue as metrics
from tests.integration.workers.conftest import Engine, MakeEngine

pytestmark = pytest.mark.redis

TURNS = 10
"""Of the streams' loop. A sweep that asks Redis from there needs twice as many."""


class Post:
    """Says that it holds nothing, and remembers by which thread it was asked."""

    def __init__(self) -> None:
        self.asked_by: set[str] = set()

    def put(self, dispatches: Sequence[Dispatch]) -> None:
        self.asked_by.add(threading.current_thread().name)

    async def empty_queues(self) -> Collection[str]:
        self.asked_by.add(threading.current_thread().name)
        return ()


def sweeps(engine: Engine) -> float:
    """How many this worker has completed."""
    (samples,) = (found for metric, found in engine.service._counts.families() if metric is metrics.SWEEPS)
    return sum(value for labels, value in samples if labels == ("done",) and not isinstance(value, Spread))


async def test_a_sweep_does_not_wait_for_a_loop_that_is_busy(make_engine: MakeEngine) -> None:
    engine, post = await make_engine(lease_seconds=60, renew_seconds=20), Post()
    await engine.service.serve(post)
    turns = 0
    while not sweeps(engine):
        time.sleep(0.2)  # noqa: ASYNC251 - as many short jobs would
        engine.client.ping()  # a Redis that stands still has no sweep wait for more turns
        await asyncio.sleep(0)
        turns += 1
        assert turns <= TURNS
    assert post.asked_by == {threading.current_thread().name}, "a post belongs to the loop of the streams"


async def test_a_sweep_does_not_wait_for_a_loop_that_hangs(make_engine: MakeEngine) -> None:
    engine = await make_engine(lease_seconds=60, renew_seconds=20)
    await engine.service.serve(Post())
    before, given_up = sweeps(engine), time.monotonic() + 20
    while sweeps(engine) == before:  # and the loop does not turn once
        assert time.monotonic() < given_up
        time.sleep(0.05)  # noqa: ASYNC251 - it hangs


async def test_its_thread_ends_with_the_worker(make_engine: MakeEngine) -> None:
    engine = await make_engine()
    await engine.service.serve(Post())
    assert "palaver-sideline" in {thread.name for thread in threading.enumerate()}
    await engine.service.close()
    assert "palaver-sideline" not in {thread.name for thread in threading.enumerate()}
