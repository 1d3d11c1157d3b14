"""`palaver archive`, and a worker that is to use the database: both say what is wrong, in a line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from palaver.producer.interfaces import Clients, Conversations
from palaver.shared.settings import Settings
from tests.processes import Processes, Running, clean_environment

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


def test_tables_are_made_once(sqlite_url: str, tmp_path: Path) -> None:
    refused = palaver("archive", "check", url=sqlite_url, cwd=tmp_path)
    assert refused.returncode == 2
    assert "has no tables yet; this is version 0001: palaver archive upgrade" in refused.stderr
    for told in ("is now of version 0001", "was of version 0001"):
        done = palaver("archive", "upgrade", url=sqlite_url, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert told in done.stdout
    assert palaver("archive", "check", url=sqlite_url, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("url", "code", "told"),
    [
        ("mysql://u:hunter2@h/d", 2, "PALAVER_ARCHIVE_URL: must be postgresql://… or sqlite:///FILE"),
        ("sqlite://", 2, "PALAVER_ARCHIVE_URL: must be sqlite:///FILE"),
        ("postgresql://u:hunter2@h:port/d", 2, "PALAVER_ARCHIVE_URL is no URL: postgresql://h:***"),
        ("sqlite:////no/such/folder/file", 2, "PALAVER_ARCHIVE_URL: there is no folder /no/such/folder"),
        ("postgresql://u:hunter2@127.0.0.1:1/d", 3, "(PALAVER_ARCHIVE_URL) cannot be reached"),
    ],
)
def test_a_wrong_address_is_told_by_its_variable(url: str, code: int, told: str, tmp_path: Path) -> None:
    done = palaver("archive", "upgrade", url=url, cwd=tmp_path)
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


@pytest.mark.worker
def test_a_worker_archives_what_it_answers(
    postgres_url: str, worker: Callable[..., Running], palaver_env: dict[str, str], tmp_path: Path
) -> None:
    """The producer is gone before the answer is there; whoever asks later finds both in the database."""
    assert palaver("archive", "upgrade", url=postgres_url, cwd=tmp_path).returncode == 0
    worker(env={"PALAVER_ARCHIVE_URL": postgres_url})
    settings = Settings(redis_url=palaver_env["PALAVER_REDIS_URL"], archive_url=postgres_url)
    with Clients(settings) as clients:
        conversations = Conversations(clients)
        session = conversations.create_session(None, user="u1")
        assert conversations.send_message(session.id, "Hello", "u1")["response"] == "Hello"
        told = [
            (each.message_type, each.content) for each in conversations.messages(session.id, user="u1").items
        ]
        assert told == [("user", "Hello"), ("agent", "Hello")]
        assert [each.content for each in conversations.search("HELLO", user="u1").items] == ["Hello", "Hello"]
        assert conversations.sessions(user="u1").items == [session]
