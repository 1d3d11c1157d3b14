"""Jobs that have a time: `run_at` and deadlines, with workers and without one."""

import time

import pytest

from palaver.shared.errors import JobExpiredError
from palaver.shared.jobs import Status
from tests.faults.stand import Stand, in_time

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults")]


@pytest.mark.any_broker
def test_jobs_begin_within_a_second_of_their_time(stand: Stand) -> None:
    stand.workers(2)
    at = time.time() + 2
    jobs = [job for number in range(10) for job in stand.submit(1, words=3, run_at=at + number / 10)]
    books = stand.settle(jobs)
    late = [books.of(job, "stream_start")[0]["time"] - at - number / 10 for number, job in enumerate(jobs)]
    assert min(late) >= 0
    in_time(1, late, "begun after its time")


def test_a_reader_ends_a_job_past_its_deadline_though_no_worker_lives(stand: Stand) -> None:
    (job,) = stand.submit(1, deadline=1)
    with pytest.raises(JobExpiredError):
        job.handle.result(timeout=20)
    stand.settle([job], status=Status.EXPIRED)


@pytest.mark.any_broker
def test_a_deadline_ends_what_waits_and_what_streams(stand: Stand) -> None:
    stand.workers(1, slots=2)
    jobs = stand.submit(8, words=400, rate=20, deadline=3)
    books = stand.settle(jobs, status=Status.EXPIRED)
    logs = [books.events[job.id] for job in jobs]
    lives = [log[-1]["time"] - log[0]["time"] for log in logs]
    assert min(lives) > 2.5
    in_time(4.5, lives, "ended with a deadline of 3 s")
    said = [log[-1]["data"].get("text", "") for log in logs]
    assert sum(bool(text) for text in said) >= 2
    assert all(job.text.startswith(text) for job, text in zip(jobs, said, strict=True))
