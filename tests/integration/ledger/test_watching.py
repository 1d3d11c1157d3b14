"""Canaries, and when a sweep was completed, as the ledger keeps them."""

import pytest

from palaver.shared.ledger import Canary, operations
from tests.integration.ledger.world import World

LOW, HIGH = "palaver.low", "palaver.high"


def send(world: World, *queues: str, empty: tuple[str, ...] = ()) -> list[Canary]:
    wanted = {queue: queue in empty for queue in queues or (LOW,)}
    return world.ledger.run(operations.send_canaries(world.keys, wanted, period=60, lost=30))


def take(world: World, canary: Canary) -> None:
    world.ledger.run(operations.take_canary(world.keys, canary))


def waits(world: World, queue: str = LOW) -> bool:
    return world.ledger.vigil().canaries[queue].waits_for > 0


def ago(world: World, seconds: float, queue: str = LOW) -> None:
    """The queue's canary was sent, and taken, so much earlier."""
    for word in ("sent", "taken"):
        if world.raw.hexists(world.keys.canaries, f"{queue} {word}"):
            world.raw.hincrby(world.keys.canaries, f"{queue} {word}", -int(seconds * 1000))


def test_each_queue_has_one_canary_at_a_time(world: World) -> None:
    assert world.ledger.vigil().canaries == {}
    canaries = send(world, LOW, HIGH)
    assert [canary.queue for canary in canaries] == [LOW, HIGH]
    assert send(world, LOW, HIGH) == []
    ago(world, 100)
    assert waits(world)
    assert world.ledger.vigil().canaries[LOW].waits_for == pytest.approx(100, abs=5)
    assert send(world, LOW, HIGH) == [], "it waits in its queue still"


def test_one_that_was_taken_says_how_long_it_waited_and_is_followed(world: World) -> None:
    send(world)
    ago(world, 7)
    take(world, Canary(LOW, sent(world)))
    state = world.ledger.vigil().canaries[LOW]
    assert state.waits_for == 0
    assert state.waited == pytest.approx(7, abs=3)
    assert send(world) == []
    ago(world, 60)
    assert len(send(world)) == 1
    assert waits(world)


def sent(world: World, queue: str = LOW) -> int:
    return int(world.raw.hget(world.keys.canaries, f"{queue} sent") or 0)


def test_one_that_is_in_no_queue_and_nobody_took_is_sent_again(world: World) -> None:
    (first,) = send(world)
    assert send(world, empty=(LOW,)) == [], "who takes it may be about to say so"
    ago(world, 31)
    (second,) = send(world, empty=(LOW,))
    take(world, Canary(LOW, first.sent - 31_000))
    assert waits(world), "an old one says nothing of the new one"
    take(world, second)
    take(world, second)
    assert not waits(world)


def test_a_clock_that_was_set_back_stops_no_canary(world: World) -> None:
    send(world)
    take(world, Canary(LOW, sent(world)))
    ago(world, -3600)
    assert len(send(world)) == 1
    assert sent(world) <= world.time() * 1000


def test_a_sweep_is_known_once_its_sweeper_comes_again(world: World) -> None:
    assert world.ledger.vigil().swept_ago is None
    turn = world.ledger.sweep_turn(period=60)
    assert turn is not None
    assert world.ledger.sweep_turn(period=60) is None
    assert world.ledger.vigil().swept_ago is None
    world.raw.hset(world.keys.sweep, "done", int((world.time() - 50) * 1000))
    assert world.ledger.vigil().swept_ago == pytest.approx(50, abs=5)
    assert world.ledger.sweep_turn(period=60, completed=turn.time) is None, "it is another's"
    assert world.ledger.vigil().swept_ago == pytest.approx(0, abs=5)
    world.ledger.sweep_turn(period=60, completed=turn.time - 40)
    assert world.ledger.vigil().swept_ago == pytest.approx(0, abs=5), "a later one was completed"


@pytest.mark.parametrize(
    "args", [(), ("canary",), ("canary", "x", 5), ("canary", LOW, "5"), ("canary", LOW, 5, 6), "canary", None]
)
def test_what_is_no_canary_is_none(args: object) -> None:
    assert Canary.parse(args) is None
    assert Canary.parse(("canary", LOW, 5)) == Canary.parse(["canary", LOW, 5]) == Canary(LOW, 5)
