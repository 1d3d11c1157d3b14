"""Batches in the ledger: each line has one result, whoever dies, repeats himself, or comes too late."""

import random

import pytest

from palaver.shared.batches import BatchStatus
from palaver.shared.errors import (
    BatchNotFoundError,
    ConflictError,
    FencedError,
    JobEndedError,
)
from palaver.shared.ledger import operations
from palaver.shared.ledger.operations import batch_driving
from palaver.shared.owner import Owner
from tests.integration.ledger.batch_world import BatchWorld
from tests.integration.ledger.world import World

pytestmark = pytest.mark.redis

FAILURE = b'{"type":"ProviderError","code":"provider_error","message":"no"}'


def live(world: World, *workers: str) -> None:
    announced = {worker: {"name": worker} for worker in workers}
    world.ledger.run(operations.announce(world.keys.workers, announced, seconds=60))


def finish(batch: BatchWorld, driver: str = "d1") -> BatchStatus | None:
    batch.flush(batch.gather(driver), driver)
    return batch.end(driver)  # type: ignore[no-any-return]


def test_a_batch_from_end_to_end(world: World) -> None:
    batch = BatchWorld(world, total=5, metadata={"a": 1})
    assert batch.claim(room=2) == [0, 1]
    assert batch.claim(room=100) == [2, 3, 4]
    assert batch.try_claim().state == "none"
    assert batch.note("d1", 1, 0).waiting == 2
    batch.note("d1", 4, error=FAILURE)
    seen = batch.view()
    assert (seen.counts.completed, seen.counts.failed, seen.counts.total) == (2, 1, 5)
    assert (seen.running, seen.drivers, seen.tokens, seen.cost) == (2, 1, 6, 1.5)
    batch.note("d1", 3, 2)
    assert batch.view().status is BatchStatus.FINALIZING
    assert batch.end() is None, "nobody has stored the results"
    assert finish(batch) is BatchStatus.COMPLETED
    seen = batch.view()
    assert seen.stored
    assert seen.batch == batch.job
    assert [event["type"] for event in batch.events()] == ["progress", "progress", "stream_end"]
    assert batch.events()[-2]["data"] == {
        "done": 5, "total": 5, "failed": 1, "tokens": 10, "cost": 2.5,
    }  # fmt: skip
    with pytest.raises(JobEndedError):
        batch.try_claim()


def test_a_repeat_changes_nothing(world: World) -> None:
    batch = BatchWorld(world)
    assert world.ledger.open_batch(batch.job) == batch.opened
    first = batch.try_claim()
    assert batch.claim_again() == first
    batch.try_claim()
    assert (batch.note("d1", 0, 1).waiting, batch.note("d1", 0, 1).waiting) == (2, 2)
    gathered = batch.gather()
    before = world.dump()
    assert batch.gather() == gathered
    assert world.dump() == before
    batch.flush(gathered)
    before = world.dump()
    batch.flush(gathered)
    assert world.dump() == before
    batch.leave()
    before = world.dump()
    batch.leave()
    assert world.dump() == before
    assert batch.view().counts.completed == 2
    assert batch.claim("d2", 100) == list(range(2, 10)), "each line that has no result, once"
    batch.note("d2", *range(2, 10))
    assert (finish(batch, "d2"), batch.end("d2")) == (BatchStatus.COMPLETED, BatchStatus.COMPLETED)
    assert [event["type"] for event in batch.events()].count("stream_end") == 1


def test_the_key_of_another_batch_is_a_conflict(world: World) -> None:
    batch = BatchWorld(world)
    other = batch.job.model_copy(update={"total": 11})
    with pytest.raises(ConflictError):
        world.ledger.open_batch(other)


def test_an_unknown_batch(world: World) -> None:
    for ask in (world.ledger.batch, world.ledger.cancel_batch):
        with pytest.raises(BatchNotFoundError):
            ask("nobody")


def test_each_driver_has_its_share_of_the_window(world: World) -> None:
    batch = BatchWorld(world, total=100)
    assert len(batch.claim("d1", 50, window=10)) == 10
    assert batch.claim("d2", 50, window=10) == []
    batch.note("d1", *batch.held["d1"][:6])
    assert batch.claim("d1", 50, window=10) == [10], "up to a half"
    assert len(batch.claim("d2", 50, window=10)) == 5
    assert batch.view().running == 10


def test_lines_of_a_driver_that_died_come_again(world: World) -> None:
    live(world, "worker of d1", "worker of d2")
    batch = BatchWorld(world, total=4)
    batch.claim("d1", 3)
    batch.note("d1", 1)
    batch.expire_lease("d1")
    assert batch.sweep() == 2
    for write in (lambda: batch.note("d1", 0), batch.renew, batch.try_claim, batch.gather):
        with pytest.raises(FencedError):
            write()
    claimed = batch.try_claim("d2", 100)
    assert claimed.lines == {0: 0, 2: 0, 3: 0}, "its worker is alive: no line has killed it"
    batch.note("d2", *claimed.lines)
    assert batch.view().counts.completed == 4


def die(batch: BatchWorld, driver: str) -> dict[int, int]:
    """What it held, each with the deaths before."""
    claimed = batch.try_claim(driver, 100)
    batch.expire_lease(driver)
    batch.sweep()
    return claimed.lines  # type: ignore[no-any-return]


def test_deaths_are_counted_with_the_lines_that_were_held(world: World) -> None:
    batch = BatchWorld(world, total=2)
    assert die(batch, "d0") == {0: 0, 1: 0}
    assert die(batch, "d1") == {0: 1, 1: 1}
    assert batch.try_claim("last", 1).lines == {0: 2}
    batch.leave("last")
    assert batch.try_claim("other", 1).lines == {0: 0}, "a driver that leaves has not died"


def test_of_lines_that_died_together_only_the_guilty_one_is_given_up(world: World) -> None:
    """Line 1 ends each process that begins it, with all that runs there."""
    batch = BatchWorld(world, total=5)
    assert batch.claim("d0", 4) == [0, 1, 2, 3]
    batch.expire_lease("d0")
    batch.sweep()
    assert die(batch, "d1") == {0: 1, 1: 1, 2: 1, 3: 1, 4: 0}
    assert batch.try_claim("d2", 100).lines == {0: 2, 4: 1}, "one that may be the last of a driver"
    assert batch.try_claim("d2", 100).lines == {}
    batch.note("d2", 0)
    assert batch.try_claim("d2", 100).lines == {1: 2}
    batch.expire_lease("d2")
    batch.sweep()
    claimed = batch.try_claim("d3", 100)
    assert claimed.lines == {1: 3, 2: 2}, "4 died twice with it"
    batch.note("d3", 1, 2)
    assert batch.claim("d3", 100) == [3]
    batch.note("d3", 3)
    assert batch.claim("d3", 100) == [4]
    batch.note("d3", 4)
    assert finish(batch, "d3") is BatchStatus.COMPLETED


def test_a_driver_that_could_not_renew_is_left_alone_for_a_while(world: World) -> None:
    """The first sweep sees that there was none for a while."""
    batch = BatchWorld(world)
    batch.claim()
    batch.expire_lease("d1", at=1000)
    batch.sweep()
    assert batch.renew() == ""


def test_a_sweep_sends_for_drivers_that_are_missing(world: World) -> None:
    live(world, "worker of d1", "w2", "w3")
    batch = BatchWorld(world)
    assert batch.sweep() == 3
    assert batch.sweep() == 0, "their messages are on their way"
    batch.claim("d1")
    assert batch.sweep() == 2
    batch.claim("d2", 100)
    assert batch.sweep() == 0, "nothing is left that nobody has"
    batch.note("d1", *batch.held["d1"])
    batch.note("d2", *batch.held["d2"])
    batch.leave("d1")
    batch.leave("d2")
    assert batch.sweep() == 1, "somebody has to end it"
    batch.claim("d3")
    assert finish(batch, "d3") is BatchStatus.COMPLETED
    assert batch.sweep() == 0
    assert world.raw.zcard(world.keys.batches) == 0


def test_one_driver_stores_results_as_long_as_it_lives(world: World) -> None:
    batch = BatchWorld(world, total=6)
    batch.claim("d1", 3)
    batch.claim("d2", 3)
    batch.note("d1", 0, 1)
    gathered = batch.gather("d1", most=1)
    assert gathered is not None
    assert (gathered.first, gathered.last, gathered.results) == (1, 1, [b"result 0\n"])
    assert batch.gather("d2") is None
    batch.expire_lease("d1")
    batch.sweep()
    batch.note("d2", 3)
    other = batch.gather("d2")
    assert other is not None
    assert other.results == [b"result 0\n", b"result 1\n", b"result 3\n"]
    with pytest.raises(FencedError):
        batch.flush(gathered, "d1")
    batch.flush(other, "d2")
    assert world.ledger.query(operations.batch_parts(world.keys, batch.id)) == [(1, 3)]


def test_no_line_is_given_out_while_too_much_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_driving, "WAITING_RESULTS", 2)
    batch = BatchWorld(world)
    batch.note("d1", *batch.claim(room=2))
    assert batch.claim() == []
    batch.flush(batch.gather())
    assert batch.claim() == [2, 3, 4]


def test_results_are_read_from_the_ledger_and_then_from_parts(world: World) -> None:
    batch = BatchWorld(world)
    batch.note("d1", *batch.claim(room=6))
    batch.flush(batch.gather(most=2))
    batch.flush(batch.gather(most=3))
    page = world.ledger.batch_results(batch.id, after=0)
    assert (page.results, page.flushed, page.part, page.lines) == (6, 5, (1, 2), [])
    assert world.ledger.batch_results(batch.id, after=3).part == (3, 5)
    page = world.ledger.batch_results(batch.id, after=5)
    assert (page.part, page.lines) == (None, [b"result 5\n"])
    page = world.ledger.batch_results(batch.id, after=6)
    assert (page.part, page.lines, page.status) == (None, [], BatchStatus.IN_PROGRESS)


def test_a_cancelled_batch_keeps_what_is_done(world: World) -> None:
    batch = BatchWorld(world)
    batch.claim(room=4)
    batch.note("d1", 0)
    assert world.ledger.cancel_batch(batch.id) is BatchStatus.CANCELLING
    assert batch.renew() == "cancel"
    assert batch.note("d1", 1).stop == "cancel", "it was done meanwhile"
    assert batch.try_claim().state == "none"
    batch.leave()
    assert batch.sweep() == 0
    live(world, "w1")
    assert batch.sweep() == 1
    assert batch.try_claim("d2").state == "over"
    assert finish(batch, "d2") is BatchStatus.CANCELLED
    assert batch.view().counts.done == 2
    assert world.ledger.cancel_batch(batch.id) is BatchStatus.CANCELLED


def test_a_batch_that_nobody_has_begun_ends_when_it_is_cancelled(world: World) -> None:
    batch = BatchWorld(world)
    assert world.ledger.cancel_batch(batch.id) is BatchStatus.CANCELLED
    assert batch.events()[-1]["data"] == {"status": "cancelled"}


def test_the_first_error_stops_a_batch_that_is_to_fail_fast(world: World) -> None:
    batch = BatchWorld(world, fail_fast=True)
    batch.claim()
    assert batch.note("d1", 0).stop == ""
    assert batch.note("d1", 1, error=FAILURE).stop == "fail_fast"
    batch.leave()
    batch.try_claim("d2")
    assert finish(batch, "d2") is BatchStatus.CANCELLED
    seen = batch.view()
    assert (seen.counts.done, seen.error and seen.error.code) == (2, "provider_error")


def test_lines_that_are_left_after_the_window_are_given_out_to_be_failed(world: World) -> None:
    batch = BatchWorld(world)
    batch.claim(room=2)
    batch.pass_the_window()
    assert batch.renew() == "expired"
    claimed = batch.try_claim(room=100, window=1)
    assert (claimed.stop, sorted(claimed.lines)) == ("expired", list(range(2, 10)))
    batch.note("d1", *range(10), error=FAILURE)
    assert finish(batch) is BatchStatus.EXPIRED


class Chance:
    """Drivers of one batch that do by chance what drivers do."""

    def __init__(self, batch: BatchWorld, seed: int) -> None:
        self.batch = batch
        self.chance = random.Random(seed)
        self.alive: list[str] = []
        self.stored: list[bytes] = []

    def step(self, number: int) -> None:
        if len(self.alive) < 3:
            self.alive.append(f"d{number}")
            self.claim(self.alive[-1])
        else:
            act = self.chance.choice([self.claim, self.note, self.note, self.store, self.die, self.leave])
            act(self.chance.choice(self.alive))

    def claim(self, driver: str) -> None:
        self.batch.claim(driver, self.chance.randint(1, 9))

    def note(self, driver: str) -> None:
        held = self.batch.held[driver]
        done = self.chance.sample(held, min(4, len(held)))
        for _ in range(self.chance.randint(1, 2)):
            self.batch.note(driver, *done)

    def store(self, driver: str) -> None:
        gathered = self.batch.gather(driver, most=self.chance.randint(1, 9))
        if gathered is not None and gathered.results:
            self.batch.flush(gathered, driver)
            self.stored += gathered.results

    def die(self, driver: str) -> None:
        self.alive.remove(driver)
        self.batch.expire_lease(driver)
        self.batch.sweep()
        with pytest.raises(FencedError):
            self.batch.note(driver, *self.batch.held[driver])

    def leave(self, driver: str) -> None:
        self.alive.remove(driver)
        self.batch.leave(driver)


@pytest.mark.parametrize("seed", range(3))
def test_any_interleaving_gives_each_line_one_result(world: World, seed: int) -> None:
    """Drivers claim, answer, repeat themselves, die, leave and come too late."""
    batch = BatchWorld(world, total=40)
    drivers, steps = Chance(batch, seed), iter(range(5_000))
    while batch.view().counts.done < 40:
        drivers.step(next(steps))
    for driver in drivers.alive:
        batch.leave(driver)
    batch.try_claim("last")
    drivers.store("last")
    while batch.view().flushed < 40:
        drivers.store("last")
    assert sorted(drivers.stored) == sorted(b"result %d\n" % index for index in range(40))
    assert batch.end("last") is BatchStatus.COMPLETED


def test_the_objects_of_a_batch_stay_as_long_as_the_ledger_knows_it(world: World) -> None:
    batch = BatchWorld(world, total=1)

    def kept_until() -> float:
        at = world.raw.zscore(world.keys.stored_batches, batch.id)
        assert isinstance(at, float)
        return at / 1000

    def seconds_left() -> float:
        return kept_until() - world.time()

    kept = world.ledger.retention.batch
    assert seconds_left() == pytest.approx(kept + batch.job.completion_window, abs=60)
    batch.claim()
    batch.note("d1", 0)
    finish(batch)
    batch.sweep()
    key = f"{world.keys.base(batch.id)}:batch"
    assert [seconds_left(), world.seconds_to_live(key)] == pytest.approx([kept, kept], abs=60)
    before, lives, after = world.time(), world.seconds_to_live(key), world.time()
    assert before + lives - 0.05 <= kept_until() <= after + lives + 0.05
    world.ledger.note_batch(batch.job)
    assert seconds_left() > kept + 60, "its lines are stored again: they are not to go before that"
    world.ledger.note_batch(batch.job.model_copy(update={"completion_window": 1}))
    assert seconds_left() > kept + 60


def test_a_user_s_list_of_batches_forgets_with_the_ledger(world: World) -> None:
    owner = Owner(user="u", tenant="t")
    batches = [BatchWorld(world, user="u", tenant="t") for _ in range(2)]
    for user, tenant in (("u", None), (None, "t"), ("u", "T")):
        BatchWorld(world, user=user, tenant=tenant)

    def listed() -> set[str]:
        found = world.ledger.query(operations.batches_of(world.keys, owner))
        return set(found)

    assert listed() == {batch.id for batch in batches}
    world.raw.zadd(world.keys.owner_batches(owner), {batches[0].id: 1})
    third = BatchWorld(world, user="u", tenant="t")
    assert listed() == {batches[1].id, third.id}
    assert world.seconds_to_live(world.keys.owner_batches(owner)) > world.ledger.retention.batch
