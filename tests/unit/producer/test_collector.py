"""Python's collector of garbage is paused while many jobs are submitted, and comes back as it was."""

import gc
from collections.abc import Iterator

import pytest

from palaver.producer import Client, collector
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
