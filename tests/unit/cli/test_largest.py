"""Which tenants have a label of their own, where only a part of their jobs is looked at each time."""

from collections import Counter
from random import Random

from palaver.producer.cli.largest import Largest


def test_all_have_a_place_while_there_are_places() -> None:
    largest = Largest(3)
    assert largest.look({"a": 1, "b": 5}) == {"a", "b"}
    assert largest.look({"c": 1}) == {"a", "b", "c"}
    assert largest.look({"d": 1}) == {"a", "b", "c"}


def test_first_come_those_with_most() -> None:
    assert Largest(2).look({"a": 1, "b": 5, "c": 3}) == {"b", "c"}


def test_equal_ones_keep_their_places_whatever_is_drawn() -> None:
    random, largest, seen = Random(7), Largest(20), set[str]()
    for _ in range(500):
        drawn = Counter(f"tenant-{random.randrange(300)}" for _ in range(1000))
        seen |= largest.look(drawn)
    assert len(seen) <= 25


def test_one_that_has_much_more_comes_in_and_goes_when_it_has_not() -> None:
    largest = Largest(2)
    largest.look({"a": 10, "b": 10})
    for _ in range(100):
        largest.look({"a": 10, "b": 10, "c": 100})
    assert "c" in largest.names
    for _ in range(100):
        largest.look({"a": 10, "b": 10})
    assert largest.names == {"a", "b"}


def test_names_that_were_drawn_once_are_forgotten() -> None:
    largest = Largest(2)
    for look in range(1000):
        largest.look({"a": 10, "b": 10, f"once-{look}": 1})
    assert len(largest._averages) < 20
