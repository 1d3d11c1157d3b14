"""What tenants spend in a month: counted once, and set aside before it is spent."""

from typing import Any

from palaver.shared.ledger import operations
from palaver.shared.ledger.operations.budgeting import Standing
from palaver.shared.spending import today
from tests.integration.ledger.world import World

DOLLAR = 10**9
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


def say(
    world: World,
    number: int,
    *,
    worker: str = "w1",
    one_more: int | None = None,
    hard: float | None = 10.0,
    who: str = "",
    **what: Any,
) -> Standing:
    more = None if one_more is None else operations.OneMore(nanos=one_more, hard=hard, who=who)
    what = {"nanos": 0, "one_more": more} | what
    return world.ledger.run(
        operations.spend(world.keys, today(), "acme", worker=worker, number=number, **what)
    )


def begin(world: World, dollars: float) -> None:
    say(world, 1, worker="w0", nanos=round(dollars * DOLLAR))


def test_what_is_said_again_is_added_once(world: World) -> None:
    assert say(world, 1) == Standing(0, 0, may_run=False)
    begin(world, 25)
    assert say(world, 2, nanos=DOLLAR) == Standing(26, 0, may_run=False)
    assert say(world, 2, nanos=DOLLAR) == Standing(26, 0, may_run=False), "said again, it is added again"
    assert say(world, 3, nanos=DOLLAR, first_said=2) == Standing(26, 0, may_run=False), "and with other words"
    assert say(world, 5, nanos=DOLLAR, first_said=4) == Standing(27, 0, may_run=False), "it never came"


def test_what_comes_after_later_words_of_its_worker_changes_nothing(world: World) -> None:
    """A request was cancelled while its worker asked, which has said since that nothing is set aside."""
    assert say(world, 2) == Standing(0, 0, may_run=False)
    assert say(world, 1, one_more=9 * DOLLAR) == Standing(0, 0, may_run=False)
    say(world, 3, one_more=2 * DOLLAR)
    assert say(world, 1, nanos=DOLLAR) == Standing(0, 2, may_run=False)
    assert say(world, 1, worker="w2", one_more=8 * DOLLAR).may_run


def test_what_a_worker_said_is_forgotten_long_before_the_month(world: World) -> None:
    for life in range(20):
        say(world, 1, worker=f"w{life}", nanos=DOLLAR)
    spent = world.keys.spent(today(), "acme")
    kept = {key: world.raw.pttl(key) for key in world.dump()}
    assert len(kept) == 21
    assert kept.pop(spent.encode()) > 31 * DAY_MS
    assert all(0 < ms <= HOUR_MS for ms in kept.values())


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


def test_a_request_of_any_cost_leaves_sums_that_others_can_count_with(world: World) -> None:
    assert say(world, 1, one_more=10**23, hard=None).may_run
    assert say(world, 1, worker="w2", one_more=DOLLAR, hard=None).held > 10**6
    assert not say(world, 2, worker="w2", one_more=DOLLAR).may_run
    assert say(world, 2) == Standing(0, 0, may_run=False)


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
    assert not say(world, 1, one_more=DOLLAR).may_run
    (spared,) = world.raw.hkeys(held)
    world.raw.hset(held, spared, f"{10 * DOLLAR} 1")  # ten seconds after that
    assert say(world, 2, one_more=DOLLAR) == Standing(0, 1, may_run=True)
    assert world.raw.hkeys(held) == [b"w1"]
    assert say(world, 3) == Standing(0, 0, may_run=False)
    assert not world.raw.exists(held)


def test_what_nobody_could_say_again_while_redis_stood_still_stays_set_aside(world: World) -> None:
    """Until its worker is heard again, whoever is heard first."""
    say(world, 1, one_more=6 * DOLLAR)
    held = f"{world.keys.spent(today(), 'acme')}:held"
    assert world.raw.pttl(held) > 30 * MINUTE_MS
    world.raw.hset(held, "w1", f"{6 * DOLLAR} 1")
    for number in (1, 2):
        standing = say(world, number, worker="w2", one_more=5 * DOLLAR)
        assert standing == Standing(0, 6, may_run=False)
    (spared,) = world.raw.hkeys(held)
    seconds, _ = world.raw.time()
    _, until = map(int, (world.raw.hget(held, spared) or b"").split())
    assert 0 < until - 1000 * seconds <= MINUTE_MS / 5
    assert say(world, 2, nanos=2 * DOLLAR, held=0) == Standing(2, 0, may_run=False)


def test_what_a_dead_worker_has_set_aside_is_free_a_minute_after_the_clock_was_set_back(world: World) -> None:
    say(world, 1, worker="dead", one_more=10 * DOLLAR)
    held = f"{world.keys.spent(today(), 'acme')}:held"
    seconds, _ = world.raw.time()
    world.raw.hset(held, "dead", f"{10 * DOLLAR} {1000 * seconds + HOUR_MS}")
    assert not say(world, 1, one_more=DOLLAR).may_run
    dollars, until = map(int, (world.raw.hget(held, "dead") or b"").split())
    assert (dollars, until - 1000 * seconds <= 2 * MINUTE_MS) == (10 * DOLLAR, True)


def test_who_has_waited_longest_is_not_passed_by_smaller_ones(world: World) -> None:
    """Those of other workers neither, as long as it waits."""
    assert say(world, 1, worker="w2", one_more=6 * DOLLAR, who="runs").may_run
    large: dict[str, Any] = {"one_more": 8 * DOLLAR, "who": "s 1/large"}
    assert say(world, 1, asks="wait", **large) == Standing(0, 6, may_run=False, is_first=True)
    small: dict[str, Any] = {"worker": "w2", "one_more": 2 * DOLLAR, "who": "small"}
    assert say(world, 2, held=6 * DOLLAR, **small) == Standing(0, 6, may_run=False)
    assert say(world, 3, **small).may_run, "both have room"
    assert say(world, 4, held=2 * DOLLAR, asks="wait", **small) == Standing(0, 2, may_run=False)
    assert say(world, 2, **large) == Standing(0, 10, may_run=True, is_first=True)
    assert say(world, 3, held=0) == Standing(0, 2, may_run=False)
    assert say(world, 5, held=2 * DOLLAR, **small).may_run, "it waits no more"
    first = f"{world.keys.spent(today(), 'acme')}:first"
    say(world, 4, asks="wait", one_more=9 * DOLLAR, who="large")
    assert 0 < world.raw.pttl(first) <= MINUTE_MS / 3


def test_who_may_never_run_in_this_month_keeps_nothing_from_others(world: World) -> None:
    begin(world, 5)
    assert not say(world, 1, asks="wait", one_more=6 * DOLLAR, who="large").is_first
    assert say(world, 2, one_more=5 * DOLLAR, who="small").may_run


def test_who_only_looks_keeps_nothing_from_others(world: World) -> None:
    """It may never look again; whoever waits for it does."""
    begin(world, 5)
    say(world, 1, worker="w2", one_more=3 * DOLLAR)
    large: dict[str, Any] = {"one_more": 4 * DOLLAR, "who": "large"}
    assert not say(world, 1, asks="look", **large).is_first
    assert not say(world, 2, asks="take", **large).is_first
    assert say(world, 3, asks="wait", **large).is_first
    assert say(world, 4, asks="look", **large).is_first


def test_who_has_no_room_any_more_keeps_nothing_from_others(world: World) -> None:
    say(world, 1, worker="w2", one_more=4 * DOLLAR)
    large: dict[str, Any] = {"one_more": 8 * DOLLAR, "who": "large"}
    assert say(world, 1, asks="wait", **large).is_first
    say(world, 2, worker="w2", nanos=4 * DOLLAR)
    assert not say(world, 2, asks="wait", **large).is_first
    assert say(world, 3, one_more=DOLLAR, who="small").may_run


def test_who_has_gone_keeps_nothing_for_long_when_the_clock_is_set_back(world: World) -> None:
    first = f"{world.keys.spent(today(), 'acme')}:first"
    seconds, _ = world.raw.time()
    world.raw.set(first, f"gone {9 * DOLLAR} {1000 * seconds + HOUR_MS}", px=HOUR_MS)
    assert not say(world, 1, one_more=2 * DOLLAR, who="small").may_run
    name, dollars, until = (world.raw.get(first) or b"").split()
    assert (name, int(dollars), int(until) - 1000 * seconds <= MINUTE_MS) == (b"gone", 9 * DOLLAR, True)
    world.raw.set(first, f"gone {9 * DOLLAR} {1000 * seconds - 1}", px=HOUR_MS)
    assert say(world, 2, one_more=2 * DOLLAR, who="small").may_run
