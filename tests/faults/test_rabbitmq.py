"""RabbitMQ as the broker, and what befalls it: it crashes, loses queues, is full, or loses its patience."""

from collections.abc import Callable
from contextlib import closing

import pytest
from celery import Celery

from palaver.producer.broker import Broker
from palaver.shared.errors import BrokerFullError
from palaver.shared.ids import new_job_id
from palaver.shared.ledger import Dispatch
from palaver.shared.names import QUEUES, TASK_SUBMIT, Queue
from palaver.workers.pool.lanes import PREFETCH
from tests.faults.conftest import MakeStand
from tests.faults.load import Load
from tests.faults.stand import HURRIED, Stand, until
from tests.processes import Processes
from tests.rabbitmq import RabbitMQ, start_rabbitmq
from tests.servers import RedisServer

pytestmark = [pytest.mark.worker, pytest.mark.xdist_group("faults"), pytest.mark.rabbitmq, pytest.mark.long]

PATIENCE = 2.0
IMPATIENT = (f"{{consumer_timeout, {PATIENCE * 1000:.0f}}}", "{channel_tick_interval, 500}")
"""Half an hour, made short: RabbitMQ closes the channel of who has not acknowledged a message for so long."""


@pytest.fixture
def broker(processes: Processes) -> RabbitMQ:
    """A RabbitMQ that is this test's to harm."""
    return start_rabbitmq(processes, *IMPATIENT)


@pytest.fixture
def stand(make_stand: MakeStand, broker: RabbitMQ) -> Stand:
    return make_stand(broker_url=broker.url)


def test_a_crash_of_the_broker_under_load_loses_nothing(stand: Stand, broker: RabbitMQ) -> None:
    workers = stand.workers(2)
    with Load(stand) as load:
        until(lambda: len(load.jobs) > 40, "no jobs are taken")
        broker.kill()
        for worker in workers:
            worker.wait_for("Cannot connect to")
        until(lambda: load.refused > 3, "a broker that is away is not told before a job is stored")
        broker.start()
        taken = len(load.jobs)
        until(lambda: len(load.jobs) > taken + 40, "jobs are not taken again", seconds=60)
    stand.settle(load.jobs)
    for worker in workers:
        assert worker.process.poll() is None
        assert "Traceback" not in worker.output


def test_queues_that_somebody_removes_come_back_and_lose_nothing(stand: Stand, broker: RabbitMQ) -> None:
    workers = stand.workers(2, slots=20)
    with Load(stand) as load:
        until(lambda: len(load.jobs) > 100, "no jobs are taken")
        broker.forget_queues()
        taken = len(load.jobs)
        until(lambda: len(load.jobs) > taken + 40, "jobs are not taken any more")
    stand.settle(load.jobs)
    assert all(worker.process.poll() is None for worker in workers)
    assert {kind for name, kind in broker.kinds().items() if name in set(QUEUES)} == {"quorum"}


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (
            "[ra:process_command(amqqueue:get_pid(Q), rabbit_fifo:make_checkout({Tag, Pid}, cancel, #{}))"
            " || {Pid, Tag} <- Consumers]",
            "intake.consumer_lost queue=palaver.normal",
        ),
        ("[rabbit_channel:shutdown(Pid) || {Pid, _} <- Consumers]", "Connection to broker lost"),
    ],
    ids=["consumer", "channel"],
)
def test_a_consumer_that_the_broker_loses_without_a_word_is_made_anew(
    stand: Stand, broker: RabbitMQ, loss: str, told: str
) -> None:
    (worker,) = stand.workers(1)
    stand.settle(stand.submit(1, words=1))
    normal = f'rabbit_misc:r(<<"/">>, queue, <<"{Queue.NORMAL}">>)'
    consumers = "[{element(1, Consumer), element(2, Consumer)} || Consumer <- rabbit_amqqueue:consumers(Q)]"
    broker.control("eval", f"{{ok, Q}} = rabbit_amqqueue:lookup({normal}), Consumers = {consumers}, {loss}.")
    jobs = stand.submit(5, words=1)
    worker.wait_for(told)
    stand.settle(jobs)


def test_an_answer_may_take_longer_than_the_broker_waits_for_one(stand: Stand) -> None:
    (worker,) = stand.workers(1)
    jobs = stand.submit(3, words=int(PATIENCE * 3 * 20), rate=20)
    books = stand.settle(jobs)
    assert {attempt for job in jobs for attempt in books.attempts(job)} == {1}
    assert "Connection to broker lost" not in worker.output


def test_messages_that_wait_too_long_in_a_worker_cost_it_a_connection_and_no_job(stand: Stand) -> None:
    (worker,) = stand.workers(1, slots=2)
    live = stand.submit(2, words=2000, rate=20)
    stand.streaming(live)
    waiting = stand.submit(3 * PREFETCH, words=3)
    worker.wait_for("Connection to broker lost")
    stand.progress(live)
    for job in live:
        job.handle.cancel()
    books = stand.settle(waiting)
    assert {attempt for job in waiting for attempt in books.attempts(job)} == {1}
    assert worker.process.poll() is None


def test_urgent_jobs_go_first_and_the_rest_in_order(stand: Stand) -> None:
    (worker,) = stand.workers(1, slots=1)
    (live,) = stand.submit(1, words=2000, rate=20)
    stand.streaming([live])
    low = stand.submit(2 * PREFETCH, words=1, priority=0)
    normal = stand.submit(2 * PREFETCH, words=1)
    high = stand.submit(2 * PREFETCH, words=1, priority=9)
    fetched = "all that may wait here has come"
    until(lambda: 0 <= stand.waiting(Queue.HIGH) - PREFETCH <= 1, fetched)  # a canary may wait among them
    live.handle.cancel()
    stand.settle([*high, *normal, *low])
    begun = {job.id: stand.ledger.job(job.id, job.session).started or 0 for job in [*high, *normal, *low]}
    order = sorted(begun, key=lambda job_id: begun[job_id])
    assert order[:PREFETCH] == [job.id for job in high[:PREFETCH]]
    place = {job_id: number for number, job_id in enumerate(order)}
    for lane in (high, normal, low):
        assert sorted(lane, key=lambda job: place[job.id]) == lane
    assert worker.process.poll() is None


def test_a_whole_job_comes_back_at_once_from_a_worker_that_died_before_it_could_store_it(
    make_stand: MakeStand, broker: RabbitMQ, own_redis: Callable[..., RedisServer]
) -> None:
    redis = own_redis()
    stand = make_stand(redis, HURRIED, broker_url=broker.url)
    (worker,) = stand.workers(1)
    assert redis.running is not None
    redis.running.kill()
    job_id = new_job_id()
    document = {"job_id": job_id, "messages": "Hello", "model": "prefix/m"}
    theirs = Celery(broker=broker.url, task_create_missing_queue_type="quorum")
    theirs.send_task(TASK_SUBMIT, args=[document], queue=Queue.SUBMIT.value)
    worker.wait_for("submit.waiting")
    stand.kill(worker)
    own_redis(port=redis.port)
    stand.workers(1)
    until(lambda: stand.knows(job_id), "the message has not come back")
    assert stand.client.job(job_id).result(timeout=30).content


def test_a_broker_without_memory_is_told_as_such_and_the_job_is_run_when_it_has_some(
    stand: Stand, broker: RabbitMQ
) -> None:
    stand.workers(1)
    broker.control("set_vm_memory_high_watermark", "0.0000001")
    (job,) = stand.submit(1, words=3)  # it was stored; only its message is not taken
    with closing(Broker(broker.url)) as ours, pytest.raises(BrokerFullError, match="out of memory or disk"):
        ours.send([Dispatch("session", "job", Queue.NORMAL)])
    broker.control("set_vm_memory_high_watermark", "0.4")
    stand.settle([job])


def test_a_message_that_a_policy_refuses_is_told_as_such(broker: RabbitMQ) -> None:
    with closing(Broker(broker.url)) as ours:
        ours.check()
        policy = '{"max-length": 1, "overflow": "reject-publish"}'
        broker.control("set_policy", "full", "^palaver", policy, "--apply-to", "queues")

        def fill() -> None:
            for number in range(1000):  # each queue hears of a policy in its own time
                ours.send([Dispatch("session", f"job-{number}", Queue.NORMAL)])

        with pytest.raises(BrokerFullError, match="has refused a message"):
            fill()
        ours.send([Dispatch("session", "another", Queue.HIGH)])


def test_what_is_said_is_in_no_message_at_rest(stand: Stand, broker: RabbitMQ) -> None:
    """Of all that RabbitMQ writes, queues and logs, while jobs wait and when they have ended."""
    said = "canary-in-a-prompt"
    jobs = stand.submit(5, words=3, script={"key": said}, tenant="acme")

    def holds(word: str) -> list[str]:
        files = [path for path in broker.folder.rglob("*") if path.is_file()]
        return [path.name for path in files if word.encode() in path.read_bytes()]

    until(lambda: holds(jobs[0].id), "its messages are written elsewhere")
    assert holds(said) == []
    stand.workers(1)
    stand.settle(jobs)
    assert holds(said) == holds(" w1 w2") == []
