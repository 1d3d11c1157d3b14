"""Celery's controls on the pool: limits, revoking, retries, sizes, and books that are right afterwards."""

from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded, TaskRevokedError, TimeLimitExceeded
from celery.result import AsyncResult

from tests.integration.pool.conftest import Workers
from tests.processes import Running
from tests.servers import eventually

pytestmark = [pytest.mark.redis, pytest.mark.worker]

MANY = 1000  # tasks, of which none may leave anything behind

Shared = tuple[Workers, Running]


def value(result: "AsyncResult[Any]") -> Any:
    return result.get(timeout=60)


def test_coroutines_share_a_loop_and_plain_functions_get_threads(running: Shared) -> None:
    workers, _ = running
    assert value(workers.send("where")) == "palaver-loop"
    assert value(workers.send("threaded")).startswith("palaver-task")


def test_each_body_sees_its_own_request(running: Shared) -> None:
    workers, _ = running
    naps = [workers.send("nap", 0.3) for _ in range(60)]
    assert [value(nap) for nap in naps] == [nap.id for nap in naps]
    workers.wait_idle()


@pytest.mark.parametrize(("task", "argument"), [("nap", 60), ("threaded", 60)])
def test_a_soft_limit_is_raised_in_the_body(running: Shared, task: str, argument: int) -> None:
    workers, _ = running
    with pytest.raises(SoftTimeLimitExceeded):
        value(workers.send(task, argument, soft_time_limit=0.2))
    workers.wait_idle()


def test_a_body_that_catches_the_soft_limit_goes_on(running: Shared) -> None:
    workers, _ = running
    assert value(workers.send("tidy", soft_time_limit=0.2)) == "tidied"


@pytest.mark.parametrize(("task", "argument"), [("nap", 60), ("threaded", 60)])
def test_a_hard_limit_ends_the_task(running: Shared, task: str, argument: int) -> None:
    workers, worker = running
    result = workers.send(task, argument, time_limit=0.2)
    with pytest.raises(TimeLimitExceeded):
        value(result)
    if task == "nap":
        worker.wait_for(f"SAYS cancelled {result.id}")
    workers.wait_idle()


@pytest.mark.parametrize("task", ["nap", "threaded"])
def test_revoke_with_terminate_ends_the_task(running: Shared, task: str) -> None:
    workers, worker = running
    result = workers.send(task, 60)
    worker.wait_for(f"{result.id}\\] received")
    assert eventually(lambda: workers.stats()["running"] == 1)
    workers.client.control.revoke(result.id, terminate=True)
    with pytest.raises(TaskRevokedError):
        value(result)
    if task == "nap":
        worker.wait_for(f"SAYS cancelled {result.id}")
    workers.wait_idle()


def test_a_revoked_task_that_waits_never_begins(workers: Workers) -> None:
    worker = workers.start("--concurrency", "1", "--prefetch-multiplier", "2")
    first = workers.send("nap", 60)
    worker.wait_for(f"SAYS begun {first.id}")
    second = workers.send("nap", 0)
    worker.wait_for(f"{second.id}\\] received")
    for result in (second, first):
        workers.client.control.revoke(result.id, terminate=True)
        with pytest.raises(TaskRevokedError):
            value(result)
    workers.wait_idle()
    assert f"begun {second.id}" not in worker.output


def test_the_result_of_a_task_with_a_backend_of_its_own_goes_there(running: Shared) -> None:
    workers, worker = running
    workers.send("noted", 7)
    worker.wait_for("SAYS storing SUCCESS")
    workers.wait_idle()


def test_retries_of_a_coroutine(running: Shared) -> None:
    workers, _ = running
    assert value(workers.send("flaky")) == 2
    assert value(workers.send("stubborn")) == 1


@pytest.mark.parametrize(
    ("task", "says"), [("exits", "SystemExit"), ("cancels_itself", "cancelled from within")]
)
def test_a_body_cannot_take_the_worker_down(running: Shared, task: str, says: str) -> None:
    workers, _ = running
    with pytest.raises(Exception, match=says):
        value(workers.send(task))
    assert value(workers.send("quick", 7)) == 7
    workers.wait_idle()


def test_the_pool_grows_and_shrinks(workers: Workers) -> None:
    worker = workers.start("--concurrency", "2")
    naps = [workers.send("nap", 60) for _ in range(6)]
    assert eventually(lambda: worker.output.count("SAYS begun") == 2)
    workers.client.control.pool_grow(2)
    assert eventually(lambda: worker.output.count("SAYS begun") == 4)
    assert workers.stats()["max-concurrency"] == 4
    workers.client.control.pool_shrink(3)
    assert eventually(lambda: workers.stats()["max-concurrency"] == 1)
    assert workers.stats()["running"] == 4
    for nap in naps:
        workers.client.control.revoke(nap.id, terminate=True)
    workers.wait_idle()


def test_a_slot_whose_task_waits_is_lent(running: Shared) -> None:
    workers, _ = running
    waiting = [workers.send("lending") for _ in range(20)]
    assert eventually(lambda: workers.stats()["lent"] == 20)
    value(workers.send("wake"))
    assert [value(each) for each in waiting] == ["woken"] * 20
    workers.wait_idle()
    assert workers.stats()["lent"] == 0


def test_autoscale(workers: Workers) -> None:
    worker = workers.start("--autoscale", "5,1", env={"AUTOSCALE_KEEPALIVE": "1"})
    naps = [workers.send("nap", 60) for _ in range(5)]
    assert eventually(lambda: worker.output.count("SAYS begun") == 5)
    for nap in naps:
        workers.client.control.revoke(nap.id, terminate=True)
    assert eventually(lambda: workers.stats()["max-concurrency"] == 1, seconds=30)


def test_nothing_is_left_of_many_quick_tasks(running: Shared) -> None:
    workers, worker = running
    threads = workers.stats()["threads"]
    with workers.client.producer_pool.acquire(block=True) as producer:
        for number in range(MANY):
            workers.send("quick", number, producer=producer, ignore_result=True)
    assert eventually(lambda: worker.output.count("quick[") >= 2 * MANY, seconds=90, every=0.5)
    workers.wait_idle()
    assert workers.stats()["threads"] <= threads + 4
    assert "destroyed" not in worker.output
    assert "never awaited" not in worker.output
    assert "loop.unhandled" not in worker.output
