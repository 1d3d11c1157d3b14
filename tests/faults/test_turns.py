"""A session's turns and a job's key, whatever befalls the workers."""

import json
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest

from palaver.producer import Client
from palaver.shared.errors import SessionBusyError
from palaver.shared.jobs import Status
from tests.faults.stand import Books, Job, Stand, in_time

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults")]

TROUBLES: tuple[dict[str, Any], ...] = (
    {"n": 100},
    {"n": 10, "fail": {"status": 500}},
    {"n": 10, "fail": {"kind": "cut", "after": 5}},
    {"n": 10, "fail": {"status": 503, "retry_after": 3.1}},  # long enough to be parked
    {"n": 10},
)
"""What befalls the jobs of a line, one after the other; each failure once."""


def line(stand: Stand, session: str) -> list[Job]:
    """A session with a job for each trouble."""
    jobs = []
    for place, trouble in enumerate(TROUBLES):
        fail = {"fail": {**trouble["fail"], "times": 1}} if "fail" in trouble else {}
        script = {"key": f"{session} {place}", **fail}
        jobs += stand.submit(1, words=trouble["n"], rate=20, session_id=session, history=[], script=script)
    return jobs


def spans(books: Books, jobs: list[Job]) -> Iterator[tuple[int, int]]:
    """Of each job, the seq of its first stream_start and of its stream_end."""
    for job in jobs:
        yield books.of(job, "stream_start")[0]["seq"], books.of(job, "stream_end")[0]["seq"]


@pytest.mark.any_broker
@pytest.mark.long
def test_a_line_keeps_its_order_over_retries_parking_deaths_and_hand_overs(stand: Stand) -> None:
    workers = stand.workers(3)
    lines = [line(stand, f"line-{number}") for number in range(12)]
    jobs = [job for line in lines for job in line]
    heads = [line[0] for line in lines]
    stand.streaming(heads)
    # one alone may have taken all of them
    first, second, _ = sorted(workers, key=lambda worker: len(stand.held(heads, worker)), reverse=True)
    stand.kill(first)
    second.signal(signal.SIGTERM)
    stand.workers(1)
    assert second.wait(30) == 0
    books = stand.settle(jobs)
    for line_ in lines:
        assert all(end < start for (_, end), (start, _) in pairwise(spans(books, line_)))
    assert {attempt for head in heads for attempt in books.attempts(head)} == {1, 2}
    assert all(books.attempts(line_[3]) == [1, 2] for line_ in lines), "the long wait was not parked"


@pytest.mark.long
@pytest.mark.parametrize("mode", [pytest.param("interrupt", marks=pytest.mark.any_broker), "rollback"])
def test_a_turn_is_taken_from_a_worker_that_is_dead(stand: Stand, mode: str) -> None:
    workers = stand.workers(2)
    (old,) = stand.submit(1, words=400, rate=20, session_id="s")
    stand.streaming([old])
    (holder,) = [worker for worker in workers if stand.held([old], worker)]
    stand.kill(holder)
    with pytest.raises(SessionBusyError):
        stand.submit(1, session_id="s", on_busy="reject")
    (beside,) = stand.submit(1, words=5, session_id="s", history=[], on_busy="parallel")
    told = time.time()
    (new,) = stand.submit(1, words=10, rate=20, session_id="s", history=[], on_busy=mode)
    books = stand.settle([old], status=Status.CANCELLED)
    books = stand.settle([new, beside])
    in_time(stand.lease + 2, [books.of(new, "stream_start")[0]["time"] - told], "taken from the dead")
    history = [json.loads(message) for message in stand.ledger.messages("s")]
    partial = [message.get("metadata", {}).get("partial", False) for message in history]
    assert partial.count(True) == (mode == "interrupt")


@pytest.mark.any_broker
def test_a_thousand_submits_with_one_key_make_one_job(stand: Stand) -> None:
    stand.workers(1)
    clients = [Client(stand.settings) for _ in range(20)]

    def submit(number: int) -> tuple[str, int]:
        handle = clients[number % len(clients)].submit(
            '{"n": 20, "rate": 20}', model="prefix/m", idempotency_key="once"
        )
        return handle.job_id, handle.cursor

    with ThreadPoolExecutor(len(clients)) as threads:
        told = set(threads.map(submit, range(1000)))
    ((job_id, cursor),) = told
    books = stand.settle([Job(stand.client.job(job_id), "".join(f" w{n}" for n in range(20)))])
    assert cursor == 0
    assert [event["type"] for event in books.events[job_id]].count("job_queued") == 1
    assert stand.provider.stats()["requests"] == 1
    for client in clients:
        client.close()
