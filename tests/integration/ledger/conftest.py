"""Each test of the ledger runs over Redis 7, Redis 6.2 and fakeredis, and leaves no key without an end."""

from collections.abc import Iterator

import pytest

from tests.integration.ledger.world import World
from tests.servers import RedisServer


@pytest.fixture
def world(any_redis: RedisServer) -> Iterator[World]:
    """A ledger on an empty server."""
    world = World(any_redis)
    yield world
    immortal = [key for key in world.raw.scan_iter("*") if world.raw.pttl(key) < 0]
    world.close()
    assert immortal == [], "keys without a time to live"
