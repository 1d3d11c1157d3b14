"""What is wrong with a system, of what its workers and its ledger say."""

from typing import Any

import pytest

from palaver.producer.cli.verdict import problems_of, stalled, unconsumed
from palaver.shared.ledger import Announcement, Vigil
from palaver.shared.ledger.replies import CanaryState

LEASE = 10.0
NOW = 1000.0
NORMAL, LOW = "palaver.normal", "palaver.low"


def worker(*, said: float = 1.0, **data: Any) -> Announcement:
    return Announcement("w/1", NOW - said, {"name": "w", "running": 0, "slots": 10, **data})


def vigil(**waits: float) -> Vigil:
    canaries = {f"palaver.{name}": CanaryState(waits_for=wait, waited=None) for name, wait in waits.items()}
    return Vigil(time=NOW, canaries=canaries, swept_ago=1.0)


def test_a_canary_that_nobody_takes_is_told() -> None:
    assert problems_of([worker()], vigil(low=16.0), lease=LEASE) == [
        "palaver.low: nobody has taken its canary for 16.0 s"
    ]
    assert problems_of([worker()], vigil(low=14.0), lease=LEASE) == []


def test_a_queue_that_nobody_is_told_to_consume_is_told_however_busy_those_before_it_are() -> None:
    selective = [worker(taken={NORMAL: 0.2}), worker(taken={NORMAL: 0.1})]
    starved = vigil(normal=0.0, low=61.0)
    assert problems_of(selective, starved, lease=LEASE) == [
        "palaver.low: nobody has taken its canary for 1 min 1 s"
    ]
    assert problems_of(selective, vigil(normal=0.5, low=61.0), lease=LEASE) == []


def test_a_queue_waits_for_those_who_consume_it() -> None:
    others = worker(queues=["palaver.resume", "palaver.high", NORMAL, "palaver.submit"])
    for low in (worker(queues=[LOW, "palaver.batch"], running=10), worker(queues=[LOW], draining=True)):
        assert stalled([others, low], vigil(low=99.0), lease=LEASE) == {}
    assert stalled([others, worker(queues=[LOW])], vigil(low=99.0), lease=LEASE) == {LOW: 99.0}
    assert unconsumed([others]) == [LOW, "palaver.batch"]
    assert unconsumed([others, worker()]) == unconsumed([]) == []


@pytest.mark.parametrize(
    ("workers", "waiting"),
    [
        ([worker(taken={NORMAL: 0.2})], set()),
        ([worker(taken={NORMAL: 99.0})], {NORMAL, LOW}),
        ([worker(taken={NORMAL: 0.2}, said=20.0)], {NORMAL, LOW}),
        ([worker(taken={NORMAL: 99.0}), worker(taken={NORMAL: 3.0})], set()),
        ([worker(taken={LOW: 0.2})], {NORMAL}),
        ([worker(taken={LOW: 0.2, "palaver.high": 0.2})], set()),
        ([worker(running=10)], set()),
        ([worker(running=10), worker()], {NORMAL, LOW}),
        ([worker(draining=True)], set()),
        ([], set()),
    ],
    ids=["busy", "was busy", "silent", "one is", "behind", "before", "full", "one is not", "leaving", "none"],
)
def test_it_may_wait_behind_what_somebody_takes_and_while_all_are_full(
    workers: list[Announcement], waiting: set[str]
) -> None:
    assert set(stalled(workers, vigil(normal=99.0, low=99.0), lease=LEASE)) == waiting
