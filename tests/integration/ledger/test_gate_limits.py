"""The gate of a profile: what its windows of requests and tokens have room for."""

import time

from palaver.shared.ledger import operations
from palaver.shared.profiles import Limits
from tests.integration.ledger.gate_world import Gate, P, at, tokens
from tests.integration.ledger.world import World
from tests.servers import eventually


def test_requests_in_a_window(world: World) -> None:
    gate = Gate(world, Limits(requests_per_minute=75, window=4))
    began = time.monotonic()
    assert gate.has_place(*(f"a{n}" for n in range(6))) == [True] * 5 + [False]
    assert 0 < gate.enter("a5").seconds <= 4.1
    for number in range(5):
        assert gate.leave(f"a{number}") == []
    assert eventually(lambda: gate.enter("a5").has_place, every=0.1)
    assert time.monotonic() - began >= 4


def test_what_has_not_asked_its_provider_is_not_counted(world: World) -> None:
    """Whoever waits for what it was counted with is let in at once."""
    gate = Gate(world, Limits(requests_per_minute=2, tokens_per_minute=1000))
    size = operations.Size(prompt=400, most=100, guess=100, model="m")
    assert [gate.enter(job, size=size).has_place for job in ("a1", "a2")] == [True, True]
    assert not gate.enter("a3", size=size, parked=True).has_place
    assert gate.leave("a1", asked=False) == ["a3"]
    assert gate.leave("a1", asked=False) == ["a3"], "a repeat says the same"
    assert gate.enter("a3", size=size).has_place
    assert gate.leave("a2") == gate.leave("a3") == []
    assert not gate.enter("a4", size=size).has_place


def test_a_limit_below_one_a_window_makes_that_longer(world: World) -> None:
    gate = Gate(world, Limits(requests_per_minute=0.5))
    assert gate.has_place("a1", "a2") == [True, False]
    window, slice_seconds = 120, 2.048  # a fortieth at most, in powers of two
    assert 100 < gate.enter("a2").seconds <= window + slice_seconds


def test_tokens_count_when_the_request_began(world: World) -> None:
    gate = Gate(world, Limits(tokens_per_minute=1000))
    assert gate.enter("a1", size=tokens(200, 400)).has_place
    assert not gate.enter("a2", size=tokens(500, 0)).has_place
    gate.leave("a1", tokens=450, answer_tokens=250)
    assert gate.enter("a2").has_place
    assert gate.enter("a3", size=tokens(50, 0)).has_place
    assert not gate.enter("a4", size=tokens(1, 0)).has_place


def test_an_answer_that_nobody_bounds_is_expected_to_be_as_long_as_its_models_others(world: World) -> None:
    gate = Gate(world, Limits(tokens_per_minute=1000))
    assert [gate.enter(job, size=tokens(50)).has_place for job in ("a1", "a2", "a3")] == [True, True, False]
    # 50 tokens, and half as many more or less: so with 100 one is rather on the safe side.
    gate.leave("a1", tokens=100, answer_tokens=50)
    gate.leave("a2", tokens=100, answer_tokens=50)
    assert [gate.enter(job).has_place for job in ("a3", "a4", "a5")] == [True, True, True]
    assert gate.enter("b1", size=tokens(0, model="other")).has_place
    assert not gate.enter("b2", size=tokens(0, model="other")).has_place, "of that one nobody knows"


def test_what_a_request_wants_to_have_is_believed_up_to_a_part_of_the_limit(world: World) -> None:
    gate = Gate(world, Limits(tokens_per_minute=1000))
    gate.enter("a1", size=tokens(10, 10))
    gate.leave("a1", tokens=20, answer_tokens=10)
    assert gate.enter("a2", size=tokens(10, 10**9)).has_place
    assert gate.enter("a3", size=tokens(10, 240)).has_place
    assert gate.enter("b1", size=tokens(400, 10)).has_place
    assert not gate.enter("b2", size=tokens(100, 10)).has_place


def test_a_request_larger_than_all_there_is_has_all_there_is(world: World) -> None:
    gate = Gate(world, Limits(tokens_per_minute=1000))
    assert gate.enter("a1", size=tokens(5000, 0)).has_place
    assert not gate.enter("a2", size=tokens(1, 0)).has_place


def test_an_answer_far_longer_than_expected_keeps_others_waiting_for_one_window(world: World) -> None:
    gate = Gate(world, Limits(tokens_per_minute=1000, window=6))
    assert gate.enter("a1", size=tokens(100, 0)).has_place
    assert not gate.enter("a2", size=tokens(100, 0), parked=True).has_place
    leaving = operations.leave_gate(world.keys, P, at("a1"), token="a1-t", tokens=5000, answer_tokens=4900)
    handed = world.ledger.run(leaving)
    assert handed.dispatches == []
    assert 0 < handed.next_look / 1000 - time.time() < 6.5
