"""Parking and breakers in real worker processes: who waits holds no slot, and nobody is forgotten."""

import pytest

from palaver.shared.jobs import Status
from tests.faults.stand import Books, Job, Stand, in_time, until

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults")]

LIMITED = 3.2
"""Seconds that a provider tells jobs to wait: more than a worker lets one hold its slot for."""
LATE = 2
"""Seconds within which a job goes on whose time has come, where a slot is free: its jitter, and a sweep."""
WEAK = """
[providers.weak]
kind = "openai"
base_url = "{url}"
resume = "prefix"
breaker = {{ failures = 3, pause = 8 }}
"""


def limited(stand: Stand, count: int) -> tuple[list[Job], list[Job]]:
    """Jobs that the provider once tells to come again later (not by a 429, which would close the profile for
    the others too), and those behind them in their sessions.
    """
    first, behind = [], []
    for number in range(count):
        session = f"line-{number}"
        script = {"fail": {"status": 503, "retry_after": LIMITED, "times": 1}, "key": session}
        first += stand.submit(1, words=10, rate=20, script=script, session_id=session, history=[])
        behind += stand.submit(1, words=5, rate=20, session_id=session, history=[])
    return first, behind


def all_parked(stand: Stand, jobs: list[Job]) -> None:
    """Wait until no worker holds any of the jobs, each of which has been tried."""
    keys = [stand.ledger.keys.job(job.session, job.id) for job in jobs]

    def without_holder() -> bool:
        states = [stand.raw.hmget(key, "holder", "resume") for key in keys]
        return all(holder is None and resume is not None for holder, resume in states)

    until(without_holder, "some jobs were not parked")


def waits_of(books: Books, first: list[Job], behind: list[Job]) -> list[float]:
    """Seconds that each was parked, not less than it was told; it kept its session's turn meanwhile."""
    waits = []
    for job, next_job in zip(first, behind, strict=True):
        (retry,), (start,) = books.of(job, "retry"), books.of(job, "stream_start")
        waits.append(start["time"] - retry["time"])
        assert books.attempts(job) == [1, 2]
        assert books.of(next_job, "stream_start")[0]["seq"] > books.of(job, "stream_end")[0]["seq"]
    assert min(waits) >= LIMITED
    return waits


@pytest.mark.long
def test_parked_jobs_hold_no_slot_and_go_on_when_it_is_time(stand: Stand) -> None:
    stand.workers(1, slots=2)
    first, behind = limited(stand, 6)
    all_parked(stand, first)  # all at a time, over two slots
    waits_of(stand.settle([*first, *behind]), first, behind)


@pytest.mark.any_broker
@pytest.mark.long
def test_parked_jobs_outlive_their_worker(stand: Stand) -> None:
    (worker, _) = stand.workers(2)
    first, behind = limited(stand, 10)
    all_parked(stand, first)
    stand.kill(worker)
    waits = waits_of(stand.settle([*first, *behind]), first, behind)
    in_time(LIMITED + LATE, waits, "parked")


@pytest.mark.long
def test_a_breaker_keeps_jobs_from_a_provider_that_fails_and_loses_none(stand: Stand) -> None:
    stand.configure(WEAK.format(url=stand.provider.openai_url))
    (worker,) = stand.workers(1)
    down = {"fail": {"status": 500, "times": 3}, "key": "down"}
    jobs = stand.submit(1, words=10, rate=20, model="weak/m", script=down, max_retries=5)
    worker.wait_for(r"breaker\.open")
    jobs += stand.submit(10, words=10, rate=20, model="weak/m")
    elsewhere = stand.submit(1, words=10, rate=20, model=["weak/m", "prefix/m"])
    hurried = stand.submit(1, words=10, model="weak/m", max_retries=0)
    all_parked(stand, jobs)
    stand.settle(elsewhere)
    failed = stand.settle(hurried, status=Status.FAILED)
    assert failed.events[hurried[0].id][-1]["data"]["error"]["type"] == "CircuitOpenError"
    assert stand.provider.stats()["requests"] == 3 + len(elsewhere)
    books = stand.settle(jobs)
    worker.wait_for(r"breaker\.closed")
    assert stand.provider.stats()["requests"] == 3 + len(elsewhere) + len(jobs)
    errors = {event["data"]["error"]["type"] for job in jobs for event in books.of(job, "retry")}
    assert errors == {"ServerError", "CircuitOpenError"}
