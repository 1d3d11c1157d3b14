"""How long a gate is kept: at least as long as somebody waits there, or has a place."""

from typing import Any

import pytest

from palaver.shared.ledger import operations
from tests.integration.ledger.gate_world import Gate, P
from tests.integration.ledger.world import World

DAY = 86_400.0  # seconds


@pytest.fixture
def gate(world: World) -> Gate:
    """A gate with one place, whose lines have a bound of their own."""
    return Gate(world)


def enter(gate: Gate, job: str, *, parked: bool = False) -> bool:
    return gate.enter(job, line=operations.Line(name=job[0], most=3), parked=parked).has_place


def names(gate: Gate) -> list[str]:
    """The keys of the gate."""
    found: Any = gate.world.raw.keys(f"{gate.keys.gate(P)}*")
    return [name.decode() for name in found]


def let_pass_nearly_all(gate: Gate) -> None:
    """Of the time for which the gate is kept."""
    for name in names(gate):
        gate.world.raw.pexpire(name, 5_000)


def shortest(gate: Gate) -> float:
    """So many seconds at least is all of it kept."""
    return min(map(gate.world.seconds_to_live, names(gate)))


def test_a_gate_is_kept_while_somebody_asks(gate: Gate) -> None:
    enter(gate, "a1")
    enter(gate, "a2", parked=True)
    assert f"{gate.keys.gate(P)}:line:=a" in names(gate)
    let_pass_nearly_all(gate)
    enter(gate, "a2", parked=True)
    assert shortest(gate) > DAY
    assert gate.leave("a1") == ["a2"]


def test_a_gate_is_kept_while_somebody_keeps_a_place(gate: Gate) -> None:
    enter(gate, "a1")
    let_pass_nearly_all(gate)
    gate.keep("a1")
    assert shortest(gate) > DAY
    assert not enter(gate, "a2")


def test_who_has_waited_in_a_line_that_is_gone_comes_anew(gate: Gate) -> None:
    """Nobody in it has asked for more than a day, while others did."""
    enter(gate, "b1")
    for job in ("a1", "a2"):
        enter(gate, job, parked=True)
    gate.world.raw.delete(f"{gate.keys.gate(P)}:line:=a")
    assert gate.leave("b1") == []
    assert enter(gate, "b2")
    assert [enter(gate, job, parked=True) for job in ("a2", "a1")] == [False, False]
    assert [gate.enter(job, parked=True).ahead for job in ("a2", "a1")] == [0, 1]
    assert gate.leave("b2") == ["a2"]
