"""What Celery keeps of a job that has begun, and what it does with one that is revoked before."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from celery.worker import state
from kombu import Consumer, Queue

from palaver.shared.names import TASK_CHAT
from palaver.workers.tasks import JobRequest

JOB = ("s-1", "01890000-0000-7000-8000-000000000000")


class Waiting:
    """A pool without a free slot, and what waits for one."""

    def __init__(self) -> None:
        self.terminated = False

    def apply_async(self, *_: Any, **__: Any) -> "Waiting":
        return self

    def terminate_job(self, *_: Any) -> None:
        self.terminated = True

    def terminate(self, *_: Any) -> None:
        self.terminated = True


@contextmanager
def taken(**headers: Any) -> Iterator[tuple[Celery, Any, list[Any]]]:
    """A message to run the job, as a consumer has it, in a list of one."""
    app = Celery(broker="memory://", set_as_current=False)
    with app.connection() as connection:
        messages: list[Any] = []
        app.send_task(TASK_CHAT, JOB, queue="q", connection=connection, **headers)
        consumer: Any = Consumer(connection.channel(), [Queue("q")], on_message=messages.append)
        consumer.consume()
        connection.drain_events(timeout=1)
        yield app, consumer, messages


def test_nothing_is_left_of_the_message_once_it_is_acknowledged() -> None:
    acknowledged: list[Any] = []
    with taken() as (app, consumer, messages):
        message, watched = messages[0], weakref.ref(messages.pop())
        request = JobRequest(
            message, on_ack=lambda *_: acknowledged.append(watched), app=app, task=app.tasks[TASK_CHAT]
        )
        del message
        consumer.channel.qos._delivered.clear()  # what it is acknowledged to
        assert watched() is not None, "a job that waits for a slot may have to give it back"
        request.on_accepted(1, 0.0)
    assert acknowledged == [watched]
    assert watched() is None
    assert request.info()["args"] == repr(JOB)


def test_a_job_that_is_revoked_while_it_waits_for_a_slot_gets_it() -> None:
    with taken(task_id=JOB[1]) as (app, _, messages):
        request = JobRequest(messages.pop(), app=app, task=app.tasks[TASK_CHAT])
    pool: Any = Waiting()
    request.execute_using_pool(pool)
    state.revoked.add(JOB[1])
    try:
        request.terminate(pool)
        assert not request.revoked()
        request.on_accepted(1, 0.0)
    finally:
        state.revoked.discard(JOB[1])
    assert not pool.terminated
    request.terminate(pool)
    assert pool.terminated


def test_a_message_to_a_job_does_not_expire() -> None:
    with taken(task_id=JOB[1], expires=-5) as (app, _, messages):
        request = JobRequest(messages.pop(), app=app, task=app.tasks[TASK_CHAT])
    assert not request.revoked()
    assert JOB[1] not in state.revoked
