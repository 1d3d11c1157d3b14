"""That a worker's process ends in time, once it was told to."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest

from palaver.workers.pool import leaving
from palaver.workers.pool.leaving import Leaving

END_SECONDS = 0.2

Exits = SimpleQueue[tuple[int, float]]


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> Exits:
    """The codes with which the process would have ended, and when."""
    ends: Exits = SimpleQueue()
    monkeypatch.setattr(leaving, "END_SECONDS", END_SECONDS)
    monkeypatch.setattr(os, "_exit", lambda code: ends.put((code, time.monotonic())))
    return ends


def guarded(drain_seconds: float | None, is_needed: Callable[[], bool] = lambda: False) -> Leaving:
    def call(function: Callable[..., object], *args: object) -> None:
        function(*args)

    made = Leaving(drain_seconds, call, lambda: None, is_needed)
    made.guard()
    return made


def guards() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "palaver-leaving"]


def test_what_hangs_after_the_time_to_drain_is_left_behind(exits: Exits) -> None:
    told = time.monotonic()
    guarded(0.1).told()
    code, at = exits.get(timeout=20)
    assert code == 0
    assert at >= told + 0.1 + END_SECONDS


def test_a_second_time_told_counts_from_then(exits: Exits) -> None:
    leaving = guarded(600)
    leaving.told()
    leaving.told()
    assert exits.get(timeout=20)[0] == 0


def test_what_ended_before_its_time_leaves_the_rest_no_more_of_it(exits: Exits) -> None:
    leaving = guarded(None)
    leaving.told()
    leaving.drained()
    assert exits.get(timeout=20)[0] == 0


def test_what_nobody_else_would_do_is_waited_for(exits: Exits) -> None:
    looks = iter(range(5))
    guarded(0, lambda: next(looks, None) is not None).told()
    assert exits.get(timeout=20)[0] == 0
    assert next(looks, None) is None


def test_what_was_waited_for_has_time_to_end(exits: Exits) -> None:
    ended: list[float] = []

    def is_needed() -> bool:
        if ended:
            return False
        ended.append(time.monotonic())
        return True

    guarded(0, is_needed).told()
    assert exits.get(timeout=20)[1] >= ended[0] + END_SECONDS


def test_told_at_once_nothing_is_waited_for(exits: Exits) -> None:
    told = guarded(600, lambda: True)
    told.told()
    told.told()
    assert exits.get(timeout=20)[0] == 0


def test_one_signal_after_a_command_leaves_what_runs_its_time() -> None:
    told = guarded(600)
    told.leave()
    told.leave()
    told.told()
    assert told.left > 500
    told.told()
    assert told.left <= 0
    told.close()


def test_a_worker_that_fails_says_so(exits: Exits) -> None:
    guarded(600).fail()
    assert exits.get(timeout=20)[0] == 1


@pytest.mark.parametrize(
    "told", [Leaving.begin, Leaving.leave, Leaving.told], ids=["by itself", "by a command", "by a signal"]
)
def test_a_program_whose_worker_has_left_goes_on(
    exits: Exits, monkeypatch: pytest.MonkeyPatch, told: Callable[[Leaving], None]
) -> None:
    monkeypatch.setattr(leaving, "END_SECONDS", 60)  # it leaves in time
    before = guards()
    left = guarded(0)
    (guard,) = [thread for thread in guards() if thread not in before]
    told(left)
    left.drained()
    left.close()
    guard.join(20)
    assert not guard.is_alive()
    assert exits.empty()


def test_a_worker_that_hangs_when_a_command_has_it_leave_ends(exits: Exits) -> None:
    guarded(0).leave()
    assert exits.get(timeout=20)[0] == 0


def test_the_process_of_a_program_is_not_that_of_a_worker_in_one_of_its_threads(exits: Exits) -> None:
    before = guards()
    with ThreadPoolExecutor(1) as pool:
        leaving = pool.submit(guarded, 0).result()
    leaving.fail()
    assert set(guards()) <= set(before)  # those of other tests may end meanwhile
