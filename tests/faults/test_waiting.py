"""Whoever waits at several gates comes to its end, whatever waits beside it."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from palaver.shared.jobs import ChatJob
from palaver.shared.ledger import exchange
from palaver.shared.ledger.operations import gating
from palaver.shared.ledger.views import Gate
from palaver.shared.profiles import Breaker, Limits, Profile
from palaver.shared.tenants import Tenants
from palaver.workers import gates, waiting
from tests.faults.ledger_servers import RealServer, real_server, run
from tests.faults.virtual_time import VirtualLoop
from tests.faults.waiting_world import REPLY_SECONDS, Work, Worker, World
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


def job_of(number: int, tenant: str | None, user: str | None) -> ChatJob:
    job_id = f"00000000-0000-7000-8000-{number:012d}"
    return ChatJob(job_id=job_id, session_id=f"s{number}", messages="Hi", tenant=tenant, user=user)


def work(number: int, chance: random.Random, limits: dict[str, Limits] = LIMITS) -> Work:
    kind = chance.choice(["job", "agent", "line"])
    at_once = 2 if kind == "agent" and chance.random() < 0.3 else 1
    rounds = [[chance.choice(list(limits)) for _ in range(at_once)] for _ in range(chance.randint(1, 3))]
    return Work(
        job=job_of(number, chance.choice([None, "a", "b", "c"]), chance.choice([None, "u"])),
        rounds=rounds,
        is_line=kind == "line",
        in_code=kind == "agent",
        cancelled_after=chance.uniform(0, 60) if chance.random() < 0.2 else None,
    )


def world_of(
    server: RealServer, limits: dict[str, Limits], chance: random.Random, kind: type[World] = World
) -> World:
    breaker = Breaker(failures=2, pause=2)
    profiles = {
        name: Profile(name=name, kind="scripted", limits=each, breaker=breaker)
        for name, each in limits.items()
    }
    return kind(server, profiles, Tenants(TENANTS), chance)


def at_gate(world: World, name: str) -> Gate:
    looking = gating.gate(world.keys, name)
    return looking.decode(world.server.send([command.words for command in looking.commands]))


@contextmanager
def simulated(server: RealServer) -> Iterator[VirtualLoop]:
    """Time at the gates is the loop's."""
    loop = VirtualLoop(server)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for module in (gates, waiting):
                patch.setattr(module, "time", loop)
            yield loop
    finally:
        loop.close()


async def play(server: RealServer, loop: VirtualLoop, seed: int) -> None:
    chance = random.Random(seed)
    world = world_of(server, LIMITS, chance)
    world.begin(workers=2, slots=2)
    try:
        for number in range(25):
            world.come(work(number, chance))
            if chance.random() < 0.1:
                world.kill(chance.choice(world.workers))
            if chance.random() < 0.03:
                loop.set_back(chance.choice([2_000, 20_000, 7_200_000]))
            await asyncio.sleep(chance.expovariate(2))
        await world.all_ended(within=HOUR)
        assert world.wrong == []
        names = [*LIMITS, *(f"tenant/{tenant}" for tenant in TENANTS)]
        for _ in range(10):  # whoever looks for a while finds out that a worker has died
            for name in names:
                run(server, exchange.run(gating.pump_gate(world.keys, name)))
            await asyncio.sleep(3)
        assert [worker.slots.lent for worker in world.workers] == [0, 0]
        asked = world.asked["slow"]
        soonest = min(third - first for first, third in zip(asked, asked[2:], strict=False))
        assert soonest >= 1 - REPLY_SECONDS, "more than two in a second"
        for name in names:
            gate = at_gate(world, name)
            assert (gate.running, gate.waiting) == (0, 0), name
    finally:
        await world.close()


@pytest.mark.parametrize(
    "seed", [*range(12), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(12, 200))]
)
def test_all_end_and_nobody_is_above_a_limit(server: RealServer, seed: int) -> None:
    with simulated(server) as loop:
        loop.run_until_complete(play(server, loop, seed))


async def stand_still(server: RealServer, seed: int) -> None:
    chance, limits = random.Random(seed), {"narrow": Limits(concurrent=2), "wide": Limits(concurrent=5)}
    world = world_of(server, limits, chance)
    world.longest = 40
    world.begin(workers=4, slots=4)
    try:
        for number in range(25):
            world.come(work(number, chance, limits))
            await asyncio.sleep(chance.expovariate(1))
            if chance.random() < 0.2:
                await world.stand_still(chance.uniform(5, 15))
        await world.all_ended(within=2 * HOUR)
        assert world.wrong == []
    finally:
        await world.close()


@pytest.mark.parametrize(
    "seed", [0, 11, 12, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(100, 200))]
)
def test_nobody_is_above_a_limit_when_a_ledger_that_stood_still_goes_on(
    server: RealServer, seed: int
) -> None:
    with simulated(server) as loop:
        loop.run_until_complete(stand_still(server, seed))


async def wait_at_a_closed_profile(server: RealServer) -> None:
    world = world_of(server, {"free": Limits(), "shut": Limits(concurrent=9)}, random.Random(1))
    world.begin(workers=1, slots=4)
    try:
        run(server, exchange.run(gating.close_gate(world.keys, "shut", HOUR)))
        for number in range(40):
            world.come(Work(job=job_of(number, "a", None), rounds=[["free"], ["shut"]], in_code=True))
        await asyncio.sleep(HOUR / 10)
        other = Work(job=job_of(99, "b", None), rounds=[["free"]])
        world.come(other)
        await asyncio.sleep(60)
        assert other.ended
        await world.all_ended(within=2 * HOUR)
        assert world.wrong == []
    finally:
        await world.close()


def test_agents_that_wait_for_a_profile_leave_slots_to_other_tenants(server: RealServer) -> None:
    with simulated(server) as loop:
        loop.run_until_complete(wait_at_a_closed_profile(server))


async def wait_behind_a_dead_workers_requests(server: RealServer) -> None:
    world = world_of(server, {"narrow": Limits(concurrent=1)}, random.Random(2))
    world.begin(workers=1, slots=4)
    try:
        for number in range(2):
            agent = Work(job=job_of(number, "b", None), rounds=[["narrow"] * 20], in_code=True)
            world.come(agent)
        await asyncio.sleep(3)
        for agent in world.kill(world.workers[0]):
            agent.ended = True  # and they do not come again
        for number in range(10, 20):
            world.come(Work(job=job_of(number, None, None), rounds=[["narrow"]]))
        await world.all_ended(within=80)
        assert world.wrong == []
    finally:
        await world.close()


def test_requests_of_a_dead_worker_hold_up_nobody(server: RealServer) -> None:
    with simulated(server) as loop:
        loop.run_until_complete(wait_behind_a_dead_workers_requests(server))


async def give_up_a_request(server: RealServer) -> None:
    world = world_of(server, {"free": Limits(), "shut": Limits(concurrent=9)}, random.Random(3))
    world.begin(workers=1, slots=4)
    try:
        run(server, exchange.run(gating.close_gate(world.keys, "shut", HOUR)))
        agent = Work(job=job_of(0, "a", None), rounds=[["shut"]], in_code=True, patience=20, lasts=100)
        world.come(agent)
        await asyncio.sleep(10)
        assert at_gate(world, "tenant/a").running == 0, "it only waits"
        await asyncio.sleep(20)
        assert at_gate(world, "tenant/a").running == 1, "its code goes on"
        other = Work(job=job_of(1, "a", None), rounds=[["free"]])
        world.come(other)
        await asyncio.sleep(60)
        assert not other.ended
        await world.all_ended(within=60)
        assert (at_gate(world, "tenant/a").running, at_gate(world, "tenant/a").waiting) == (0, 0)
    finally:
        await world.close()


def test_code_that_gives_up_a_request_has_its_tenants_place_again(server: RealServer) -> None:
    with simulated(server) as loop:
        loop.run_until_complete(give_up_a_request(server))


async def ask_at_once_without_a_place(server: RealServer, seed: int) -> None:
    world = world_of(server, {"free": Limits(), "shut": Limits(concurrent=9)}, random.Random(seed))
    world.begin(workers=1, slots=4)
    world.workers[0].link.reply_seconds, world.longest = 3, 30
    try:
        run(server, exchange.run(gating.close_gate(world.keys, "shut", HOUR / 10)))
        rounds = [["shut"], ["shut", "free", "free"]]
        world.come(Work(job=job_of(0, "a", None), rounds=rounds, in_code=True, patience=20))
        await asyncio.sleep(20.5)
        for number in range(1, 4):
            world.come(Work(job=job_of(number, "a", None), rounds=[["free"]]))
        await world.all_ended(within=HOUR)
        assert world.wrong == []
    finally:
        await world.close()


@pytest.mark.parametrize("seed", range(6))
def test_requests_at_once_of_an_agent_that_is_without_its_place_share_it(
    server: RealServer, seed: int
) -> None:
    """One that has it and waits elsewhere gives it to nobody while another is yet to be told of it."""
    with simulated(server) as loop:
        loop.run_until_complete(ask_at_once_without_a_place(server, seed))


class AskingAndGivingUp(World):
    """Agents that wait for one profile, and meanwhile give up a request to another as soon as it is made."""

    async def _ask(self, work: Work, worker: Worker) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._request(work, worker, self.profiles["shut"]))
            await asyncio.sleep(10)
            given_up = group.create_task(self._request(work, worker, self.profiles["free"]))
            await asyncio.sleep(REPLY_SECONDS / 100)
            given_up.cancel()


async def give_up_while_asking(server: RealServer) -> None:
    limits = {"free": Limits(), "shut": Limits(concurrent=9)}
    world = world_of(server, limits, random.Random(4), AskingAndGivingUp)
    world.begin(workers=1, slots=4)
    try:
        run(server, exchange.run(gating.close_gate(world.keys, "shut", HOUR)))
        world.come(Work(job=job_of(0, "a", None), rounds=[["shut"]], in_code=True))
        await asyncio.sleep(20)
        assert at_gate(world, "tenant/a").running == 0
        await world.all_ended(within=2 * HOUR)
    finally:
        await world.close()


def test_a_request_that_is_given_up_before_it_is_told_of_its_place_leaves_none(server: RealServer) -> None:
    with simulated(server) as loop:
        loop.run_until_complete(give_up_while_asking(server))
