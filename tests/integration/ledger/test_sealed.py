"""Sealed profiles are kept as long as the last job needs them, and no longer."""

from palaver.shared.ledger import operations
from tests.integration.ledger.world import World

NAME = "sealed-1"


def keep(world: World, seconds: float, content: bytes = b"") -> bool:
    return world.ledger.run(operations.keep_profile(world.keys, NAME, content, seconds=seconds))


def kept(world: World) -> bytes | None:
    return world.ledger.query(operations.sealed_profile(world.keys, NAME))


def lives(world: World) -> float:
    return world.raw.pttl(world.keys.profile(NAME)) / 1000


def test_it_is_kept_and_found(world: World) -> None:
    assert kept(world) is None
    assert keep(world, 60, b"content")
    assert kept(world) == b"content"
    assert 55 < lives(world) <= 60


def test_its_life_only_grows(world: World) -> None:
    keep(world, 600, b"content")
    assert keep(world, 60, b"sealed anew")
    assert (kept(world), lives(world) > 500) == (b"sealed anew", True)
    assert keep(world, 6000)
    assert (kept(world), lives(world) > 5000) == (b"sealed anew", True)


def test_a_name_alone_makes_nothing(world: World) -> None:
    assert not keep(world, 60)
    assert kept(world) is None
