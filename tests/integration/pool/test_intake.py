"""What becomes of a message between the broker and its job, on Redis."""

import json
from collections.abc import Callable

import pytest
from celery import Celery
from kombu import Connection

from palaver.shared.names import TASK_CHAT, TASK_SUBMIT
from palaver.workers.pool.intake import _ours
from tests.servers import RedisServer

pytestmark = pytest.mark.redis

QUEUE = "palaver.normal"


@pytest.mark.parametrize(("task", "notes"), [(TASK_CHAT, 0), (TASK_SUBMIT, 1)])
def test_only_what_the_ledger_does_not_know_is_noted_and_all_of_it_is_given_back(
    own_redis: Callable[..., RedisServer], task: str, notes: int
) -> None:
    server = own_redis()
    Celery(broker=server.url).send_task(task, args=("s", "j"), queue=QUEUE)
    with server.client() as broker:
        (sent,) = broker.lrange(QUEUE, 0, -1)
        with Connection(server.url) as connection:
            channel = _ours(connection).default_channel
            assert channel.basic_get(QUEUE).headers["task"] == task
            assert (broker.hlen("unacked"), broker.llen(QUEUE)) == (notes, 0)
            channel.close()
        (again,) = broker.lrange(QUEUE, 0, -1)
        assert json.loads(again)["body"] == json.loads(sent)["body"]
        assert broker.hlen("unacked") == 0


def test_an_acknowledged_message_that_names_a_job_is_gone(own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis()
    Celery(broker=server.url).send_task(TASK_CHAT, args=("s", "j"), queue=QUEUE)
    with server.client() as broker:
        with Connection(server.url) as connection:
            channel = _ours(connection).default_channel
            channel.basic_get(QUEUE).ack()
            channel.close()
        assert (broker.llen(QUEUE), broker.hlen("unacked")) == (0, 0)
