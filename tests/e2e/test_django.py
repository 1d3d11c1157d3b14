"""The app in a real Django project on SQLite: document 003's quick start and its other examples."""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.processes import ROOT, Processes, Running
from tests.servers import eventually

pytestmark = [pytest.mark.redis, pytest.mark.worker]

PROJECT = ROOT / "tests" / "e2e" / "django_project"


@pytest.fixture
def pusher(processes: Processes) -> str:
    """The address of a server that plays Pusher's part."""
    port = processes.python("tests/pusher_server.py", name="pusher").wait_for(r"^(\d+)$")[1]
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def project(palaver_env: dict[str, str], tmp_path: Path, pusher: str) -> dict[str, str]:
    """The environment of the project's processes."""
    return {
        **palaver_env,
        "PALAVER_FILES_URL": (tmp_path / "files").as_uri(),
        "PYTHONPATH": str(PROJECT),
        "DJANGO_SETTINGS_MODULE": "settings",
        "SHOP_DATABASE": str(tmp_path / "shop.sqlite3"),
        "SHOP_PUSHER": pusher,
        "SHOP_LOADS": str(tmp_path / "loads"),
    }


def manage(processes: Processes, *words: str, env: dict[str, str]) -> Running:
    return processes.start((sys.executable, "-m", "django", *words), name=words[0], env=env)


def visit(processes: Processes, env: dict[str, str]) -> dict[str, Any]:
    visitor = processes.start((sys.executable, str(PROJECT / "visit.py")), name="visit", env=env)
    assert visitor.wait(90) == 0, visitor.output
    visitor.drained()
    told: dict[str, Any] = json.loads(visitor.lines[-1])
    return told


def pushed(pusher: str, session_id: str) -> list[str]:
    """The events that a session's channel got."""
    with urlopen(f"{pusher}/told", timeout=10) as answer:  # noqa: S310 - the loopback
        told = json.load(answer)["told"]
    return [event["name"] for event in told if event["channel"] == f"conversation-session-{session_id}"]


def test_the_document_s_examples_work_in_a_project(
    project: dict[str, str], processes: Processes, pusher: str
) -> None:
    worker = manage(processes, "palaver_worker", "--", "--without-mingle", env=project)
    worker.wait_for(r"\bready\b", seconds=60)
    told = visit(processes, project)
    assert told["request"].keys() == {"status", "response", "session_id"}
    assert told["request"]["response"] == "I'm here to help with your support needs."
    assert told["guest"]["response"] == "0  greeting"
    assert told["async"]["response"] == "Hello! How can I help you today?"
    assert told["who"] == "1 ann@example.com greeting"
    assert told["streaming"] == "Let me think... You have said: tea "
    assert told["started"] == "whole"
    assert told["sales"] == "User 1 can access pro-features"
    assert told["simple"] == "Simple response"
    assert told["careful"] == "Sorry, I encountered an error. Please try again."
    assert told["careless"]["status"] == "error"
    assert "get_response of the agent 'careless' raised RuntimeError" in told["careless"]["error"]
    assert len(set(told["optimized"])) == 1
    assert len(Path(project["SHOP_LOADS"]).read_text().splitlines()) == 1
    assert told["count"] == ["1 users, 7", "1 users, 2027"]
    assert told["documents"] == "I've analyzed your files:\nFrom tea.txt: [eng] Tea is a drink...."
    assert told["appointment"] == [
        ["user", "Book appointment"],
        ["widget", "appointment_form"],
        ["agent", "Please select your preferred appointment time."],
    ]
    session, events = told["streaming_session"], ["stream_start", "text_chunk", "stream_end"]
    assert eventually(lambda: pushed(pusher, session)[-1:] == ["stream_end"], seconds=20)
    assert list(dict.fromkeys(pushed(pusher, session))) == events
    assert told["persistent"]["response"] == "here None guest_123 data"
    assert told["message"][0] == "Hello"
    assert told["message"][2:] == ["ConversationMessage", "active"]
    assert told["messages"] == ["x", "here None guest_123 data", "Hello"]
    assert "there is no agent at 'nowhere/'; there are: support/, sales/" in told["nowhere"]
    assert told["wrong"] == [
        "agent_path: must be a path, not null",
        "agent_path: must be a path, not 5",
        "files: must be files or their ids, not 5",
        "files: must be files or their ids, not a string of 36 characters",
    ]


@pytest.mark.parametrize("name", ["", "no.such.module"])
def test_a_setting_that_is_missing_or_wrong_is_named(
    project: dict[str, str], processes: Processes, name: str
) -> None:
    env = {**project, "SHOP_CHAT_URLS": name}
    worker = manage(processes, "palaver_worker", env=env)
    assert worker.wait(60) == 1
    worker.drained()
    assert "DJANGO_AI_CHAT_URLS" in worker.output
    assert "Traceback" not in worker.output
