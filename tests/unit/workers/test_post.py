"""In which order a worker's messages leave it."""

import asyncio
import threading
from typing import Any

import pytest
from celery import Celery

from palaver.shared.ledger import Dispatch
from palaver.shared.names import QUEUES, Queue
from palaver.workers.pool.post import BATCH, Post


class SlowBroker(Celery):
    """Keeps what it is sent; the first message waits until the test lets it pass."""

    def __init__(self) -> None:
        super().__init__(broker="memory://", set_as_current=False)
        self.sent: list[str] = []
        self.busy, self.go_on = threading.Event(), threading.Event()

    def send_task(self, name: str, *_: Any, task_id: str = "", **__: Any) -> None:  # type: ignore[override]
        self.busy.set()
        self.go_on.wait(30)
        self.sent.append(task_id)


async def test_what_goes_on_leaves_before_a_backlog() -> None:
    broker = SlowBroker()
    post = Post(broker)
    first = post.put([Dispatch("s", "first", Queue.LOW)])
    assert await asyncio.to_thread(broker.busy.wait, 30)
    backlog = post.put([Dispatch("s", f"n{number}", Queue.NORMAL) for number in range(BATCH + 1)])
    urgent = post.put([Dispatch("s", "taken over", Queue.RESUME)])
    broker.go_on.set()
    async with asyncio.timeout(30):
        await asyncio.gather(first, backlog, urgent)
    assert broker.sent[:3] == ["first", "taken over", "n0"]
    assert broker.sent[-1] == f"n{BATCH}"


async def test_what_sweeps_bring_again_while_a_broker_hangs_is_sent_once() -> None:
    broker = SlowBroker()
    post = Post(broker)
    post.put([Dispatch("s", "first", Queue.LOW)])
    assert await asyncio.to_thread(broker.busy.wait, 30)
    for _ in range(3):  # equal messages, made anew
        again = post.put(
            [*(Dispatch("s", f"n{number}", Queue.NORMAL) for number in range(5)), Dispatch.batch("b")]
        )
    broker.go_on.set()
    async with asyncio.timeout(30):
        await again
        assert [sent for sent in broker.sent if not sent.startswith("b.")] == [
            "first",
            *(f"n{n}" for n in range(5)),
        ]
        assert len(broker.sent) == 1 + 5 + 3, "a batch has as many messages as it wants drivers"
        await post.put([Dispatch("s", "n0", Queue.NORMAL)])
    assert broker.sent[-1] == "n0"


async def test_a_sweeper_does_not_wait_for_its_messages() -> None:
    broker = SlowBroker()
    sent = Post(broker).put([Dispatch("s", "j", Queue.NORMAL)])
    assert not sent.done()
    broker.go_on.set()
    async with asyncio.timeout(30):
        await sent


async def test_nothing_to_send_is_sent_at_once() -> None:
    async with asyncio.timeout(30):
        await Post(SlowBroker()).send([])


class BrokerThatTellsOnce(Celery):
    """Says how long its queues are; who asks again waits until the test lets it answer."""

    def __init__(self) -> None:
        super().__init__(broker="memory://", set_as_current=False)
        self.has_told, self.go_on = False, threading.Event()

    def connection_or_acquire(self, *args: Any, **options: Any) -> Any:
        if self.has_told:
            self.go_on.wait(30)
        self.has_told = True
        return super().connection_or_acquire(*args, **options)


async def test_who_asks_while_an_answer_comes_takes_it_from_nobody() -> None:
    """Sweeps and the watch ask the same post: one begins in the moment between an answer and who reads it."""
    broker = BrokerThatTellsOnce()
    post = Post(broker)

    async def ask_at_every_moment() -> None:
        while not await post.empty_queues():  # noqa: ASYNC110 -- each moment is asked in
            await asyncio.sleep(0)

    first, others = asyncio.create_task(post.empty_queues()), asyncio.create_task(ask_at_every_moment())
    async with asyncio.timeout(30):
        try:
            assert set(await first) == {queue.value for queue in QUEUES}
        finally:
            broker.go_on.set()
        await others


async def test_a_broker_that_hangs_has_one_event_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palaver.workers.pool.post.ANSWER_SECONDS", 0.01)
    broker = Celery(broker="memory://", set_as_current=False, broker_pool_limit=1)
    post, others = Post(broker), set(threading.enumerate())
    with broker.amqp.producer_pool.acquire(block=True):  # the only connection
        await asyncio.gather(*(post.tell("task-progress", f"t{n}", worker="w") for n in range(20)))
        waiting = set(threading.enumerate()) - others
        assert [thread.name for thread in waiting] == ["palaver-broker"]
    for thread in waiting:
        await asyncio.to_thread(thread.join, 30)
