"""Canaries, as a worker sends them."""

import asyncio
from collections.abc import Collection, Sequence

import pytest

from palaver.shared.ledger import AsyncLedger
from palaver.shared.names import QUEUES
from palaver.shared.settings import Settings
from palaver.workers.readiness import CanaryPost, Watch

pytestmark = pytest.mark.redis


class Post(CanaryPost):
    """Remembers what it is given."""

    def __init__(self) -> None:
        self.sent: list[object] = []

    def put(self, messages: Sequence[object], /) -> None:
        self.sent += messages

    async def empty_queues(self) -> Collection[str]:
        return ()


@pytest.mark.parametrize("draining", [False, True])
async def test_each_queue_has_one_from_workers_that_stay(
    redis_url: str, namespace: str, *, draining: bool
) -> None:
    settings = Settings(redis_url=redis_url, namespace=namespace, lease_seconds=1, renew_seconds=0.3)
    ledger, post = AsyncLedger(settings), Post()
    watch = Watch(ledger, post, draining=lambda: draining)
    running = asyncio.create_task(watch.run())
    async with asyncio.timeout(20):
        while watch.looked is None:  # noqa: ASYNC110 - a plain value
            await asyncio.sleep(0.01)
    running.cancel()
    assert len(post.sent) == len(watch.seen.canaries) == (0 if draining else len(QUEUES))
    await ledger.aclose()
