"""Children that are watched and ended together."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from palaver.producer.cli.processes import PartDied, Parts, StopAsked

TALKS = [sys.executable, "-c", "print('hello', flush=True); import time; time.sleep(60)"]
STUBBORN = ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"]


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with (tmp_path / "log").open("wb") as log, Parts(log) as parts, parts.signals():
        yield parts


def test_lines_go_to_the_log_under_the_parts_name(parts: Parts, tmp_path: Path) -> None:
    part = parts.start("talker", TALKS)
    assert parts.until(lambda: list(part.last_lines) == ["hello"], seconds=20)
    assert parts.until(lambda: (tmp_path / "log").read_bytes() == b"talker  | hello\n", seconds=20)
    assert part.how_it_ended == ""


def test_lines_may_be_taken_instead(parts: Parts) -> None:
    lines: list[bytes] = []
    parts.start("talker", TALKS, on_line=lines.append)
    assert parts.until(lambda: lines == [b"hello\n"], seconds=20)


def test_a_condition_that_never_holds_ends_the_wait(parts: Parts) -> None:
    assert not parts.until(lambda: False, seconds=0.01)


def test_a_part_that_ends_is_told_with_its_last_words(parts: Parts) -> None:
    parts.start("lives", TALKS)
    parts.start("fails", ["sh", "-c", "echo why; exit 3"])
    with pytest.raises(PartDied, match=r"fails died \(exit code 3\)") as death:
        parts.watch()
    assert list(death.value.part.last_lines) == ["why"]


def test_a_part_that_was_discarded_is_not_missed(parts: Parts) -> None:
    part = parts.start("short", ["true"])
    parts.discard(part)
    assert parts.pids == {}
    assert not parts.until(lambda: False, seconds=0.2)


def test_a_part_that_was_killed_on_purpose_is_not_missed(parts: Parts) -> None:
    part = parts.start("talker", TALKS)
    parts.kill(part)
    assert part.how_it_ended == "killed by SIGKILL"
    assert parts.pids == {}
    assert not parts.until(lambda: False, seconds=0.2)


def test_a_signal_asks_to_stop_and_a_second_one_ends_the_patience(parts: Parts) -> None:
    part = parts.start("stubborn", STUBBORN)
    assert parts.until(lambda: bool(part.last_lines), seconds=20)
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(StopAsked):
        parts.watch()
    os.kill(os.getpid(), signal.SIGINT)
    begun = time.monotonic()
    parts.stop(grace=60)
    assert time.monotonic() - begun < 30
    assert part.how_it_ended == "killed by SIGKILL"


def test_a_program_that_is_not_there_is_an_error_of_its_own(parts: Parts) -> None:
    with pytest.raises(FileNotFoundError):
        parts.start("nothing", ["/nonexistent/program"])
