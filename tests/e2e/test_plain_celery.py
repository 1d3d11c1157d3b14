"""Other services: a client that has only Celery hands in a job, and reads the answer with Redis alone."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from palaver.producer import Client
from palaver.shared.events import StreamEnd
from palaver.shared.ids import new_job_id
from palaver.shared.jobs import Status
from palaver.shared.settings import Settings
from tests.outsider import text_of
from tests.pages import program
from tests.processes import ROOT, Processes, Running
from tests.servers import RedisServer

BEAT = ("celery", "-A", "nightly", "beat", "--schedule", "beat.db", "--pidfile", "")
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


def test_celery_beat_hands_in_jobs(
    redis_server: RedisServer,
    worker: Callable[..., Running],
    processes: Processes,
    palaver_env: dict[str, str],
    tmp_path: Path,
) -> None:
    """The program of the page, with another hour: now, and again and again."""
    page = program(ROOT / "README.md", "beat_schedule")
    ours = page.replace("redis://127.0.0.1:6379/0", redis_server.url)
    (tmp_path / "nightly.py").write_text(ours.replace("crontab(hour=7, minute=0)", "0.5"))
    worker()
    processes.start(BEAT, name="beat", cwd=tmp_path)
    with Client(Settings(redis_url=palaver_env["PALAVER_REDIS_URL"])) as client:
        ends = (event for event in client.events("report") if isinstance(event, StreamEnd))
        found = [next(ends), next(ends)]
        assert [end.data.status for end in found] == [Status.COMPLETED] * 2
        assert len({end.job_id for end in found}) == 2
        assert client.job(found[0].job_id).result().content == "What happened since yesterday?"
