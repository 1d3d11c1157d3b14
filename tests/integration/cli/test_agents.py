"""The first agent, as the page shows it: a file, and two commands."""

import signal

import pytest

from tests.integration.cli.shell import Inside, Shell
from tests.pages import program
from tests.processes import ROOT

pytestmark = [pytest.mark.redis, pytest.mark.worker]


def test_the_first_agent_answers_in_the_terminal(shell: Shell, inside: Inside) -> None:
    (shell.folder / "my_agents.py").write_text(program(ROOT / "README.md", "chat_urlpatterns"))
    with shell.dev("--no-flower", "--agents", "my_agents.py") as dev:
        hello = shell.run("chat", "--agent", "support", "hello")
        assert hello.stdout == "Hello! How can I help you today?\n", hello.stderr
        assert "agent/support" in hello.stderr
        assert inside.run("chat", "--agent", "/support/", "What is tea?").stdout == "What is tea?\n"
        unknown = inside.run("chat", "--agent", "sales/", "hello")
        assert (unknown.returncode, unknown.stdout) == (2, "")
        assert "agent: no worker serves the agent 'sales/'; served: support/" in unknown.stderr
        assert dev.end(signal.SIGTERM)[0] == 0


def test_a_file_that_is_not_there_is_named(shell: Shell) -> None:
    done = shell.run("dev", "--no-flower", "--port-redis", "0", "--agents", "no_agents.py")
    assert done.returncode == 1
    assert "PALAVER_AGENTS: there is no file no_agents.py" in done.stderr
    assert "Traceback" not in done.stderr
