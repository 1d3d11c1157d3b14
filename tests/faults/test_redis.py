"""A Redis that stands still, restarts, or is full."""

import time
from collections.abc import Callable

import pytest
from celery import Celery

from palaver.shared.errors import LedgerFullError
from palaver.shared.ids import new_job_id
from palaver.shared.jobs import Status
from palaver.shared.names import TASK_PROBE, TASK_SUBMIT, Queue
from palaver.workers.pool.redis_channel import SUBMIT_SECONDS
from tests.faults.conftest import MakeStand
from tests.faults.proxy import Proxy
from tests.faults.stand import HURRIED, PROFILES, UNHURRIED, until
from tests.servers import RedisServer

OwnRedis = Callable[..., RedisServer]

pytestmark = [pytest.mark.redis, pytest.mark.worker, pytest.mark.xdist_group("faults"), pytest.mark.long]

PATIENT = {**HURRIED, "PALAVER_RENEW_SECONDS": "1.5"}
"""A worker has so long, and one second more, to renew its leases when Redis is there again."""


@pytest.mark.parametrize(
    ("settings", "pause"),
    [
        pytest.param(PATIENT, 5, id="longer than a lease", marks=pytest.mark.any_broker),
        pytest.param(UNHURRIED, 15, id="15 seconds"),
    ],
)
def test_a_pause_takes_nobody_over(
    own_redis: OwnRedis, make_stand: MakeStand, settings: dict[str, str], pause: int
) -> None:
    stand = make_stand(own_redis("--enable-debug-command", "yes"), settings)
    stand.workers(3)
    jobs = stand.submit(60, words=30 * pause, rate=20)
    stand.streaming(jobs)
    begun = time.time()
    stand.raw.execute_command("DEBUG", "SLEEP", pause)  # type: ignore[no-untyped-call]
    assert time.time() - begun >= pause
    books = stand.settle(jobs, seconds=90)
    assert {attempt for job in jobs for attempt in books.attempts(job)} == {1}


@pytest.mark.any_broker
def test_a_restart_with_its_file(own_redis: OwnRedis, make_stand: MakeStand) -> None:
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    redis = own_redis(*durable)
    stand = make_stand(redis)
    workers = stand.workers(2)
    jobs = stand.submit(20, words=120, rate=20)
    stand.streaming(jobs)
    assert redis.running is not None
    redis.running.kill()
    for worker in workers:
        worker.wait_for("link.lost")
    own_redis(*durable, port=redis.port)
    stand.settle(jobs)


@pytest.mark.parametrize("harm", ["stopped", "killed"])
def test_a_tenant_with_a_limit_waits_for_redis_as_others_do(
    own_redis: OwnRedis, make_stand: MakeStand, harm: str
) -> None:
    """It goes away while it is asked for the tenant's money. That is no failure of the provider: nothing is
    retried, no other model is asked, and no breaker opens.
    """
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    redis = own_redis(*durable)
    stand = make_stand(redis)
    prices = "".join(f'[providers.{name}.prices."*"]\ninput = 1\noutput = 1\n' for name in PROFILES)
    stand.configure(f"{prices}[tenants.acme]\nspend_hard = 1000\n")
    assert redis.running is not None
    with Proxy(redis.port) as proxy:
        (worker,) = stand.workers(1, env={"PALAVER_REDIS_URL": proxy.url})
        asked = proxy.hold("spend")
        models = ["prefix/m", "restart/m"]
        jobs = stand.submit(20, words=10, model=models, tenant="acme", max_retries=0)
        asked.wait()
        begun = time.time()
        if harm == "stopped":
            with stand.stopped(redis.running):
                stand.let_pass(4, since=begun)
            proxy.reset()
        else:
            redis.running.kill()
            worker.wait_for("link.lost")
            stand.let_pass(2, since=begun)
            own_redis(*durable, port=redis.port)
        books = stand.settle(jobs)
    assert not [job.id for job in jobs if books.of(job, "retry")]
    assert "breaker." not in worker.output
    until(lambda: not stand.raw.keys("*:held"), "money is set aside for what has ended")


def test_a_full_redis_takes_no_job_and_the_running_ones_end(
    own_redis: OwnRedis, make_stand: MakeStand
) -> None:
    stand = make_stand(own_redis("--maxmemory-policy", "noeviction"))
    (worker,) = stand.workers(1, slots=5)
    running = stand.submit(5, words=100, rate=20)
    stand.streaming(running)
    waiting = stand.submit(5, words=10)
    Celery(broker=stand.redis.url).send_task(TASK_PROBE, queue=Queue.LOW.value)
    stand.raw.config_set("maxmemory", "1mb")
    with pytest.raises(LedgerFullError):
        stand.client.submit("Hello", model="prefix/m")
    until(lambda: not stand.unended(running), "a running job did not end")
    books = stand.settle(running, status=Status.FAILED, ledger=False)
    for job in running:
        end = books.events[job.id][-1]["data"]
        assert end["error"]["type"] == "LedgerFullError"
        assert job.text.startswith(end["text"])
    worker.wait_for("message.not_noted")  # it goes on to ask for what waits
    stand.raw.config_set("maxmemory", 0)
    stand.settle([*waiting, *stand.submit(2)])
    stand.settle(running, status=Status.FAILED)


@pytest.mark.parametrize("protocol", [1, 2])
def test_a_whole_job_comes_back_from_a_worker_that_died_before_it_could_store_it(
    own_redis: OwnRedis, make_stand: MakeStand, protocol: int
) -> None:
    redis, broker = own_redis(), own_redis()
    stand = make_stand(redis, {**HURRIED, "PALAVER_BROKER_URL": broker.url})
    (worker,) = stand.workers(1)
    stand.raw.config_set("maxmemory", 1)  # while Redis is away a worker asks for nothing
    job_id = new_job_id()
    document = {"job_id": job_id, "messages": "Hello", "model": "prefix/m"}
    celery = Celery(broker=broker.url, changes={"task_protocol": protocol})
    celery.send_task(TASK_SUBMIT, args=[document], queue=Queue.SUBMIT.value)
    worker.wait_for("submit.waiting")
    assert redis.running is not None
    redis.running.kill()
    stand.kill(worker)
    own_redis(port=redis.port)
    with broker.client() as messages:
        for tag in messages.zrange("unacked_index", 0, -1):
            messages.zincrby("unacked_index", -SUBMIT_SECONDS, tag)  # five minutes later
    stand.workers(1)
    until(lambda: stand.knows(job_id), "the message has not come back")
    assert stand.client.job(job_id).result(timeout=30).content
