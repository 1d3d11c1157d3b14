"""What tenants with a limit spend in a month: counted once, and set aside before it is spent."""

from typing import Any

from palaver.shared.ledger import operations
from palaver.shared.ledger.operations.budgeting import Standing
from palaver.shared.spending import today
from tests.integration.ledger.world import World

DOLLAR = 10**9


def say(world: World, number: int, *, worker: str = "w1", **what: Any) -> Standing | None:
    what = {"nanos": 0, "hard": 10.0} | what
    return world.ledger.run(
        operations.spend(world.keys, today(), "acme", worker=worker, number=number, **what)
    )


def begin(world: World, dollars: float = 0.0) -> None:
    world.ledger.query(operations.begin_month(world.keys, today(), "acme", dollars))


def test_nothing_is_added_to_a_month_that_nobody_has_begun(world: World) -> None:
    """Who begins it adds up the days first: a limit that is set in mid-month knows of all of it."""
    assert say(world, 1, nanos=DOLLAR) is None
    assert world.dump() == {}
    begin(world, 25)
    assert say(world, 1, nanos=DOLLAR) == Standing(26, 0, may_run=False)
    assert say(world, 1, nanos=DOLLAR) == Standing(26, 0, may_run=False), "said again, it is added again"
    assert all(world.raw.pttl(key) > 0 for key in world.dump())


def test_requests_run_while_what_they_may_cost_is_less_than_the_limit(world: World) -> None:
    """Of all workers together: of a thousand at once the one that reaches the limit is the last."""
    begin(world, 9)
    granted = []
    held = {"w1": 0, "w2": 0}
    for number in range(1, 1001):
        worker = ("w1", "w2")[number % 2]
        standing = say(world, number, worker=worker, held=held[worker], one_more=DOLLAR // 4)
        assert standing is not None
        if standing.may_run:
            granted.append(worker)
            held[worker] += DOLLAR // 4
    assert granted == ["w2", "w1", "w2", "w1"]
    assert say(world, 1001, held=0, nanos=DOLLAR // 100) == Standing(9.01, 0.5, may_run=False)
    again = say(world, 1002, held=0, one_more=DOLLAR)
    assert again is not None
    assert again.may_run, "what cost less than was set aside makes room"


def test_a_request_that_may_cost_more_than_is_left_is_the_last_one(world: World) -> None:
    begin(world, 9.99)
    first = say(world, 1, one_more=5 * DOLLAR)
    other = say(world, 1, worker="w2", one_more=1)
    assert first is not None
    assert other is not None
    assert (first.may_run, other.may_run) == (True, False)
    assert say(world, 2, worker="w3", hard=None, one_more=DOLLAR) == Standing(9.99, 6, may_run=True)


def test_what_a_dead_worker_has_set_aside_is_free_again(world: World) -> None:
    begin(world)
    say(world, 1, worker="dead", one_more=20 * DOLLAR)
    held = f"{world.keys.spent(today(), 'acme')}:held"
    assert world.raw.pttl(held) > 0
    world.raw.hset(held, "dead", f"{20 * DOLLAR} 1")  # a minute later
    assert say(world, 1, one_more=DOLLAR) == Standing(0, 1, may_run=True)
    assert world.raw.hkeys(held) == [b"w1"]
    assert say(world, 2) == Standing(0, 0, may_run=False)
    assert not world.raw.exists(held)
