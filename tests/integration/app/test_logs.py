"""A worker's log: for machines if wanted, and without prompts, answers and keys unless wanted."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from palaver.producer import Client
from palaver.shared.settings import Settings
from tests.processes import Processes, Running

pytestmark = [pytest.mark.redis, pytest.mark.worker]

PROMPT = "xyzzy-42 %s"


def talk(palaver_env: dict[str, str], message: str = PROMPT) -> str:
    """Have a job answered with its own prompt; its id."""
    with Client(Settings(redis_url=palaver_env["PALAVER_REDIS_URL"])) as client:
        handle = client.submit(message, metadata={"tag": "t1"})
        assert handle.result(timeout=30).content == message
        return handle.job_id


def events(worker: Running) -> list[dict[str, Any]]:
    return [json.loads(line) for line in worker.lines if line.startswith("{")]


def test_as_json_with_content(worker: Callable[..., Running], palaver_env: dict[str, str]) -> None:
    running = worker(env={"PALAVER_LOG_FORMAT": "json", "PALAVER_LOG_CONTENT": "1"})
    job_id = talk(palaver_env)
    running.wait_for("Chat interaction")
    told = {event["event"]: event for event in events(running)}
    ended, said = told["job.ended"], told["Chat interaction"]
    assert (ended["job_id"], ended["status"], ended["level"]) == (job_id, "completed", "info")
    assert said["logger"] == "chat"
    assert said["job_id"] == job_id
    assert said["chat_message"][0]["content"] == PROMPT
    assert said["chat_response"]["content"] == PROMPT
    assert said["chat_metadata"] == {"tag": "t1"}
    assert any(event["logger"] == "celery.apps.worker" for event in events(running)), "Celery's own lines"


def test_content_as_text_is_cut(worker: Callable[..., Running], palaver_env: dict[str, str]) -> None:
    running = worker(env={"PALAVER_LOG_CONTENT": "1"})
    talk(palaver_env, PROMPT * 100)
    line = running.wait_for("Chat interaction").string
    assert "chat_response=" in line
    assert len(line) < 1500


def test_nothing_of_it_is_told_by_itself(worker: Callable[..., Running], palaver_env: dict[str, str]) -> None:
    """Not even to somebody who looks for a fault at the lowest level."""
    running = worker("--loglevel", "DEBUG")
    talk(palaver_env)
    running.wait_for("job.ended")
    assert "xyzzy" not in running.output


@pytest.mark.parametrize("value", ["yaml", "JSON "])
def test_an_unknown_format_is_wrong_usage(
    processes: Processes, palaver_env: dict[str, str], value: str
) -> None:
    running = processes.python("-m", "palaver.workers", env={**palaver_env, "PALAVER_LOG_FORMAT": value})
    assert running.wait(30) == 2
    assert "PALAVER_LOG_FORMAT: must be 'text' or 'json'" in running.output
