"""RabbitMQ as the broker, and what befalls it: it crashes, loses queues, is full, or loses its patience."""

import logging
import re
import signal
import socket
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.worker import loops
from kombu import Connection

from palaver.producer.broker import Broker
from palaver.shared.errors import BrokerFullError
from palaver.shared.ids import new_job_id
from palaver.shared.ledger import Dispatch
from palaver.shared.names import QUEUES, TASK_SUBMIT, Queue
from palaver.shared.settings import Settings
from palaver.workers.app import install
from palaver.workers.pool import silence
from palaver.workers.pool.channels import with_our_channels
from palaver.workers.pool.deliveries import LOOK_SECONDS
from palaver.workers.pool.intake import Intake
from palaver.workers.pool.lanes import PREFETCH
from palaver.workers.pool.leaving import END_SECONDS
from palaver.workers.pool.post import Post
from palaver.workers.pool.redis_channel import Left
from tests.faults.balancer import Balancer
from tests.faults.conftest import MakeStand
from tests.faults.load import Load
from tests.faults.stand import HURRIED, Stand, until
from tests.processes import Processes
from tests.rabbitmq import RabbitMQ, start_rabbitmq
from tests.servers import IN_TIME, RedisServer

pytestmark = [pytest.mark.worker, pytest.mark.xdist_group("faults"), pytest.mark.rabbitmq, pytest.mark.long]

PATIENCE = 4.0
BEATS = 100  # jobs of the load: while they come more than one beat of Celery's is due
IMPATIENT = (f"{{consumer_timeout, {PATIENCE * 1000:.0f}}}", "{channel_tick_interval, 500}")
"""Half an hour, made short: RabbitMQ closes the channel of who has not acknowledged a message for so long."""


@pytest.fixture
def broker(processes: Processes) -> RabbitMQ:
    """A RabbitMQ that is this test's to harm."""
    return start_rabbitmq(processes)


@pytest.fixture
def stand(make_stand: MakeStand, broker: RabbitMQ) -> Stand:
    return make_stand(broker_url=broker.url)


@pytest.fixture
def impatient_stand(make_stand: MakeStand, processes: Processes) -> Stand:
    """With a broker that waits for nobody longer than `PATIENCE`: who stands still may lose his channel."""
    return make_stand(broker_url=start_rabbitmq(processes, *IMPATIENT).url)


def take_again(load: Load) -> None:
    """Wait until jobs are."""
    taken = len(load.jobs)
    until(lambda: len(load.jobs) > taken + 40, "jobs are not taken again", seconds=60)


def test_a_crash_of_the_broker_under_load_loses_nothing(stand: Stand, broker: RabbitMQ) -> None:
    workers = stand.workers(2)
    with Load(stand) as load:
        until(lambda: len(load.jobs) > 40, "no jobs are taken")
        broker.kill()
        for worker in workers:
            worker.wait_for("Cannot connect to")
        until(lambda: load.refused > 3, "a broker that is away is not told before a job is stored")
        broker.start()
        take_again(load)
    stand.settle(load.jobs)
    for worker in workers:
        assert worker.process.poll() is None
        assert not re.search("Traceback|broker.silent", worker.output)


def test_a_crash_that_workers_hear_of_late_costs_them_one_connection(stand: Stand, broker: RabbitMQ) -> None:
    """All that was due meanwhile is due at once: acknowledgements, events, beats. None can be sent."""
    workers = stand.workers(2)
    with Load(stand) as load:
        until(lambda: len(load.jobs) > 40, "no jobs are taken")
        for worker in workers:
            worker.signal(signal.SIGSTOP)
        taken = len(load.jobs)
        until(lambda: len(load.jobs) > taken + BEATS, "no jobs are taken while workers stand still")
        broker.kill()
        for worker in workers:
            worker.signal(signal.SIGCONT)
        for worker in workers:
            worker.wait_for("Cannot connect to")
        broker.start()
        take_again(load)
    stand.settle(load.jobs)
    for worker in workers:
        assert worker.process.poll() is None
        assert worker.output.count("Connection to broker lost") == 1
        assert "Traceback" not in worker.output


def test_an_acknowledgement_that_the_broker_does_not_get_is_a_line(
    broker: RabbitMQ, caplog: pytest.LogCaptureFixture
) -> None:
    Celery(broker=broker.url).send_task("any", queue="any")
    with Connection(broker.url) as connection:
        channel: Any = with_our_channels(connection, Left()).default_channel
        message = channel.message_to_python(channel.basic_get("any"))
        errors, log = connection.connection_errors, logging.getLogger()
        connection.connection.transport.sock.shutdown(socket.SHUT_RDWR)
        message.ack_log_error(log, errors)
        message.reject_log_error(log, errors)
    told = [record for record in caplog.records if record.name == "palaver.workers.intake"]
    assert [record.getMessage().split()[0] for record in told] == [
        "message.not_acknowledged",
        "message.not_rejected",
    ]
    assert not any(record.exc_info for record in caplog.records)


def test_a_connection_that_the_broker_ends_unheard_is_lost(broker: RabbitMQ) -> None:
    with install(Celery("test", set_as_current=False), Settings(broker_url=broker.url)) as app:
        consumer = Intake(lambda _: None, app=app, controller=SimpleNamespace(use_eventloop=False))
        consumer.connection = consumer.connect()
        with closing(consumer.connection), closing(consumer.connection_for_write()) as for_events:
            consumer.event_dispatcher = app.events.Dispatcher(for_events)
            consumer.turn()
            broker.control("close_all_connections", "maintenance")
            until(lambda: finds_the_loss(consumer), "it is not found out")
            consumer.connection = consumer.connect()
            until(lambda: is_ended(for_events), "it is not ended")
            assert finds_the_loss(consumer)
            consumer.event_dispatcher = None
            assert not finds_the_loss(consumer)


def is_ended(connection: Connection) -> bool:
    """Whether it is, and reads so."""
    vars(loops)["_quick_drain"](connection)
    return not connection.connected


def finds_the_loss(consumer: Intake) -> bool:
    """Whether it does, as its loop begins."""
    vars(loops)["_quick_drain"](consumer.connection)
    try:
        consumer.turn()
    except ConnectionResetError:
        return True
    return False


def test_a_queue_of_another_type_is_told_once_a_second_until_it_is_removed(
    stand: Stand, broker: RabbitMQ
) -> None:
    with Connection(broker.url) as connection:
        channel: Any = connection.default_channel
        channel.queue_declare(Queue.NORMAL.value, durable=True, auto_delete=False)
        begun, worker = time.monotonic(), stand.start_worker()
        until(lambda: worker.output.count("Connection to broker lost") > 3, "it tries no more")
        assert worker.output.count("Connection to broker lost") <= 1 + time.monotonic() - begun
        assert "inequivalent arg 'x-queue-type' for queue 'palaver.normal'" in worker.output
        channel.queue_delete(Queue.NORMAL.value)
    stand.settle(stand.submit(1, words=1))


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


def test_a_consumer_that_may_bring_no_more_is_not_made_anew(
    make_stand: MakeStand, broker: RabbitMQ, own_redis: Callable[..., RedisServer]
) -> None:
    """Whole jobs wait in the worker while Redis is full; those behind them wait for other workers."""
    stand = make_stand(own_redis(), HURRIED, broker_url=broker.url)
    (worker,) = stand.workers(1)
    stand.raw.config_set("maxmemory", 1)
    ids = [new_job_id() for _ in range(3 * PREFETCH)]
    submit_whole(broker, ids)
    worker.wait_for("submit.waiting")
    stand.let_pass(3 * LOOK_SECONDS, since=time.time())
    assert broker.queues("consumers", "messages_unacknowledged")[Queue.SUBMIT] == ["1", str(PREFETCH)]
    assert "intake.consumer_lost" not in worker.output
    stand.raw.config_set("maxmemory", 0)
    assert all(stand.client.job(job_id).result(timeout=30).content for job_id in ids if known(stand, job_id))


def test_a_broker_that_hangs_is_left_and_found_again_and_holds_no_stream(
    make_stand: MakeStand, processes: Processes
) -> None:
    broker = start_rabbitmq(processes, "{heartbeat, 2}")
    stand = make_stand(broker_url=broker.url)
    (worker,) = stand.workers(1)
    live = stand.submit(2, words=2000, rate=20)
    stand.streaming(live)
    with broker.hanging():
        worker.wait_for("Connection to broker lost")
        stand.progress(live)
    stand.settle(stand.submit(5, words=1))
    for job in live:
        job.handle.cancel()
    assert worker.process.poll() is None


def test_a_node_that_hangs_for_ever_behind_a_balancer_is_left_for_one_that_answers(
    make_stand: MakeStand, processes: Processes
) -> None:
    broker = start_rabbitmq(processes, "{heartbeat, 2}")
    with Balancer(broker.port) as balancer:
        stand = make_stand(broker_url=broker.url)
        (worker,) = stand.workers(1, env={"PALAVER_BROKER_URL": behind(balancer)})
        answer_in_turn(stand, "before")
        balancer.freeze()
        worker.wait_for("Connection to broker lost")
        answer_in_turn(stand, "after")
        answer_in_turn(stand, "later")
        assert worker.process.poll() is None


@pytest.mark.parametrize("hangs", [False, True])
def test_nodes_that_do_not_answer_are_passed_over(
    make_stand: MakeStand, broker: RabbitMQ, hangs: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as away:
        port = away.getsockname()[1]
        if not hangs:
            away.close()
        stand = make_stand(broker_url=f"amqp://guest:guest@127.0.0.1:{port}//;{broker.url}")
        jobs = stand.submit(1, words=1)
        stand.workers(1)
        stand.settle([*jobs, *stand.submit(3, words=1, session_id="line", history=[])])


async def test_what_a_node_that_hangs_has_taken_in_is_not_taken_for_sent(
    broker: RabbitMQ, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "SILENT_SECONDS", 3.0)
    with Balancer(broker.port) as balancer:
        settings = Settings(redis_url=redis_server.url, broker_url=behind(balancer))
        with install(Celery("test", set_as_current=False), settings) as app:
            post = Post(app)
            for job in ("known", "swallowed", "sent"):
                await post.send([Dispatch("session", job, Queue.NORMAL)])
                if job == "known":
                    balancer.freeze()
        until(lambda: broker.queues("messages")[Queue.NORMAL] == ["2"], "it has not the two that were sent")


def behind(balancer: Balancer) -> str:
    """The URL of a RabbitMQ there."""
    return f"amqp://guest:guest@127.0.0.1:{balancer.port}//"


def answer_in_turn(stand: Stand, session_id: str) -> None:
    """Have jobs of one session answered: all but the first are sent by their worker."""
    for job in stand.submit(3, words=1, session_id=session_id):
        job.handle.result(timeout=60)


def test_a_command_to_shut_down_ends_a_worker_whose_broker_hangs_after_it(
    stand: Stand, broker: RabbitMQ
) -> None:
    (worker,) = stand.workers(1)
    worker.signal(signal.SIGSTOP)
    Celery(broker=broker.url).control.shutdown()
    broker.control("status")  # and by then the command is at the worker
    with broker.hanging():
        worker.signal(signal.SIGCONT)
        worker.wait_for("Got shutdown from remote")
        assert worker.wait(stand.settings.drain_seconds + END_SECONDS + 5) == 0


def test_a_worker_that_is_told_to_leave_as_the_broker_dies_does_so(stand: Stand, broker: RabbitMQ) -> None:
    (worker,) = stand.workers(1)
    worker.signal(signal.SIGSTOP)
    broker.kill()
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGCONT)
    assert worker.wait(stand.settings.drain_seconds + END_SECONDS + 5) == 0
    assert "Traceback" not in worker.output


def test_a_worker_leaves_in_time_while_the_broker_takes_nothing(stand: Stand, broker: RabbitMQ) -> None:
    """RabbitMQ reads nothing more from who has published, no farewell either."""
    (worker,) = stand.workers(1)
    stand.settle(stand.submit(2, words=1, session_id="line", history=[]))
    broker.control("set_vm_memory_high_watermark", "0.0000001")
    worker.signal(signal.SIGTERM)
    assert worker.wait(stand.settings.drain_seconds + END_SECONDS + 5) == 0


def test_an_answer_may_take_longer_than_the_broker_waits_for_one(impatient_stand: Stand) -> None:
    stand = impatient_stand
    (worker,) = stand.workers(1)
    jobs = stand.submit(3, words=int(PATIENCE * 3 * 20), rate=20)
    books = stand.settle(jobs)
    assert {attempt for job in jobs for attempt in books.attempts(job)} == {1}
    assert "Connection to broker lost" not in worker.output


def test_messages_that_wait_too_long_in_a_worker_cost_it_a_connection_and_no_job(
    impatient_stand: Stand,
) -> None:
    stand = impatient_stand
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


def test_urgent_jobs_go_first_and_the_rest_in_order(stand: Stand, broker: RabbitMQ) -> None:
    (worker,) = stand.workers(1, slots=1)
    (live,) = stand.submit(1, words=2000, rate=20)
    stand.streaming([live])
    low = stand.submit(2 * PREFETCH, words=1, priority=0)
    normal = stand.submit(2 * PREFETCH, words=1)
    high = stand.submit(2 * PREFETCH, words=1, priority=9)
    fetched = "what may wait in the worker has not come, or more has"
    until(lambda: waiting_in(broker) >= 3 * PREFETCH, fetched)
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


def waiting_in(broker: RabbitMQ) -> int:
    """How many tasks wait for a slot in the one worker that there is."""
    with Celery(broker=broker.url) as asking:
        answers = asking.control.inspect(timeout=IN_TIME, limit=1).stats() or {}
    return sum(answer["pool"]["waiting"] for answer in answers.values())


def test_a_whole_job_comes_back_at_once_from_a_worker_that_died_before_it_could_store_it(
    make_stand: MakeStand, broker: RabbitMQ, own_redis: Callable[..., RedisServer]
) -> None:
    redis = own_redis()
    stand = make_stand(redis, HURRIED, broker_url=broker.url)
    (worker,) = stand.workers(1)
    stand.raw.config_set("maxmemory", 1)  # while Redis is away a worker asks for nothing
    job_id = new_job_id()
    submit_whole(broker, [job_id])
    worker.wait_for("submit.waiting")
    assert redis.running is not None
    redis.running.kill()
    stand.kill(worker)
    own_redis(port=redis.port)
    stand.workers(1)
    assert known(stand, job_id)
    assert stand.client.job(job_id).result(timeout=30).content


def submit_whole(broker: RabbitMQ, ids: list[str]) -> None:
    """Hand jobs in as messages, as programs do that know no Palaver."""
    with Celery(broker=broker.url, task_create_missing_queue_type="quorum") as theirs:
        for job_id in ids:
            document = {"job_id": job_id, "messages": "Hello", "model": "prefix/m"}
            theirs.send_task(TASK_SUBMIT, args=[document], queue=Queue.SUBMIT.value)


def known(stand: Stand, job_id: str) -> bool:
    """Return True when a worker has stored the job."""
    until(lambda: stand.knows(job_id), "its message has not come back")
    return True


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
        return [path.name for path in files if word.encode() in content_of(path)]

    until(lambda: holds(jobs[0].id), "its messages are written elsewhere")
    assert holds(said) == []
    stand.workers(1)
    stand.settle(jobs)
    assert holds(said) == holds(" w1 w2") == []


def content_of(path: Path) -> bytes:
    """Nothing of one that RabbitMQ has removed meanwhile."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
