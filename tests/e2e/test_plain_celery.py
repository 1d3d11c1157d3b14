"""Other services: a client that has only Celery hands in a job, and reads the answer with Redis alone."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from palaver.shared.ids import new_job_id
from tests.outsider import text_of
from tests.processes import Processes, Running
from tests.servers import RedisServer

CLIENT = Path(__file__).with_name("plain_client.py")


@pytest.mark.parametrize("text", ["To be, or not to be", "雨の日 ☂️ 👩‍👩‍👧‍👦 naïve"])
def test_a_client_with_only_celery(
    redis_server: RedisServer, worker: Callable[..., Running], processes: Processes, text: str
) -> None:
    worker()
    job_id = new_job_id()
    client = processes.start(
        (sys.executable, CLIENT, redis_server.url, "theirs", job_id, text), name="client"
    )
    assert client.wait() == 0, client.output
    client.drained()
    events = [json.loads(line) for line in client.lines]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert {(event["session_id"], event["job_id"]) for event in events} == {("theirs", job_id)}
    assert [event["type"] for event in events if event["type"] == "stream_end"] == [events[-1]["type"]]
    assert events[-1]["data"]["status"] == "completed"
    assert text_of(events) == text
