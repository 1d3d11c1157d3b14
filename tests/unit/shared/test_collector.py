"""Python's collector of garbage is paused while much is made that lives on, and comes all the same."""

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from palaver.producer import Client
from palaver.shared import collector
from palaver.shared.errors import ValidationError


@pytest.fixture(autouse=True)
def _on() -> Iterator[None]:
    gc.enable()
    yield
    gc.enable()


def test_it_is_off_while_jobs_are_prepared_and_on_again_when_one_is_refused() -> None:
    seen = []

    def jobs() -> Iterator[str]:
        seen.append(gc.isenabled())
        yield ""

    with Client(redis_url="redis://127.0.0.1:1") as client, pytest.raises(ValidationError):
        client.submit_many(jobs())

    assert seen == [False]
    assert gc.isenabled()


def test_whoever_had_it_off_has_it_off() -> None:
    gc.disable()
    with collector.paused():
        pass
    assert not gc.isenabled()


SETTLING = """
import gc
from palaver.shared import collector

with collector.paused():
    made = [[number] for number in range(5_000)]
    collector.settle()
young = {id(found) for generation in (0, 1) for found in gc.get_objects(generation)}
print(len(young.intersection(map(id, made))), gc.get_freeze_count() <= collector.KEPT_BY_PYTHON)
"""


def test_what_a_large_document_was_made_into_is_not_searched_soon() -> None:
    """In a process of its own: the suite's keeps much out of searches."""
    words = [sys.executable, "-c", SETTLING]
    told = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout
    assert told.split() == ["0", "True"]


def test_what_is_frozen_is_not_counted_for_each_document(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.freeze()
    count, counted = gc.get_freeze_count, list[int]()

    def counting() -> int:
        counted.append(count())
        return counted[-1]

    monkeypatch.setattr(gc, "get_freeze_count", counting)
    for _ in range(1_000):
        collector.settle()
    assert len(counted) < 1_000


def test_what_a_program_has_frozen_stays_so() -> None:
    gc.freeze()
    frozen = gc.get_freeze_count()
    collector.settle()
    assert gc.get_freeze_count() > frozen / 2, "nothing was thawed; others may free some"


READING = """
import asyncio, gc, weakref
from palaver.shared.beside import LARGE_BYTES, in_thread
from palaver.shared.collector import collect_rarely

class Cycle:
    def __init__(self):
        self.own, self.size = self, bytearray(b"x" * 500_000)

async def main():
    made = []
    for _ in range(150):
        made.append(weakref.ref(Cycle()))
        await in_thread(lambda: "x" * LARGE_BYTES)
    print(sum(cycle() is not None for cycle in made), gc.isenabled())

{start}
asyncio.run(main())
"""


@pytest.mark.parametrize(("start", "found"), [("collect_rarely()", True), ("gc.disable()", False)])
def test_a_process_that_reads_large_documents_again_and_again_still_collects(start: str, found: bool) -> None:
    """In one of its own, whose memory is known: 75 MB of garbage, in few objects. Off is off."""
    words = [sys.executable, "-c", READING.format(start=start)]
    left, is_on = subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout.split()
    assert is_on == str(found)
    assert int(left) < 75 if found else int(left) == 150


ENDING = """
import sys
from palaver.shared.collector import end_unsearched

class Cycle:
    def __init__(self):
        self.own = self

    def __del__(self):
        print("found", flush=True)

made = Cycle()
{start}
"""


@pytest.mark.parametrize(("start", "told"), [("end_unsearched()", ""), ("", "found\n")])
def test_a_process_ends_without_a_last_search(start: str, told: str) -> None:
    words = [sys.executable, "-c", ENDING.format(start=start)]
    assert subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout == told
