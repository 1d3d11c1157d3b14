"""What was spent is counted once for each job, whatever befell its workers."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.stand import Stand

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.long, pytest.mark.xdist_group("faults")]


@pytest.mark.any_broker
def test_killed_workers_leave_no_job_uncounted_and_none_counted_twice(stand: Stand) -> None:
    workers = stand.workers(2)
    jobs = stand.submit(30, words=60, rate=20, tenant="acme")
    stand.streaming(jobs)
    victim = stand.busiest(workers, jobs)
    had = {job.id for job in stand.held(jobs, victim)}
    stand.kill(victim)
    books = stand.settle(jobs)
    today = datetime.now(UTC).date()
    (row,) = stand.client.usage(since=today - timedelta(days=1), tenant="acme")
    moved = sum(len(books.attempts(job)) > 1 for job in jobs)
    assert had
    assert (row.jobs, row.requests, row.estimated) == (len(jobs), len(jobs) + moved, moved)
    assert all(worker.process.poll() is None for worker in workers if worker is not victim)
