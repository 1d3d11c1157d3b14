"""What was spent by day, tenant and model: counted once, whoever ended the job, and whatever was repeated."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from palaver.shared.errors import ValidationError
from palaver.shared.jobs import Status
from palaver.shared.ledger import Submitted, operations
from palaver.shared.ledger.operation import nothing_after
from palaver.shared.ledger.operations import POISONED_AFTER
from palaver.shared.responses import Usage
from palaver.shared.spending import DailyUsage, Spending, Spent
from tests.integration.ledger.batch_world import BatchWorld
from tests.integration.ledger.world import EXPIRED, World


def note(*models: Spent, tenant: str | None = "acme") -> bytes:
    return Spending(tenant=tenant, models=list(models)).to_json()


def spent(cost: float | None = 0.25, *, model: str = "p/m", **marks: Any) -> Spent:
    return Spent(model=model, requests=1, usage=Usage(input_tokens=3, output_tokens=4, cost=cost, **marks))


def today() -> date:
    return datetime.now(UTC).date()


def rows(world: World, tenant: str | None = None) -> list[DailyUsage]:
    """Of today, and of yesterday, in case that midnight was a moment ago."""
    return world.ledger.usage(since=today() - timedelta(days=1), until=today(), tenant=tenant)


def counts(world: World) -> list[tuple[str | None, str, int, float | None]]:
    return [(row.tenant, row.model, row.jobs, row.cost) for row in rows(world)]


def end(world: World, content: bytes, *, status: Status = Status.COMPLETED, session: str = "s1") -> Submitted:
    job = world.submit(session)
    world.claim(job)
    world.finish(job, status=status, spent=content)
    return job


def end_batch(world: World, *models: Spent, lines: int = 1) -> None:
    """A batch of so many lines, each of which spends this, until a sweep finds it ended."""
    batch = BatchWorld(world, total=lines, tenant="acme")
    batch.note("d1", *batch.claim(), spent=models)
    batch.flush(batch.gather())
    batch.end()
    batch.sweep()


def running(world: World, *, lease: float = EXPIRED) -> Submitted:
    """A job of which a worker has noted what it spent, and died."""
    job = world.submit()
    world.claim(job, lease=lease)
    claim = world.claim_of(job, 1)
    world.ledger.run(operations.note_failures(**claim, failures=1, spent=note(spent())))
    return job


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.EXPIRED])
def test_a_job_is_counted_however_it_ended(world: World, status: Status) -> None:
    end(world, note(spent(), tenant="acme"), status=status)
    assert counts(world) == [("acme", "p/m", 1, 0.25)]


def test_rows_are_sums_by_tenant_and_model(world: World) -> None:
    hits = Spent(model="p/m", hits=2, cached=Usage(input_tokens=100, output_tokens=100, cost=0.0))
    end(world, note(spent(0.1), spent(None, model="q/n", estimated=True)))
    end(world, note(spent(0.2), tenant=None))
    end(world, note(spent(0.2)))
    end(world, note(hits))
    end(world, note(spent(0.5, model="q/n")))
    end(world, b"")
    mine, other, nobodys = rows(world, "acme")[0], rows(world, "acme")[1], rows(world, "")
    known = {"day": mine.day, "tenant": "acme"}
    assert mine == DailyUsage(
        **known, model="p/m", jobs=3, requests=2, hits=2, input_tokens=6, output_tokens=8, cost=0.3
    )
    assert other == DailyUsage(
        **known, model="q/n", jobs=2, requests=2, input_tokens=6, output_tokens=8,
        cost=0.5, unpriced=1, estimated=1,
    )  # fmt: skip
    assert [(row.tenant, row.cost) for row in nobodys] == [(None, 0.2)]
    assert rows(world) == [*nobodys, mine, other]
    assert rows(world, "unknown") == []


def test_what_nobody_knows_the_price_of_is_no_cost(world: World) -> None:
    end(world, note(spent(None)))
    end(world, note(spent(None)))
    assert counts(world) == [("acme", "p/m", 2, None)]


def test_sums_of_costs_are_exact(world: World) -> None:
    for _ in range(10):
        end(world, note(spent(0.1)))
    assert counts(world) == [("acme", "p/m", 10, 1.0)]


def test_a_repeated_end_is_counted_once(world: World) -> None:
    job = end(world, note(spent()))
    for _ in range(2):
        world.finish(job, spent=note(spent()))
        world.ledger.cancel("s1", job.job_id)
        world.ledger.expire("s1", job.job_id)
        world.be_due(job)
        world.sweep()
    assert counts(world) == [("acme", "p/m", 1, 0.25)]


def test_what_a_crash_left_out_a_sweep_makes_up_for(world: World) -> None:
    world.sweep()
    job = world.submit()
    world.claim(job)
    ending = world.finishing(job, spent=note(spent()))
    world.ledger.run(replace(ending, after=nothing_after))
    assert rows(world) == []
    world.be_due(job)
    world.sweep()
    assert counts(world) == [("acme", "p/m", 1, 0.25)]
    assert world.due(job) is None


def test_a_job_goes_from_worker_to_worker_and_is_counted_once(world: World) -> None:
    world.sweep()
    job = running(world)
    world.be_due(job)
    world.sweep()
    claimed = world.claim(job, by="t2")
    assert claimed.spent == note(spent())
    assert rows(world) == []
    both = Spent(model="p/m", requests=2, usage=spent().usage.plus(spent().usage))
    world.finish(job, attempt=2, spent=note(both))
    assert counts(world) == [("acme", "p/m", 1, 0.5)]
    assert rows(world)[0].requests == 2


@pytest.mark.parametrize("by", ["cancel", "expire", "sweep"])
def test_what_a_dead_worker_had_noted_is_counted_by_whoever_ends_the_job(world: World, by: str) -> None:
    world.sweep()
    job = running(world)
    key = world.keys.job("s1", job.job_id)
    if by == "cancel":
        world.ledger.cancel("s1", job.job_id)
    else:
        world.raw.hset(key, "deadline", 1)
        world.be_due(job)
        world.ledger.expire("s1", job.job_id) if by == "expire" else world.sweep()
    assert counts(world) == [("acme", "p/m", 1, 0.25)]


def test_a_poisoned_job_has_cost_what_it_has(world: World) -> None:
    world.sweep()
    job = world.submit()
    for attempt in range(1, POISONED_AFTER + 1):
        world.claim(job, by=f"t{attempt}", lease=EXPIRED)
        claim = world.claim_of(job, attempt)
        world.ledger.run(operations.note_failures(**claim, failures=1, spent=note(spent())))
        world.be_due(job)
        world.sweep()
    assert counts(world) == [("acme", "p/m", 1, 0.25)]


def test_rounds_and_releases_take_the_note_along(world: World) -> None:
    job = world.submit()
    world.claim(job)
    claim = world.claim_of(job, 1)
    world.ledger.run(operations.save_entry(**claim, number=1, content=b"{}", spent=note(spent())))
    world.ledger.run(operations.release(**claim))
    assert world.claim(job, by="t2").spent == note(spent())
    claim = world.claim_of(job, 2)
    world.ledger.run(operations.release(**claim, spent=note(spent(0.5))))
    assert world.claim(job, by="t3").spent == note(spent(0.5))


def test_a_note_of_another_version_ends_its_job_all_the_same(world: World) -> None:
    end(world, b'{"models":"of another kind"}')
    assert rows(world) == []


def test_days_are_apart_and_end(world: World) -> None:
    end(world, note(spent()))
    long_ago = world.ledger.usage(since=date(2020, 1, 1), until=date(2020, 1, 31))
    assert long_ago == []
    for key in world.raw.scan_iter(f"{world.keys.namespace}:usage:*"):
        assert world.raw.pttl(key) > 23 * 3600 * 1000


def test_a_tenants_name_may_be_anything(world: World) -> None:
    names = ["a b", "x}y", "日本", "a/b:jobs"]
    for name in names:
        end(world, note(spent(), tenant=name))
    assert sorted(row.tenant or "" for row in rows(world)) == sorted(names)


def test_what_a_batch_has_spent_is_counted_whatever_its_models_are_called(world: World) -> None:
    """Nobody checks the names that agents give."""
    names = ["p/m", "p/m 7", "p/m\n", "p/m\nz", 'p/"\\', "p/\x00", "p/日本"]
    end_batch(world, *(spent(model=name) for name in names), lines=2)
    assert counts(world) == [("acme", name, 2, 0.5) for name in sorted(names)]


def test_what_a_batch_has_spent_with_very_many_models_is_counted(world: World) -> None:
    """More words than a Lua function can return."""
    end_batch(world, *(spent(model=f"p/m{number}") for number in range(1500)))
    assert [len(rows(world)), world.raw.zcard(world.keys.batches)] == [1500, 0]


@pytest.mark.parametrize("days", [-1, 5000])
def test_days_that_make_no_sense_are_refused(world: World, days: int) -> None:
    with pytest.raises(ValidationError, match="since"):
        world.ledger.usage(since=today() - timedelta(days=days), until=today())
