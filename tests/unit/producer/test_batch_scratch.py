"""Lines that wait in a temporary file, and a folder that does not take them."""

import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.producer.batches import Intake
from palaver.producer.batches.following import InOrder
from palaver.producer.batches.scratch import Scratch
from palaver.shared.batches import BatchResult
from palaver.shared.errors import ConfigurationError
from palaver.shared.responses import ChatResponse
from palaver.shared.settings import Settings

LARGE = "x" * 1_500_000
"""Four of them are more than memory may hold."""


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process may grow beyond a megabyte meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def take_in() -> None:
    with Intake(Settings(), {}, lambda models, several: None) as intake:
        intake.take(enumerate([LARGE] * 4, 1))


def put_in_order() -> None:
    with InOrder() as sorting:
        for index in (4, 3, 2, 1):
            list(sorting.take(BatchResult(index=index, custom_id="c", response=ChatResponse(content=LARGE))))


@given(st.lists(st.one_of(st.binary(max_size=5), st.none())))
def test_lines_are_read_while_more_come(steps: list[bytes | None]) -> None:
    """None stands for reading all that is there."""
    scratch, lines, places = Scratch(), list[bytes](), list[int]()
    for step in steps:
        if step is None:
            assert [scratch.at(place) for place in places] == lines == list(scratch)
        else:
            lines.append(step.replace(b"\n", b"") + b"\n")
            places.append(scratch.append(lines[-1]))
    scratch.close()


@pytest.mark.parametrize("work", [take_in, put_in_order])
def test_a_full_folder_is_named(work: object) -> None:
    assert callable(work)
    with full_disk(), pytest.raises(ConfigurationError, match="TMPDIR") as caught:
        work()
    assert tempfile.gettempdir() in caught.value.message


def test_a_folder_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(ConfigurationError, match="gone"):
        take_in()
