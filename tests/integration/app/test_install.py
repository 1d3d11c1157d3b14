"""Palaver in a Celery application that has tasks and queues of its own."""

import pytest
from celery import Celery

from palaver.producer import Client
from palaver.shared.settings import Settings
from tests.processes import Processes

pytestmark = [pytest.mark.redis, pytest.mark.worker]


def test_tasks_of_both_run_side_by_side(processes: Processes, palaver_env: dict[str, str]) -> None:
    words = ("-m", "celery", "-A", "tests.integration.app.own_app", "worker", "--loglevel", "INFO")
    worker = processes.python(*words, "--concurrency", "10", "--without-mingle", env=palaver_env)
    worker.wait_for(r" ready\.$", seconds=60)
    url = palaver_env["PALAVER_REDIS_URL"]
    outsider = Celery("outsider", broker=url, set_as_current=False)
    outsider.send_task("own.plain", args=(1,))
    outsider.send_task("own.coroutine", args=(1,))
    with Client(Settings(redis_url=url)) as client:
        assert client.submit("hello").result(timeout=30).content == "hello"
    worker.wait_for(r"own\.plain\S+ succeeded in .*: 2$")
    worker.wait_for(r"own\.coroutine\S+ succeeded in .*: 2$")
    assert worker.stop() == 0
