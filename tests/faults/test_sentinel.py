"""A failover of ledger and broker under load: nobody hangs, and what may be lost is told."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from palaver.shared.errors import JobLostError, JobNotFoundError, LedgerUnavailableError
from palaver.shared.jobs import ChatJob
from tests.certificates import write_certificates
from tests.faults.conftest import MakeStand
from tests.faults.load import Load
from tests.faults.stand import Job, Stand, until
from tests.processes import Processes
from tests.sentinels import Watched, start_watched
from tests.servers import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults"), pytest.mark.long]

REPLICATED = 1.0
"""Seconds after which a replica on the same machine has what the master acknowledged."""
PATIENCE = 60.0


@pytest.fixture(params=["plain"])
def watched(request: pytest.FixtureRequest, processes: Processes) -> Watched:
    """`tls`: nobody is talked to without it."""
    return start_watched(
        processes, tls=write_certificates(processes.folder) if request.param == "tls" else None
    )


@pytest.fixture
def stand(make_stand: MakeStand, watched: Watched) -> Stand:
    return make_stand(watched, broker_url="")


def read(job: Job) -> str | None:
    """What a reader has seen of a job at its end; None for one that is told as lost."""
    text: list[str] = []
    try:
        for chunk in job.handle:
            if chunk.reset:
                text.clear()
            text.append(chunk.delta)
    except JobLostError:
        return None
    return "".join(text)


def is_lost(job: Job) -> bool:
    """Whether the ledger knows nothing of a job that it had taken."""
    try:
        job.handle.view()
    except JobNotFoundError:
        return True
    return False


@pytest.fixture
def readers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(40) as pool:
        yield pool


@pytest.mark.parametrize("watched", ["plain", "tls"], indirect=True)
def test_a_master_that_dies_costs_what_its_replica_did_not_have(
    stand: Stand, watched: Watched, readers: ThreadPoolExecutor
) -> None:
    workers = stand.workers(2)
    with Load(stand) as load:
        known = stand.submit(30, words=200, rate=20)
        seen = [readers.submit(read, job) for job in known]
        stand.streaming(known)
        stand.let_pass(REPLICATED, since=time.time())
        watched.kill_master()
        taken = len(load.jobs)
        until(lambda: len(load.jobs) > taken + 40, "jobs are not taken again")
    assert [future.result(PATIENCE) for future in seen] == [job.text for job in known]
    lost = [job for job in load.jobs if is_lost(job)]
    print(f"{len(lost)} of {len(load.jobs)} lost")
    stand.settle([*known, *(job for job in load.jobs if job not in lost)])
    for worker in workers:
        assert worker.process.poll() is None
        assert "Traceback" not in worker.output


def test_a_master_without_replicas_that_must_have_one_takes_nothing(
    own_redis: Callable[..., RedisServer], make_stand: MakeStand
) -> None:
    stand = make_stand(own_redis(), broker_url="")
    (worker,) = stand.workers(1)
    jobs = stand.submit(10, words=100, rate=20)
    stand.streaming(jobs)
    stand.raw.config_set("min-replicas-to-write", 1)
    worker.wait_for("link.refused reply=NOREPLICAS")
    with pytest.raises(LedgerUnavailableError, match="too few replicas"):
        stand.ledger.submit(ChatJob(messages="Hello"))
    stand.raw.config_set("min-replicas-to-write", 0)
    stand.settle(jobs)


def test_a_master_that_hangs_is_left_behind(
    stand: Stand, watched: Watched, readers: ThreadPoolExecutor
) -> None:
    """As one whose machine has lost its network: no connection is closed."""
    workers = stand.workers(2)
    known = stand.submit(10, words=200, rate=20)
    seen = [readers.submit(read, job) for job in known]
    stand.streaming(known)
    stand.let_pass(REPLICATED, since=time.time())
    watched.lose_master(signal.SIGSTOP)
    assert [future.result(PATIENCE) for future in seen] == [job.text for job in known]
    with Load(stand) as load:  # the first ones may find the old master's connections
        until(lambda: len(load.jobs) > 20, "jobs are not taken again")
    stand.raw.close()  # the stand's own connection is one of those
    stand.settle([*known, *load.jobs])
    assert all(worker.process.poll() is None for worker in workers)


def test_what_the_replica_did_not_hear_of_is_told_as_lost(
    stand: Stand, watched: Watched, readers: ThreadPoolExecutor
) -> None:
    stand.workers(2)
    known = stand.submit(10, words=200, rate=20)
    seen = [readers.submit(read, job) for job in known]
    stand.streaming(known)
    stand.let_pass(REPLICATED, since=time.time())
    watched.cut_off_replica()
    unheard = stand.submit(10, words=200, rate=20)
    told = [readers.submit(read, job) for job in unheard]
    stand.streaming(unheard)
    stand.progress(known)
    watched.kill_master()
    assert [future.result(PATIENCE) for future in seen] == [job.text for job in known]
    assert [future.result(PATIENCE) for future in told] == [None] * len(unheard)
    assert all(is_lost(job) for job in unheard)
    stand.settle([*known, *stand.submit(5)])
