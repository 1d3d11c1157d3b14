"""The tests' own tools do what the other tests rely on."""

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forks
from tests.guard import OutsideReached
from tests.processes import ROOT, WORKER, ProcessEnded, Processes, Running, cheaper, clean_environment, leash
from tests.servers import IN_TIME, RedisServer, missing, redis_binary

pytest_plugins = ("pytester",)


def test_every_flavour_of_redis_answers_a_script(any_redis: RedisServer) -> None:
    with any_redis.client() as client:
        assert client.dbsize() == 0
        assert client.eval("return redis.call('INCR', KEYS[1])", 1, "{a}:n") == 1


def test_an_older_redis_first_on_path_hides_no_newer_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, version in (("old", 6), ("new", 7)):
        server = tmp_path / folder / "redis-server"
        server.parent.mkdir()
        server.write_text(f"#!/bin/sh\n/bin/echo Redis server v={version}.2.0\n")
        server.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'old'}:{tmp_path / 'new'}")
    # past the cache: other tests have asked already
    assert redis_binary.__wrapped__("redis-7") == str(tmp_path / "new" / "redis-server")


def test_no_connection_leaves_this_machine() -> None:
    with socket.socket() as probe, pytest.raises(OutsideReached):
        probe.connect(("192.0.2.1", 9))
    with pytest.raises(OutsideReached):
        socket.getaddrinfo("palaver.invalid", 80)


def test_a_process_is_waited_for_by_what_it_prints(processes: Processes) -> None:
    child = processes.start((sys.executable, "-c", "print('port 7'); input()"))
    assert child.wait_for(r"port (\d+)")[1] == "7"
    with pytest.raises(ProcessEnded, match="port 7"):
        child.wait_for("never")  # its input is empty, so it ends


STARTS_ONE = """
import signal, sys
from pathlib import Path
from tests import forks
from tests.processes import Processes
forks.IMPORTED["timeit"] = ("timeit",)
child = Processes(Path(sys.argv[1])).start(sys.argv[2:])
child.wait_for("tied")  # before that its leash may not be on yet
print("started", child.pid)
signal.pause()
"""


RUN = (sys.executable, "-m", "timeit", "-n1", "-r1")
"""Runs a line of Python."""


@pytest.mark.parametrize(
    "command",
    [("sh", "-c", "echo tied; exec sleep 60"), (*RUN, "print('tied'); import time; time.sleep(60)")],
    ids=["started", "forked"],
)
def test_no_process_outlives_tests_that_are_killed(
    processes: Processes, tmp_path: Path, command: tuple[str, ...]
) -> None:
    if not leash():
        missing("no setpriv, which ties a process to its parent")
    tests = processes.python("-c", STARTS_ONE, tmp_path, *command)
    child = os.pidfd_open(int(tests.wait_for(r"started (\d+)")[1]))
    with os.fdopen(child):
        tests.process.kill()
        ended, _, _ = select.select([child], [], [], IN_TIME)
    assert ended


TELLS_OF_ITSELF = """
import os, signal, sys
print([sorted(os.environ.items()), os.getcwd(), sys.path, sys.argv, sys.stdin.read(), sys.stdout.encoding,
    os.getsid(0) == os.getpid(), signal.getsignal(signal.SIGCHLD), signal.getsignal(signal.SIGINT),
    os.listdir("/proc/self/fd")])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
def test_a_forked_process_is_as_one_that_was_started(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(line: str) -> Running:
        return processes.start((*RUN, line), env={"PALAVER_X": "x", "PYTHONPATH": str(ROOT)})

    def both(line: str) -> tuple[Running, Running]:
        with monkeypatch.context() as patch:
            patch.setitem(forks.IMPORTED, "timeit", ("timeit",))
            forked = run(line)
        started = run(line)
        assert isinstance(forked.process, forks.Forked)
        assert not isinstance(started.process, forks.Forked)
        return forked, started

    forked, started = both(TELLS_OF_ITSELF)
    assert forked.wait_for(r"\[.*")[0] == started.wait_for(r"\[.*")[0]
    assert forked.wait() == started.wait() == 0
    assert [each.wait() for each in both("1/0")] == [1, 1]
    for each in both("import subprocess; print('here'); subprocess.run(['sleep', '60'])"):
        each.wait_for("here")
        with pytest.raises(subprocess.TimeoutExpired):
            each.process.wait(0.01)
        assert each.process.poll() is None
        each.kill()
        each.drained()  # its child, which has the same output, has ended too
        assert each.process.returncode == -9


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
def test_a_command_that_is_forked_lends_its_streams_and_ends_as_its_child(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(forks.IMPORTED, "timeit", ("timeit",))

    def run(line: str) -> subprocess.CompletedProcess[str]:
        words = cheaper((*RUN, f"import os, sys; {line}"))
        return subprocess.run(words, input="read", capture_output=True, text=True, timeout=60, check=False)

    done = run("sys.stderr.write(sys.stdin.read()); os._exit(3)")
    assert (done.returncode, done.stderr) == (3, "read")
    assert run("os.kill(os.getpid(), 15)").returncode == -signal.SIGTERM
    for number in (signal.SIGTERM, signal.SIGKILL):
        sleeping = processes.start(
            cheaper((*RUN, "import os, time; print('pid', os.getpid()); time.sleep(60)"))
        )
        child = os.pidfd_open(int(sleeping.wait_for(r"pid (\d+)")[1]))
        with os.fdopen(child):
            sleeping.process.send_signal(number)
            assert sleeping.wait() == -number
            assert select.select([child], [], [], IN_TIME)[0]


def test_what_the_interpreter_is_told_of_is_not_forked() -> None:
    environment = clean_environment()
    assert forks.possible(WORKER, environment)
    assert not forks.possible(WORKER, {**environment, "PYTHONWARNINGS": "error"})
    assert not forks.possible(WORKER, {**environment, "PYTHONPATH": "/another/release"})
    assert not forks.possible(("palaver", "worker"), environment)
    assert not forks.possible(RUN, environment)


def test_a_child_sees_no_proxy_and_no_setting_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "no_proxy", "PALAVER_REDIS_URL", "CELERY_BROKER_URL"):
        monkeypatch.setenv(name, "x")
    assert (
        not {"HTTPS_PROXY", "no_proxy", "PALAVER_REDIS_URL", "CELERY_BROKER_URL"} & clean_environment().keys()
    )


@pytest.mark.parametrize(("setting", "outcomes"), [("", {"skipped": 2}), ("all", {"failed": 1, "errors": 1})])
def test_a_missing_service_skips_or_fails(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, setting: str, outcomes: dict[str, int]
) -> None:
    monkeypatch.setenv("PALAVER_TEST_REQUIRE", setting)
    pytester.makeconftest("from tests.conftest import *")
    pytester.makepyfile(
        """
        import pytest
        from tests.servers import missing
        def test_service(): missing("no server")
        @pytest.mark.skip(reason="by hand")
        def test_skip(): pass
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:asyncio")
    result.assert_outcomes(**outcomes)


def test_a_group_of_tests_is_kept_in_one_process(pytester: pytest.Pytester) -> None:
    # A pytest and a pytest-xdist that do not know each other take it apart, and fail nothing.
    pytester.makepyfile(
        """
        import os, pathlib, pytest
        @pytest.mark.xdist_group("together")
        @pytest.mark.parametrize("n", range(4))
        def test_in_which(n): pathlib.Path(f"process-{os.getpid()}").touch()
        """
    )
    result = pytester.runpytest_subprocess("-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=4)
    assert len(list(pytester.path.glob("process-*"))) == 1
