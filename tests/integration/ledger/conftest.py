"""Each test of the ledger runs over Redis 7, Redis 6.2 and fakeredis, and leaves no key without an end."""

from collections.abc import Iterator

import pytest

from tests.integration.ledger.world import World
from tests.servers import IN_TIME, RedisServer


@pytest.fixture
def world(any_redis: RedisServer) -> Iterator[World]:
    """A ledger on an empty server, which may stand still for longer than producers would wait for it."""
    world = World(any_redis, connect_seconds=IN_TIME)
    yield world
    keys = list(world.raw.scan_iter(count=1000))
    with world.raw.pipeline(transaction=False) as asked:
        for key in keys:
            asked.pttl(key)
        immortal = [key for key, left in zip(keys, asked.execute(), strict=True) if left == -1]
    world.close()
    assert immortal == [], "keys without a time to live"
