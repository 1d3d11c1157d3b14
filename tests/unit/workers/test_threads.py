"""The threads of plain functions: as many as are needed, and none that Python waits for."""

import subprocess
import sys
import threading
from queue import SimpleQueue

import pytest

from palaver.workers.pool.threads import Threads
from tests.servers import IN_TIME, eventually

ENDS = """
import threading, time
from palaver.workers.pool.threads import Threads
begun = threading.Event()
Threads("held").submit(lambda: (begun.set(), time.sleep(600)))
begun.wait()
"""


def test_what_is_given_at_once_runs_at_once_and_what_comes_later_in_the_same_threads() -> None:
    threads, ran_in = Threads("test-threads"), SimpleQueue[int]()
    together = threading.Barrier(4)

    def note() -> None:
        together.wait(IN_TIME)
        ran_in.put(threading.get_ident())

    for _ in range(3):
        threads.submit(note)
    together.wait(IN_TIME)
    first = {ran_in.get(timeout=IN_TIME) for _ in range(3)}
    assert len(first) == 3

    def again() -> bool:
        threads.submit(lambda: ran_in.put(threading.get_ident()))
        return ran_in.get(timeout=IN_TIME) in first

    assert eventually(again)
    threads.close()
    assert eventually(lambda: all(thread.name != "test-threads" for thread in threading.enumerate()))


def test_no_more_than_the_most_run_at_once_and_the_rest_in_their_turn() -> None:
    threads, go, ran_in = Threads("test-few", most=2), threading.Event(), SimpleQueue[int]()

    def note() -> None:
        go.wait(IN_TIME)
        ran_in.put(threading.get_ident())

    for _ in range(5):
        threads.submit(note)
    assert sum(thread.name == "test-few" for thread in threading.enumerate()) == 2
    go.set()
    assert len({ran_in.get(timeout=IN_TIME) for _ in range(5)}) <= 2
    threads.close()


def test_what_the_system_has_no_thread_for_is_not_run_and_counts_as_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads, ran = Threads("test-none", most=1), SimpleQueue[str]()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            threads.submit(lambda: ran.put("refused"))
    threads.submit(lambda: ran.put("taken"))
    assert ran.get(timeout=IN_TIME) == "taken"
    threads.close()
    assert eventually(lambda: all(thread.name != "test-none" for thread in threading.enumerate()))
    assert ran.empty()


def test_a_function_that_waits_in_c_does_not_hold_a_process_that_ends() -> None:
    assert subprocess.run([sys.executable, "-c", ENDS], timeout=60, check=False).returncode == 0
