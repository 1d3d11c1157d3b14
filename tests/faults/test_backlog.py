"""Jobs that wait for a slot, and a broker that loses messages of theirs."""

import time

import pytest

from palaver.shared.names import Queue
from tests.faults.stand import Job, Stand, until

pytestmark = [
    pytest.mark.redis,
    pytest.mark.worker,
    pytest.mark.xdist_group("faults"),
    pytest.mark.long,
]

QUEUE = str(Queue.NORMAL)
LONG_ENOUGH = 6.0
"""Seconds after which sweepers wonder about a message, and one more."""


def backlog(stand: Stand, count: int) -> tuple[list[Job], list[Job]]:
    """A worker whose slots are all taken, and jobs that wait; sweepers have looked at each of them."""
    stand.workers(1, slots=2)
    live = stand.submit(2, words=2000, rate=20)
    stand.streaming(live)
    waiting = stand.submit(count, words=1)
    stand.let_pass(LONG_ENOUGH, since=time.time())
    enlisted = stand.ledger.keys.sent(QUEUE)
    until(lambda: stand.raw.zcard(enlisted) == count, "not every job was looked at")
    return live, waiting


def test_short_jobs_end_while_others_are_renewed(stand: Stand) -> None:
    stand.configure('\n[providers.scripted]\nkind = "scripted"\n')
    stand.client.submit_many([{"messages": "hello", "model": "scripted/echo"}] * 6000)
    stand.workers(1, slots=1000, env={"PALAVER_RENEW_SECONDS": "0.1"})
    until(lambda: not stand.ledger.unended(), "the worker has stopped in the middle", seconds=60)


def work_off(stand: Stand, live: list[Job], waiting: list[Job]) -> None:
    for job in live:
        job.handle.cancel()
    stand.settle(waiting)


@pytest.mark.any_broker
def test_a_backlog_is_sent_once(stand: Stand) -> None:
    live, waiting = backlog(stand, 200)
    stand.let_pass(2 * LONG_ENOUGH, since=time.time())
    # a machine that is busy may take a second to send what is stored, and a sweep then sends some of it again
    assert 0 <= stand.waiting() - (200 - stand.prefetched) < 10
    work_off(stand, live, waiting)
    until(lambda: not stand.waiting() and not stand.waiting(Queue.RESUME), "messages are left")
    assert not stand.raw.exists(stand.ledger.keys.sent(QUEUE))


@pytest.mark.any_broker
@pytest.mark.parametrize("lost", [3, 100], ids=["a few", "all"])
def test_messages_that_were_lost_from_a_backlog_are_sent_again(stand: Stand, lost: int) -> None:
    live, waiting = backlog(stand, 100)
    stand.lose(lost)
    work_off(stand, live, waiting)


def test_what_was_lost_goes_before_what_waits_behind_it(stand: Stand) -> None:
    live, first = backlog(stand, 1)
    stand.lose(1)
    stand.let_pass(1.5, since=time.time())  # so much later the others are sent
    others = stand.submit(40, words=10, rate=20)
    work_off(stand, live, [*first, *others])
    begun = {job.id: stand.ledger.job(job.id, job.session).started or 0 for job in [*first, *others]}
    later = sum(begun[job.id] > begun[first[0].id] for job in others)
    assert later > 20
