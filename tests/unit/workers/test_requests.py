"""What Celery keeps of a job that has begun."""

import weakref
from typing import Any

from celery import Celery
from kombu import Consumer, Queue

from palaver.shared.names import TASK_CHAT
from palaver.workers.tasks import JobRequest

JOB = ("s-1", "01890000-0000-7000-8000-000000000000")


def test_nothing_is_left_of_the_message_once_it_is_acknowledged() -> None:
    app = Celery(broker="memory://", set_as_current=False)
    acknowledged: list[Any] = []
    with app.connection() as connection:
        taken: list[Any] = []
        app.send_task(TASK_CHAT, JOB, queue="q", connection=connection)
        consumer: Any = Consumer(connection.channel(), [Queue("q")], on_message=taken.append)
        consumer.consume()
        connection.drain_events(timeout=1)
        message, watched = taken[0], weakref.ref(taken.pop())
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
