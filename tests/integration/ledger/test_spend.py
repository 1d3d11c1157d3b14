"""What tenants spend in a month: counted once, and set aside before it is spent."""

from typing import Any

from palaver.shared.ledger import operations
from palaver.shared.ledger.operations.budgeting import Standing
from palaver.shared.spending import today
from tests.integration.ledger.world import World

DOLLAR = 10**9
DAY_MS = 24 * 3600 * 1000


def say(world: World, number: int, *, worker: str = "w1", **what: Any) -> Standing:
    what = {"nanos": 0, "hard": 10.0} | what
    return world.ledger.run(
        operations.spend(world.keys, today(), "acme", worker=worker, number=number, **what)
    )


def begin(world: World, dollars: float) -> None:
    say(world, 1, worker="w0", nanos=round(dollars * DOLLAR))


def test_what_is_said_again_is_added_once(world: World) -> None:
    assert say(world, 1) == Standing(0, 0, may_run=False)
    assert world.dump() == {}, "nothing was spent, and nothing is to be known"
    begin(world, 25)
    assert say(world, 1, nanos=DOLLAR) == Standing(26, 0, may_run=False)
    assert say(world, 1, nanos=DOLLAR) == Standing(26, 0, may_run=False), "said again, it is added again"


def test_what_a_worker_said_is_forgotten_long_before_the_month(world: World) -> None:
    for life in range(20):
        say(world, 1, worker=f"w{life}", nanos=DOLLAR)
    spent = world.keys.spent(today(), "acme")
    kept = {key: world.raw.pttl(key) for key in world.dump()}
    assert len(kept) == 21
    assert kept.pop(spent.encode()) > 31 * DAY_MS
    assert all(0 < ms <= DAY_MS for ms in kept.values())


def test_requests_run_while_what_they_may_cost_is_less_than_the_limit(world: World) -> None:
    """Of all workers together: of a thousand at once none is beyond the limit."""
    begin(world, 9)
    granted = []
    held = {"w1": 0, "w2": 0}
    for number in range(1, 1001):
        worker = ("w1", "w2")[number % 2]
        standing = say(world, number, worker=worker, held=held[worker], one_more=DOLLAR // 4)
        if standing.may_run:
            granted.append(worker)
            held[worker] += DOLLAR // 4
    assert granted == ["w2", "w1", "w2", "w1"]
    assert say(world, 1001, held=0, nanos=DOLLAR // 100) == Standing(9.01, 0.5, may_run=False)
    again = say(world, 1002, held=0, one_more=DOLLAR)
    assert again.may_run is False, "it has no room yet"
    assert say(world, 1003, held=0, one_more=DOLLAR // 4).may_run, "what cost less makes room"


def test_a_request_that_may_cost_more_than_is_left_does_not_run(world: World) -> None:
    begin(world, 9.99)
    assert not say(world, 1, one_more=DOLLAR).may_run
    assert say(world, 2, one_more=DOLLAR // 100).may_run, "it may reach the limit"
    assert not say(world, 1, worker="w2", one_more=1).may_run
    assert say(world, 1, worker="w2", one_more=0).may_run, "it costs nothing"
    assert say(world, 2, worker="w3", hard=None, one_more=DOLLAR) == Standing(9.99, 1.01, may_run=True)


def test_what_a_dead_worker_has_set_aside_is_free_again(world: World) -> None:
    say(world, 1, worker="dead", one_more=10 * DOLLAR)
    held = f"{world.keys.spent(today(), 'acme')}:held"
    assert world.raw.pttl(held) > 0
    world.raw.hset(held, "dead", f"{10 * DOLLAR} 1")  # a minute later
    assert say(world, 1, one_more=DOLLAR) == Standing(0, 1, may_run=True)
    assert world.raw.hkeys(held) == [b"w1"]
    assert say(world, 2) == Standing(0, 0, may_run=False)
    assert not world.raw.exists(held)
