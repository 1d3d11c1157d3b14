"""`palaver archive`, and a worker that is to use the database: both say what is wrong, in a line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from palaver.producer.interfaces import Clients, Conversations
from palaver.shared.ledger import operations
from palaver.shared.settings import Settings
from tests.integration.cli.shell import Inside
from tests.processes import Processes, Running, clean_environment
from tests.servers import eventually

pytestmark = pytest.mark.xdist_group("postgres")


def palaver(*words: str, url: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        (sys.executable, "-m", "palaver.producer.cli", *words),
        env=clean_environment({"PALAVER_ARCHIVE_URL": url}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
    )


def test_tables_are_made_once(inside: Inside, sqlite_url: str) -> None:
    inside.environment["PALAVER_ARCHIVE_URL"] = sqlite_url
    refused = inside.run("archive", "check")
    assert refused.returncode == 2
    assert "has no tables yet; this is version 0001: palaver archive upgrade" in refused.stderr
    for told in ("is now of version 0001", "was of version 0001"):
        done = inside.run("archive", "upgrade")
        assert (done.returncode, done.stderr) == (0, "")
        assert told in done.stdout
    assert inside.run("archive", "check").returncode == 0


@pytest.mark.parametrize(
    ("url", "code", "told"),
    [
        ("mysql://u:hunter2@h/d", 2, "PALAVER_ARCHIVE_URL: must be postgresql://… or sqlite:///FILE"),
        ("sqlite://", 2, "PALAVER_ARCHIVE_URL: must be sqlite:///FILE"),
        ("postgresql://u:hunter2@h:port/d", 2, "PALAVER_ARCHIVE_URL is no URL: postgresql://h:***"),
        ("sqlite:////no/such/folder/file", 2, "PALAVER_ARCHIVE_URL: there is no folder /no/such/folder"),
        ("sqlite:////etc", 2, "PALAVER_ARCHIVE_URL: /etc is a folder; name a file in it"),
        (f"sqlite:///{__file__}", 2, "test_commands.py is no database of SQLite, or has been damaged"),
        ("postgresql://u:hunter2@127.0.0.1:1/d", 3, "(PALAVER_ARCHIVE_URL) cannot be reached"),
    ],
)
def test_a_wrong_address_is_told_by_its_variable(inside: Inside, url: str, code: int, told: str) -> None:
    inside.environment["PALAVER_ARCHIVE_URL"] = url
    done = inside.run("archive", "upgrade")
    assert (done.returncode, done.stdout) == (code, "")
    assert told in done.stderr
    assert "hunter2" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_worker_does_not_start_with_a_database_of_another_version(
    sqlite_url: str, processes: Processes, palaver_env: dict[str, str]
) -> None:
    env = {**palaver_env, "PALAVER_ARCHIVE_URL": sqlite_url}
    running = processes.start(("palaver", "worker", "--without-mingle"), name="worker", env=env)
    assert running.wait() == 2
    running.drained()
    assert "palaver archive upgrade" in running.output


AGENTS = """
from palaver.workers.agents import display_widget, path


async def support(message, session_context, **kwargs):
    if "fail" in message:
        raise RuntimeError("out of order")
    display_widget("form", {"slots": ["10:00"]})
    return f"{session_context['plan']} for {session_context['user_id']}"


chat_urlpatterns = [path("support/<int:desk>/", support)]
"""


@pytest.mark.worker
def test_what_agents_say_and_show_is_in_the_database(
    postgres_url: str, worker: Callable[..., Running], palaver_env: dict[str, str], tmp_path: Path
) -> None:
    assert palaver("archive", "upgrade", url=postgres_url, cwd=tmp_path).returncode == 0
    agents = tmp_path / "my_agents.py"
    agents.write_text(AGENTS)
    worker(env={"PALAVER_ARCHIVE_URL": postgres_url, "PALAVER_AGENTS": str(agents)})
    settings = Settings(redis_url=palaver_env["PALAVER_REDIS_URL"], archive_url=postgres_url)
    with Clients(settings) as clients:
        conversations = Conversations(clients)
        assert eventually(clients.blocking.agents)  # announced a moment after the worker is ready
        with pytest.raises(ValueError, match="sales"):
            conversations.create_session("sales/", user="u1")
        session = conversations.create_session("support/3/", user="u1", context={"plan": "free"})
        assert conversations.send_message(session.id, "Hello", "u1")["response"] == "free for u1"
        failed = conversations.send_message(session.id, "Please fail", "u1")
        messages = conversations.messages(session.id, user="u1").items
        assert [(each.message_type, each.content, each.component_type) for each in messages] == [
            ("user", "Hello", ""),
            ("widget", "", "form"),
            ("agent", "free for u1", ""),
            ("user", "Please fail", ""),
            ("system", f"Error: {failed['error']}", ""),
        ]
        assert messages[1].component_data == {"slots": ["10:00"]}
        found = conversations.search("FREE", user="u1").items
        assert [each.content for each in found] == ["free for u1"]
        assert conversations.sessions(user="u1").items == [session]
        left = operations.unarchived_among(clients.blocking.ledger.keys, [session.session_id])
        assert eventually(lambda: not clients.blocking.ledger.query(left)), "the worker's archiver is done"
