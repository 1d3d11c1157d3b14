"""Redis's clock is set back: by a failover to another machine, or by NTP. Nothing waits for the old time."""

import pytest

from palaver.shared.ledger import Dispatch, Submitted, operations
from tests.integration.ledger.world import World

QUEUE = "palaver.normal"
HOUR = 3_600_000


@pytest.fixture
def swept(world: World) -> World:
    """A world in which somebody has just swept."""
    world.sweep()
    return world


def set_back(world: World, *jobs: Submitted) -> None:
    """By an hour: whatever was written until now was written in the future."""
    keys = world.keys
    for name in ("last", "until"):
        world.raw.hincrby(keys.sweep, name, HOUR)
    for job in jobs:
        for name in ("lease", "sent"):
            if world.field(job, name) is not None:
                world.raw.hincrby(keys.job(job.session_id, job.job_id), name, HOUR)
        for registry in (keys.due, keys.sent(QUEUE)):
            world.raw.zadd(registry, {f"{job.session_id}/{job.job_id}": HOUR}, xx=True, incr=True)
    if passed := world.raw.get(keys.passed(QUEUE)):
        world.raw.set(keys.passed(QUEUE), int(passed) + HOUR, keepttl=True)


def set_back_lives(world: World) -> None:
    """By an hour: whatever is to go at a time goes an hour later than was meant."""
    session = world.keys.session("s1")
    world.raw.hincrby(session, "kept", HOUR)
    for key in world.raw.scan_iter(count=1000):
        world.raw.pexpire(key, int(world.raw.pttl(key)) + HOUR)


def pass_time(world: World, *jobs: Submitted, seconds: int) -> None:
    """For what is written of these jobs."""
    for job in jobs:
        for name in ("lease", "sent"):
            if world.field(job, name) is not None:
                world.raw.hincrby(world.keys.job(job.session_id, job.job_id), name, -1000 * seconds)
        world.raw.zadd(
            world.keys.due, {f"{job.session_id}/{job.job_id}": -1000 * seconds}, xx=True, incr=True
        )


def test_somebody_sweeps_at_once(world: World) -> None:
    assert world.ledger.sweep_turn(period=60) is not None
    assert world.ledger.sweep_turn(period=60) is None
    set_back(world)
    assert world.ledger.sweep_turn(period=60) is not None


def test_a_dead_workers_lease_ends_a_lease_from_now(swept: World) -> None:
    job = swept.submit()
    swept.claim(job, lease=10)
    set_back(swept, job)
    pass_time(swept, job, seconds=1)
    swept.sweep()
    swept.sweep()
    assert swept.due(job) == pytest.approx(swept.time() + 9, abs=1)
    pass_time(swept, job, seconds=20)
    swept.sweep()
    assert swept.due(job) == pytest.approx(swept.time() + 10, abs=1)
    assert swept.ledger.job(job.job_id).held
    pass_time(swept, job, seconds=20)
    assert swept.sweep().dispatches == [Dispatch("s1", job.job_id, "palaver.resume")]


def test_a_live_worker_keeps_its_job(swept: World) -> None:
    job = swept.submit()
    swept.claim(job, lease=10)
    set_back(swept, job)
    swept.renew(job, lease=10)
    pass_time(swept, job, seconds=7)
    swept.renew(job, lease=10)
    pass_time(swept, job, seconds=7)
    assert swept.sweep().dispatches == []
    assert swept.ledger.job(job.job_id).held


def test_a_lost_message_is_sent_again(swept: World) -> None:
    fresh, waiting = swept.submit("s1"), swept.submit("s2")
    pass_time(swept, waiting, seconds=10)
    swept.sweep()  # its message waits in its queue
    set_back(swept, fresh, waiting)
    pass_time(swept, fresh, seconds=6)
    assert swept.sweep(QUEUE).dispatches == []  # from now on it is known since when they wait
    pass_time(swept, fresh, waiting, seconds=6)
    sent = {dispatch.job_id for dispatch in swept.sweep(QUEUE).dispatches}
    assert sent == {fresh.job_id, waiting.job_id}


def test_how_far_a_queue_was_is_forgotten(swept: World) -> None:
    job = swept.submit()
    swept.sweep(QUEUE)
    set_back(swept, job)
    pass_time(swept, job, seconds=6)
    swept.sweep()
    pass_time(swept, job, seconds=6)
    assert swept.sweep().dispatches == []


def test_what_ended_before_is_listed_as_long_as_it_is_kept(world: World) -> None:
    before, after = world.submit(), world.submit()
    world.ledger.cancel("s1", before.job_id)
    set_back_lives(world)
    world.ledger.cancel("s1", after.job_id)
    world.ledger.cancel("s1", world.submit().job_id)
    listed = world.seconds_to_live(world.keys.jobs("s1"))
    kept = world.seconds_to_live(world.keys.job("s1", before.job_id))
    assert kept > world.ledger.retention.job + 3500
    assert listed == pytest.approx(kept, abs=60)  # the test sets both, one after the other


def test_who_announced_itself_in_the_future_is_not_there(swept: World) -> None:
    announce = operations.announce(swept.keys.workers, {"w1": {"pid": 1}}, seconds=9)
    swept.ledger.run(announce)
    assert [worker.name for worker in swept.ledger.workers()] == ["w1"]
    later = int(swept.time()) + 3600
    swept.raw.hset(swept.keys.workers, "w0", f'{{"expires":{later}000,"time":{later}.5}}')
    assert [worker.name for worker in swept.ledger.workers()] == ["w1"]
    swept.ledger.run(announce)
    assert swept.raw.hkeys(swept.keys.workers) == [b"w1"]
