"""The rows and the sums of Flower's page of streams, when there are more streams than rows."""

from collections.abc import Iterator

import pytest

from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import Claimed, SyncLedger, operations
from palaver.shared.settings import Settings
from palaver.workers.flower_pages import streams

pytestmark = pytest.mark.redis


@pytest.fixture
def ledger(redis_url: str, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncLedger]:
    """The page's; it has five rows."""
    with SyncLedger(Settings(redis_url=redis_url, namespace=namespace)) as ledger:
        monkeypatch.setattr(streams, "_ledger", lambda: ledger)
        monkeypatch.setattr(streams, "_last", [])
        monkeypatch.setattr(streams, "MOST", 5)
        yield ledger


def run(ledger: SyncLedger, number: int) -> None:
    """A job that a worker has."""
    job = ChatJob(messages="x", session_id=f"s{number}")
    ledger.submit(job)
    claim = operations.claim(ledger.keys, f"s{number}", job.job_id, token="t", worker="w/1", lease=10)
    assert isinstance(ledger.run(claim), Claimed)


def announce(ledger: SyncLedger, name: str, **said: int) -> None:
    ledger.run(operations.announce(ledger.keys.workers, {name: said}, seconds=60))


def test_all_are_shown_while_there_are_rows(ledger: SyncLedger) -> None:
    announce(ledger, "w/1", running=0)  # a moment ago
    for number in range(5):
        run(ledger, number)
    ledger.submit_many([ChatJob(messages="x", session_id=f"waits-{n}") for n in range(20)])
    shown = streams._now()
    assert (shown.running, shown.workers) == (5, 1)
    assert {stream.session_id for stream in shown.streams} == {f"s{number}" for number in range(5)}


def test_of_more_some_are_shown_the_same_each_time_and_workers_say_how_many_there_are(
    ledger: SyncLedger,
) -> None:
    announce(ledger, "w/1", running=13, batches=1)
    announce(ledger, "v/1", running=7)
    announce(ledger, "u/1", running=1, batches=1)
    for number in range(12):
        run(ledger, number)
    first, second = streams._now(), streams._now()
    assert (first.running, first.workers) == (19, 2)
    assert len(first.streams) == 5
    assert [row.job_id for row in first.streams] == [row.job_id for row in second.streams]
