"""Webhooks that are to be delivered: tenants take turns, whatever stands behind one of them."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from palaver.shared.ledger import Command, Query, operations
from palaver.shared.ledger.operations.webhooks import hurry_webhook, note_webhook
from tests.integration.ledger.world import World
from tests.servers import RedisServer

HOOK = "https://example.org/hook"
AT_ONCE, OF_ONE_TENANT = 200, 50


class Telling:
    """What a worker sees of them. A webhook is named like its job and session, and its tenant by the letters
    of that.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.keys = world.keys

    def send(self, commands: Iterable[Command]) -> Sequence[Any]:
        return self.world.ledger.query(Query(commands=tuple(commands), decode=list))

    def note(self, names: Sequence[str], *, due: bool = True) -> None:
        """They come, in this order, and if they are `due`, their jobs end."""
        noted = (note_webhook(self.keys, name, name, 0, tenant_of(name)) for name in names)
        ended = (hurry_webhook(self.keys, name, name, 1) for name in names)
        self.send([*noted, *(ended if due else ())])

    def pile_up(self, names: Sequence[str]) -> None:
        """A tenant's, in no time: as if they had been noted, and their jobs ended."""
        tenant = tenant_of(names[0]) or ""
        places = [f"{name}/{name}" for name in names]
        self.note(names[:1])
        self.world.raw.zadd(self.keys.webhooks_of(tenant), dict.fromkeys(places, 1))
        self.world.raw.hset(f"{self.keys.webhooks}:whose", mapping=dict.fromkeys(places, tenant))

    def take(self, limit: int = AT_ONCE, **running: int) -> list[str]:
        """Those that a worker is given that sees to so many of some tenants; in order."""
        taken = operations.take_webhooks(
            self.keys, seconds=60, limit=limit, of_one_tenant=OF_ONE_TENANT, running=running
        )
        found = self.world.ledger.run(taken).webhooks
        assert [tenant for _, tenant in found] == [tenant_of(name) or "" for (name, _), _ in found]
        return [name for (name, _), _ in found]

    def forget(self, name: str) -> None:
        self.world.ledger.query(operations.forget_webhook(self.keys, name, name))

    def left(self) -> set[str]:
        """All keys that there are."""
        return {key.decode() for key in self.world.raw.scan_iter(f"{self.keys.webhooks}*", count=1000)}


def tenant_of(name: str) -> str | None:
    return name.rstrip("0123456789") or None


def many(tenant: str, count: int) -> list[str]:
    return [f"{tenant}{number}" for number in range(count)]


@pytest.fixture
def telling(world: World) -> Telling:
    return Telling(world)


def test_a_tenants_many_hold_up_no_other(telling: Telling) -> None:
    """The tenant has its part of deliveries already, and the other's webhook is the latest."""
    telling.pile_up(many("a", 20_000))
    telling.note(["b0"])
    assert telling.take(AT_ONCE - OF_ONE_TENANT, a=OF_ONE_TENANT) == ["b0"]
    telling.note(["c0", "0"])
    assert telling.take(AT_ONCE - OF_ONE_TENANT, a=OF_ONE_TENANT) == ["c0", "0"]


def test_tenants_take_turns(telling: Telling) -> None:
    telling.note([*many("a", 9), *many("b", 2), "c0"])
    given = [name for _ in range(6) for name in telling.take(1)]
    assert [tenant_of(name) for name in given] == ["a", "b", "c", "a", "b", "a"]
    telling.note(["d0", "a99"])  # who comes is behind those who wait, once
    assert [tenant_of(telling.take(1)[0]) for _ in range(3)] == ["a", "d", "a"]


def test_nobody_has_more_than_is_left_for_others(telling: Telling) -> None:
    """However many of few tenants are slow, there is room for the next one."""
    running: dict[str, int] = {}
    for tenant in "abcdefgh":
        telling.note(many(tenant, OF_ONE_TENANT + 9))
        given = telling.take(AT_ONCE - sum(running.values()), **running)
        assert {tenant_of(name) for name in given} == {tenant}
        running[tenant] = len(given)
    assert list(running.values()) == [50, 50, 50, 25, 13, 6, 3, 2]


def test_what_is_taken_is_given_to_nobody_else_for_a_while(telling: Telling) -> None:
    telling.note(["a0", "a1"])
    assert telling.take(1) == ["a0"]
    assert [telling.take(), telling.take()] == [["a1"], []]
    telling.send([hurry_webhook(telling.keys, "a0", "a0", 1)])  # its time is over
    assert telling.take() == ["a0"]


def test_a_webhook_is_due_when_its_job_has_ended_or_when_it_is_tried_again(telling: Telling) -> None:
    telling.note(["a0", "b0"], due=False)
    assert telling.take() == []
    telling.send([hurry_webhook(telling.keys, name, name, 1) for name in ("b0", "never noted")])
    assert telling.take() == ["b0"]
    now = telling.world.time()
    for at, told in ((now + 60, []), (now - 60, ["b0"])):
        telling.world.ledger.query(operations.put_off_webhook(telling.keys, "b0", "b0", at))
        assert telling.take() == told


def test_nothing_is_left_of_what_is_delivered(telling: Telling) -> None:
    telling.note(["a0", "b0", "0"])
    telling.note(["a0"])  # a submit is repeated
    assert telling.take() == ["a0", "b0", "0"]
    for name in ("never noted", "a0", "b0", "0"):
        assert telling.left() != set()
        telling.forget(name)
    assert telling.left() == set()


def test_what_is_erased_is_not_to_be_delivered(telling: Telling) -> None:
    world = telling.world
    jobs = [world.submit(session, webhook=HOOK, tenant="a") for session in ("s1", "s1", "s2")]
    for job in reversed(jobs):
        world.ledger.cancel(job.session_id, job.job_id)
    world.ledger.erase(["s1"])
    taken = world.ledger.run(operations.take_webhooks(world.keys, seconds=60, limit=9)).webhooks
    assert taken == [(("s2", jobs[2].job_id), "a")]


def test_a_clock_that_was_set_back_holds_up_none(telling: Telling) -> None:
    world, hour = telling.world, 3_600_000
    raw: Any = world.raw  # its replies have no types
    telling.note(["a0", "a1", "0"])
    world.sweep()
    for key in telling.left() - {f"{telling.keys.webhooks}:whose"}:
        for member in raw.zrange(key, 0, -1):
            raw.zincrby(key, hour, member)
    for name in ("last", "until"):
        world.raw.hincrby(world.keys.sweep, name, hour)
    assert telling.take() == []
    world.sweep()
    assert sorted(telling.take()) == ["0", "a0", "a1"]


STEPS = st.tuples(
    st.sampled_from(["note", "end", "put off", "take", "forget"]),
    st.sampled_from(["a0", "a1", "a2", "b0", "b1", "0"]),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=30))
def test_none_is_lost_and_none_is_told_early(redis_server: RedisServer, steps: list[tuple[str, str]]) -> None:
    telling = Telling(World(redis_server))
    telling.world.raw.flushdb()
    due: dict[str, bool] = {}  # of those that are noted: whether it is to be told now
    for step, name in steps:
        if step == "note":
            telling.note([name], due=False)
            due.setdefault(name, False)
        elif step == "take":
            taken = telling.take(1)
            assert len(taken) == any(due.values())
            assert all(due[each] for each in taken)
            due |= dict.fromkeys(taken, False)
        elif step == "forget":
            telling.forget(name)
            due.pop(name, None)
        else:
            at = 0.001 if step == "end" else telling.world.time() + 60
            telling.world.ledger.query(operations.put_off_webhook(telling.keys, name, name, at))
            due |= {name: step == "end"} if name in due else {}
    assert sorted(telling.take()) == sorted(name for name in due if due[name])
    for name in due:
        telling.forget(name)
    assert telling.left() == set()
    telling.world.close()
