"""Whoever waits at several gates comes to its end, whatever waits beside it."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from palaver.shared.jobs import ChatJob
from palaver.shared.ledger.operations import gating
from palaver.shared.profiles import Limits, Profile
from palaver.shared.tenants import Tenants
from palaver.workers import gates, waiting
from tests.faults.ledger_servers import RealServer, real_server
from tests.faults.virtual_time import VirtualLoop
from tests.faults.waiting_world import REPLY_SECONDS, Work, World
from tests.servers import RedisServer

pytestmark = pytest.mark.redis

TENANTS = {"a": {"running": 1}, "b": {"running": 2, "weight": 3}, "c": {"user_running": 1}}
LIMITS = {
    "narrow": Limits(concurrent=1),
    "slow": Limits(requests_per_minute=120, window=1),
    "free": Limits(),
}
HOUR = 3600.0


@pytest.fixture
def server(redis_server: RedisServer) -> Iterator[RealServer]:
    with real_server(redis_server.port) as server:
        server.reset()
        yield server


def work(number: int, chance: random.Random) -> Work:
    kind = chance.choice(["job", "agent", "line"])
    at_once = 2 if kind == "agent" and chance.random() < 0.3 else 1
    rounds = [[chance.choice(list(LIMITS)) for _ in range(at_once)] for _ in range(chance.randint(1, 3))]
    return Work(
        job=ChatJob(
            job_id=f"00000000-0000-7000-8000-{number:012d}",
            session_id=f"s{number}",
            messages="Hi",
            tenant=chance.choice([None, "a", "b", "c"]),
            user=chance.choice([None, "u"]),
        ),
        rounds=rounds,
        is_line=kind == "line",
        in_code=kind == "agent",
        cancelled_after=chance.uniform(0, 60) if chance.random() < 0.2 else None,
    )


async def play(server: RealServer, seed: int) -> None:
    chance = random.Random(seed)
    profiles = {name: Profile(name=name, kind="scripted", limits=limits) for name, limits in LIMITS.items()}
    world = World(server, profiles, Tenants(TENANTS), chance)
    world.begin(workers=2, slots=2)
    try:
        for number in range(25):
            world.come(work(number, chance))
            await asyncio.sleep(chance.expovariate(2))
        await world.all_ended(within=HOUR)
        assert world.wrong == []
        await asyncio.sleep(30)  # what was given to those that have ended goes to nobody
        assert [worker.slots.lent for worker in world.workers] == [0, 0]
        asked = world.asked["slow"]
        soonest = min(third - first for first, third in zip(asked, asked[2:], strict=False))
        assert soonest >= 1000 * (1 - REPLY_SECONDS), "more than two in a second"
        for name in (*LIMITS, *(f"tenant/{tenant}" for tenant in TENANTS)):
            replies = server.send([command.words for command in gating.gate(world.keys, name).commands])
            gate = gating.gate(world.keys, name).decode(replies)
            assert (gate.running, gate.waiting) == (0, 0), name
    finally:
        await world.close()


@pytest.mark.parametrize(
    "seed", [*range(12), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(12, 200))]
)
def test_all_end_and_nobody_is_above_a_limit(
    server: RealServer, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = VirtualLoop(server)
    for module in (gates, waiting):
        monkeypatch.setattr(module, "time", loop)
    try:
        loop.run_until_complete(play(server, seed))
    finally:
        loop.close()
