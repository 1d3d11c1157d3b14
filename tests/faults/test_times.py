"""Jobs that have a time: `run_at` and deadlines, with workers and without one."""

import time

import pytest

from palaver.shared.errors import JobExpiredError
from palaver.shared.jobs import Status
from tests.faults.stand import Stand

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults")]


def test_jobs_begin_within_a_second_of_their_time(stand: Stand) -> None:
    stand.workers(2)
    at = time.time() + 2
    jobs = [job for number in range(10) for job in stand.submit(1, words=3, run_at=at + number / 10)]
    books = stand.settle(jobs)
    late = [books.of(job, "stream_start")[0]["time"] - at - number / 10 for number, job in enumerate(jobs)]
    assert min(late) >= 0
    assert max(late) <= 1, late


def test_a_reader_ends_a_job_past_its_deadline_though_no_worker_lives(stand: Stand) -> None:
    (job,) = stand.submit(1, deadline=1)
    begun = time.monotonic()
    with pytest.raises(JobExpiredError):
        job.handle.result(timeout=20)
    assert time.monotonic() - begun < 10
    stand.settle([job], status=Status.EXPIRED)


def test_a_deadline_ends_what_waits_and_what_streams(stand: Stand) -> None:
    stand.workers(1, slots=2)
    jobs = stand.submit(8, words=400, rate=20, deadline=3)
    books = stand.settle(jobs, status=Status.EXPIRED)
    for job in jobs:
        end = books.events[job.id][-1]
        assert end["time"] - books.events[job.id][0]["time"] == pytest.approx(3, abs=1.5)
    said = [books.events[job.id][-1]["data"].get("text", "") for job in jobs]
    assert sum(bool(text) for text in said) >= 2
    assert all(job.text.startswith(text) for job, text in zip(jobs, said, strict=True))
