"""The gate of a profile, script by script: who has a place, who waits, and what becomes of it."""

from collections.abc import Sequence
from typing import Any

import pytest

from palaver.shared.ledger import Claimed, operations
from palaver.shared.profiles import Limits
from tests.integration.ledger.gate_world import ONE, SHORT, Gate, P, at, sent, tokens
from tests.integration.ledger.world import World
from tests.servers import eventually

AFTER_A_SILENCE = pytest.mark.parametrize("renewed_first", [False, True])


@pytest.fixture
def gate(world: World) -> Gate:
    """A gate with one place."""
    return Gate(world, ONE)


def test_a_place_now_or_in_the_line(gate: Gate) -> None:
    assert gate.has_place("a1", "a2", "a3") == [True, False, False]
    assert [gate.enter(job).ahead for job in ("a2", "a3")] == [0, 1]
    assert gate.leave("a1") == []
    assert gate.has_place("a3", "a2") == [False, True]


def test_a_newcomer_passes_nobody(gate: Gate) -> None:
    gate.has_place("a1")
    gate.park("a2")
    assert gate.leave("a1") == ["a2"]
    assert gate.has_place("a3") == [False]
    assert gate.enter("a2", token="next").has_place
    assert gate.leave("a2", token="next") == []
    assert gate.has_place("a3") == [True]


def test_who_was_parked_while_its_place_came_is_told(gate: Gate) -> None:
    gate.has_place("a1", "a2")
    assert gate.leave("a1") == []
    assert gate.park("a2") == [True]
    assert gate.enter("a2", token="next").has_place


def test_a_repeated_call_says_the_same_and_changes_nothing(gate: Gate) -> None:
    gate.has_place("a1")
    gate.park("a2", "a3")
    assert gate.has_place("a1") == [True]
    assert gate.leave("a1") == gate.leave("a1") == ["a2"]
    assert gate.enter("a2", token="next").has_place
    assert gate.enter("a2", token="next").has_place
    assert gate.leave("a1") == []


def test_tenants_have_places_in_turn(world: World) -> None:
    gate = Gate(world, Limits(concurrent=10))
    assert gate.has_place(*(f"a{n}" for n in range(10))) == [True] * 10
    gate.park(*(f"a{n}" for n in range(10, 40)))
    gate.park(*(f"b{n}" for n in range(10)))
    began: list[str] = []
    running = [f"a{n}" for n in range(10)]
    while len(began) < 30:
        for job in gate.leave(running.pop(0)):
            assert gate.has_place(job) == [True]
            began.append(job)
            running.append(job)
    assert [job for job in began if job[0] == "b"] == [f"b{n}" for n in range(10)]
    assert [job for job in began if job[0] == "a"] == [f"a{n}" for n in range(10, 10 + len(began) - 10)]


def test_a_tenant_that_comes_again_and_again_does_not_starve_the_others(gate: Gate) -> None:
    gate.has_place("a0")
    gate.park("b1", "b2", "b3")
    running, began = "a0", []
    for number in range(1, 6):
        gate.park(f"a{number}")
        (running,) = gate.leave(running)
        gate.has_place(running)
        began.append(running)
    assert {"b1", "b2"} <= set(began)


def test_a_tenant_with_a_weight_has_so_many_turns(gate: Gate) -> None:
    heavy: dict[str, Any] = {"line": operations.Line(name="a", weight=3)}
    gate.has_place("c0")
    for number in range(9):
        gate.enter(f"a{number}", parked=True, **heavy)
        gate.park(f"b{number}")
    began, running = "", "c0"
    while len(began) < 12:
        (running,) = gate.leave(running)
        assert gate.enter(running, **(heavy if running[0] == "a" else {})).has_place
        began += running[0]
    assert [began[four : four + 4].count("a") for four in (0, 4, 8)] == [3, 3, 3]


def test_what_has_begun_goes_before_what_has_not(gate: Gate) -> None:
    gate.has_place("a0")
    gate.park("a1", "a2")
    for job in ("a3", "a4"):
        gate.enter(job, parked=True, ahead=True)
    began, running = [], "a0"
    for _ in range(4):
        (running,) = gate.leave(running)
        gate.has_place(running)
        began.append(running)
    assert began == ["a3", "a4", "a1", "a2"]


def test_the_clock_of_turns_never_goes_back(world: World) -> None:
    gate = Gate(world, Limits(concurrent=1, tokens_per_minute=1000))
    gate.enter("c0", size=tokens(10, 0))
    gate.enter("a0", size=tokens(500, 0), parked=True)
    turns, waiting = [0.0], [f"b{number}" for number in range(5)]
    gate.enter("b0", size=tokens(10, 0), parked=True)
    gate.leave("c0")
    for job, following in zip(waiting, [*waiting[1:], "a1"], strict=True):
        # What goes on with something goes before the large one, by a turn that began long ago.
        gate.enter(following, size=tokens(10, 0), parked=True, ahead=following == "a1")
        assert gate.enter(job, size=tokens(10, 0)).has_place
        gate.leave(job)
        turns.append(float(world.raw.hget(gate.keys.gate(P), "turn") or 0))
    assert gate.enter("a1", size=tokens(10, 0)).has_place
    assert turns == sorted(turns)


class TestBoundOfALine:
    """A gate whose lines have a bound of their own, as a tenant's has for its users: one place at once."""

    @pytest.fixture
    def gate(self, world: World) -> Gate:
        return Gate(world, Limits(concurrent=3))

    def enter(self, gate: Gate, *jobs: str, parked: bool = True) -> list[bool]:
        lines = {job: operations.Line(name=job[0].strip("-"), most=1) for job in jobs}
        return [gate.enter(job, line=lines[job], parked=parked).has_place for job in jobs]

    def test_a_full_line_is_passed_over(self, gate: Gate) -> None:
        assert self.enter(gate, "x1", parked=False) == [True]
        assert self.enter(gate, "x2", "x3") == [False, False]
        assert self.enter(gate, "y1", "z1", parked=False) == [True, True]
        assert self.enter(gate, "y2", "z2") == [False, False]
        assert gate.leave("y1") == ["y2"]
        assert gate.leave("x1") == ["x2"]
        assert self.enter(gate, "x2", parked=False) == [True]
        assert gate.enter("x3", line=operations.Line(name="x", most=1), parked=True).ahead == 0
        assert gate.leave("x2") == ["x3"]

    def test_who_is_nobody_has_no_bound(self, gate: Gate) -> None:
        assert self.enter(gate, "-1", "-2", "-3", "-4", parked=False) == [True, True, True, False]

    def test_a_dead_workers_place_is_its_lines_next_ones(self, gate: Gate) -> None:
        self.enter(gate, "x1", parked=False)
        self.enter(gate, "x2")
        gate.end_holds("places", "x1")
        assert gate.world.raw.zcard(gate.keys.gates) == 1, "somebody is to look"
        assert gate.pump() == ["x2"]
        gate.end_holds("given", "x2")
        assert gate.pump() == ["x2"], "it has missed one"

    def test_a_run_after_a_death_takes_no_second_place(self, gate: Gate) -> None:
        self.enter(gate, "x1", parked=False)
        line = operations.Line(name="x", most=1)
        assert gate.enter("x1", token="later", line=line, ahead=True).has_place
        assert self.enter(gate, "x2") == [False]
        assert gate.leave("x1", token="later") == ["x2"]

    def test_a_higher_bound_counts_at_once(self, gate: Gate) -> None:
        self.enter(gate, "x1", parked=False)
        self.enter(gate, "x2")
        more = operations.Line(name="x", most=2)
        assert sent(gate.enter("x3", line=more, parked=True)) == ["x2"]


@pytest.mark.parametrize("other", ["b", "a batch", "batch=a", "=a", ""])
def test_a_tenants_batches_have_turns_with_its_jobs_and_not_beside_them(world: World, other: str) -> None:
    gate = Gate(world, ONE)
    lines = {
        "j": operations.Line(name="a"),
        "l": operations.Line(name="a", of_batch=True),
        "o": operations.Line(name=other),
    }
    gate.enter("x0", line=operations.Line(name="x"))
    for number in range(20):
        for kind, line in lines.items():
            gate.enter(f"{kind}{number}", line=line, parked=True)
    begun, running = "", "x0"
    while len(begun) < 20:
        (running,) = gate.leave(running)
        assert gate.enter(running, line=lines[running[0]]).has_place
        begun += running[0]
    assert (begun.count("j"), begun.count("l"), begun.count("o")) == (5, 5, 10)


def test_tenants_that_have_gone_leave_nothing_at_the_gate(world: World) -> None:
    gate = Gate(world, Limits(concurrent=1, tokens_per_minute=1000))

    def come_and_go(number: int) -> int:
        for place in range(3):
            line = operations.Line(name=f"t{number}", weight=3, of_batch=place == 1)
            gate.enter(f"j{number}-{place}", line=line, parked=True)
        for place in range(3):
            gate.pump()
            gate.enter(f"j{number}-{place}")
            gate.leave(f"j{number}-{place}", tokens=0, answer_tokens=0)
        names: Any = world.raw.keys(f"{gate.keys.gate(P)}*")
        return sum(len(_hash(world, name)) for name in names if not name.endswith(b":used"))

    first = come_and_go(0)
    assert [come_and_go(number) for number in range(1, 9)][-1] == first


def test_a_dead_workers_place_ends(gate: Gate) -> None:
    gate.has_place("a1")
    gate.park("a2")
    gate.end_holds("places", "a1")
    assert gate.pump() == ["a2"]
    assert gate.leave("a1") == []


def test_a_place_is_kept_by_who_has_it(gate: Gate) -> None:
    gate.has_place("a1")
    soon = gate.seen() + 10_000
    gate.end_holds("places", "a1", at_ms=soon)
    for token in ("another's", "a1-t"):
        gate.keep("a1", token=token)
        assert (gate.ends("a1") > soon) == (token == "a1-t")


@AFTER_A_SILENCE
def test_nothing_ends_while_redis_stood_still(gate: Gate, renewed_first: bool) -> None:
    gate.has_place("a1")
    gate.park("a2")
    gate.end_holds("places", "a1")
    gate.stand_still(renewed_first)
    assert gate.pump() == []


@AFTER_A_SILENCE
def test_nothing_ends_before_it_could_be_renewed_when_redis_goes_on(gate: Gate, renewed_first: bool) -> None:
    gate.has_place("a1")
    began = gate.seen()
    gate.end_holds("places", "a1", at_ms=began + 500)
    gate.stand_still(renewed_first)
    gate.pump()
    assert gate.ends("a1") - began > 3_500


def test_a_place_that_nobody_takes_goes_to_the_next(gate: Gate) -> None:
    gate.has_place("a1")
    gate.park("a2", "a3")
    assert gate.leave("a1") == ["a2"]
    gate.end_holds("given", "a2")
    assert gate.pump() == ["a3"]
    gate.end_holds("given", "a3")
    assert gate.pump() == ["a2"]
    gate.end_holds("given", "a2")
    assert gate.pump() == ["a3"]
    gate.end_holds("given", "a3")
    assert gate.pump() == []
    assert gate.has_place("a4") == [True]


def test_who_asks_no_more_is_passed_over_unless_it_is_parked(gate: Gate) -> None:
    gate.has_place("a1", "a2", "a3")
    gate.park("a4")
    gate.world.raw.hincrby(gate.keys.gate(P), "awake", 7_000)
    assert gate.has_place("a3") == [False]
    assert gate.leave("a1") == []
    assert gate.has_place("a3", "a2") == [True, False]
    assert gate.leave("a3") == ["a4"]


def test_who_waits_by_an_older_version_keeps_nobody_from_the_gate(gate: Gate) -> None:
    """Its record says less: not when it asked last."""
    gate.has_place("a1", "a2")
    gate.forget("a2", "heard")
    assert gate.has_place("a3") == [False]
    assert gate.pump() == gate.leave("a1") == []
    assert gate.has_place("a3", "a2") == [False, True]


@AFTER_A_SILENCE
def test_who_could_not_ask_while_redis_stood_still_is_not_passed_over(
    gate: Gate, renewed_first: bool
) -> None:
    gate.has_place("a1", "a2", "a3")
    gate.stand_still(renewed_first)
    assert gate.has_place("a3") == [False]
    gate.leave("a1")
    assert gate.has_place("a3", "a2") == [False, True]


def test_who_asks_no_more_misses_one_place(gate: Gate) -> None:
    gate.has_place("a1", "a2")
    gate.park("a3")
    assert gate.leave("a1") == []
    gate.end_holds("given", "a2")
    assert gate.pump() == ["a3"]
    assert gate.has_place("a3") == [True]
    assert gate.leave("a3") == []
    assert gate.has_place("a4") == [True]


def test_another_run_of_a_job_goes_on_with_its_place_in_the_line(gate: Gate) -> None:
    gate.has_place("a1")
    gate.park("a2", "a3")
    assert not gate.enter("a2", token="next").has_place
    assert gate.leave("a1") == []
    assert gate.enter("a2", token="next").has_place
    # A run whose worker has died: its request is another one.
    again = gate.enter("a2", token="later")
    assert (again.has_place, sent(again)) == (False, ["a3"])
    assert gate.leave("a2", token="next") == []


def test_who_has_ended_meanwhile_is_passed_over(gate: Gate) -> None:
    gate.has_place("a1")
    gate.park("a2", "a3", "a4")
    assert gate.pump(ended="a3") == []
    assert gate.leave("a1") == ["a2"]
    assert gate.pump(ended="a2") == ["a4"]


def test_a_closed_gate_lets_nobody_in(world: World) -> None:
    gate = Gate(world, Limits())
    heard = world.listener()
    heard.subscribe(world.keys.control)
    assert heard.get_message(timeout=5)
    assert gate.has_place("a1") == [True]
    world.ledger.run(operations.close_gate(world.keys, P, 60))
    assert 50 < gate.enter("a2").closed_for <= 60
    assert gate.park("a2") == [False]
    (known,) = world.ledger.gates()
    assert (known.name, known.waiting) == (P, 1)
    assert 50 < known.closed_for <= 60
    world.raw.hincrby(gate.keys.gate(P), "closed", -60_000)  # a minute later
    assert gate.pump() == ["a2"]
    assert eventually(lambda: (heard.get_message() or {}).get("data", b"") == CLOSED)
    heard.close()


CLOSED = b'{"type":"closed","profile":"openai","seconds":60}'


def test_a_paused_gate_lets_nobody_in_until_it_is_resumed(world: World) -> None:
    gate, keys, ledger = Gate(world, Limits()), world.keys, world.ledger
    ledger.query(operations.pause_profile(keys, P, by="ann@desk"))
    assert gate.has_place("a1") == [False]
    assert gate.park("a1", "b1") == [False, False]
    assert gate.pump() == []
    (known,) = ledger.gates()
    assert known.paused is not None
    assert (known.waiting, known.closed_for, known.paused.by) == (2, 0, "ann@desk")
    assert 29 * 86_400 < known.paused.seconds <= 30 * 86_400
    assert ledger.query(operations.pauses(keys, [P, "other"])).keys() == {P}
    assert ledger.query(operations.resume_profile(keys, P, by="ann@desk"))
    swept = world.sweep()
    assert {dispatch.job_id for dispatch in swept.dispatches} == {"a1", "b1"}
    assert not ledger.query(operations.resume_profile(keys, P, by="ann@desk"))
    assert ledger.gates() == []


def test_a_pause_ends_by_itself(world: World) -> None:
    gate = Gate(world, Limits())
    world.ledger.query(operations.pause_profile(world.keys, P, by="ann@desk", seconds=60))
    assert gate.park("a1") == [False]
    assert 50 < world.seconds_to_live(world.keys.pause(P)) <= 60
    world.raw.pexpire(world.keys.pause(P), 1)
    assert eventually(lambda: gate.pump() == ["a1"])


@pytest.mark.parametrize("renews", [False, True], ids=["a pump first", "a renewal first"])
def test_nobody_waits_for_a_time_that_a_clock_set_back_has_left(world: World, *, renews: bool) -> None:
    gate, hour = Gate(world, Limits(concurrent=2, requests_per_minute=2)), 3_600_000
    gate.has_place("a1", "a2")
    gate.park("a3")
    world.ledger.run(operations.close_gate(world.keys, P, 5))
    base = gate.keys.gate(P)
    for field in ("seen", "closed"):
        world.raw.hincrby(base, field, hour)
    for job in ("a1", "a2"):
        world.raw.zincrby(f"{base}:places", hour, "/".join(at(job)))
    if renews:
        world.ledger.run(operations.keep_places(gate.keys, P, {at("a1"): "a1-t"}, lease=60))
    gate.pump()
    assert gate.enter("a3").seconds <= 62
    assert all(float(score) < (world.time() + 61) * 1000 for _, score in _scores(world, f"{base}:places"))


def _hash(world: World, name: bytes) -> dict[bytes, bytes]:
    """A hash's fields; of another key itself."""
    found: Any = world.raw.hgetall(name) if world.raw.type(name) == b"hash" else {name: b""}
    return dict(found)


def _scores(world: World, key: str) -> Sequence[Any]:
    found: Any = world.raw.zrange(key, 0, -1, withscores=True)
    return list(found)


def test_a_sweep_hands_out_what_time_has_made_free(world: World) -> None:
    gate = Gate(world, SHORT)
    gate.has_place(*(f"a{n}" for n in range(5)))
    for number in range(5):
        gate.leave(f"a{number}")
    gate.park("a5")
    assert eventually(lambda: [dispatch.job_id for dispatch in world.sweep().dispatches] == ["a5"], every=0.1)
    assert gate.enter("a5").has_place
    gate.leave("a5")
    world.raw.zadd(world.keys.gates, {P: 1})
    world.sweep()
    assert world.raw.zcard(world.keys.gates) == 0


def test_a_job_parked_at_a_gate_goes_on_before_its_time(world: World) -> None:
    job = world.submit()
    claimed = world.claim(job)
    parking = operations.release(
        world.keys, job.session_id, job.job_id, fence=claimed.fence, delay=60, gate=P
    )
    assert world.ledger.run(parking).dispatch is None
    assert world.ledger.run(parking).dispatch is None
    view = world.ledger.job(job.job_id)
    assert (view.gate, view.prospect) == (P, None)
    assert isinstance(world.try_claim(job, by="t2"), Claimed)
    assert world.ledger.job(job.job_id).gate is None


@pytest.mark.parametrize("how", ["cancel", "sweep", "expire"])
def test_who_ends_while_it_waits_leaves_the_line(world: World, how: str) -> None:
    gate, job = Gate(world, ONE), world.submit(deadline=1)
    place = (job.session_id, job.job_id)
    gate.has_place("a1")
    fence = world.claim(job).fence
    entering = operations.enter_gate(
        world.keys, P, place, token="t", line=operations.Line(name="a"), limits=ONE, lease=30, parked=True
    )
    world.ledger.run(entering)
    world.ledger.run(operations.release(world.keys, *place, fence=fence, delay=60, gate=P))
    gate.park("a2")
    assert world.ledger.gates()[0].waiting == 2
    if how == "cancel":
        world.ledger.cancel(*place)
        world.ledger.cancel(*place)
    elif how == "expire":
        assert eventually(lambda: world.ledger.expire(*place).early == 0)
    else:
        assert eventually(lambda: world.sweep().ended == 1)
    assert world.ledger.gates()[0].waiting == 1
    assert gate.enter("a2", parked=True).ahead == 0
    assert gate.leave("a1") == ["a2"]


def test_where_a_waiting_job_stands(world: World) -> None:
    gate, job = Gate(world, ONE), world.submit()
    gate.has_place("a1")
    gate.park("a2")
    place = (job.session_id, job.job_id)
    entering = operations.enter_gate(
        world.keys, P, place, token="t", line=operations.Line(name="a"), limits=ONE, lease=30, parked=True
    )
    world.ledger.run(entering)
    fence = world.claim(job).fence
    world.ledger.run(operations.release(world.keys, *place, fence=fence, delay=60, gate=P))
    prospect = world.ledger.job(job.job_id).prospect
    assert prospect is not None
    assert prospect.position == 1
    world.ledger.cancel(*place)
    view = world.ledger.job(job.job_id)
    assert (view.gate, view.prospect) == (None, None)
    late = world.try_claim(job, by="t2")
    assert not isinstance(late, Claimed)
    assert (late.reason, late.gate) == ("ended", P)


def test_a_claim_tells_at_which_gate_the_job_has_waited(world: World) -> None:
    job = world.submit()
    claimed = world.claim(job)
    assert claimed.gate == ""
    parking = operations.release(
        world.keys, job.session_id, job.job_id, fence=claimed.fence, delay=60, gate=P
    )
    world.ledger.run(parking)
    again = world.claim(job, by="t2")
    assert world.claim(job, by="t2").gate == again.gate == P
    world.ledger.run(operations.release(world.keys, job.session_id, job.job_id, fence=again.fence))
    assert world.claim(job, by="t3").gate == ""
