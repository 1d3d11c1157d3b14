"""The list of models over all runs of a job."""

from collections.abc import Container
from dataclasses import replace

import pytest

from palaver.shared.errors import AuthenticationError, CircuitOpenError, PalaverError, ServerError
from palaver.shared.ledger import Claimed
from palaver.shared.profiles import ModelRef
from palaver.workers.attempts import Attempts
from tests.unit.workers.ledgers import claimed

A, B, C = (ModelRef("p", name) for name in "abc")
UP, DOWN, DOWN_TOO = ModelRef("up", "m"), ModelRef("down", "m"), ModelRef("down", "other")


def attempts(
    *models: ModelRef,
    of: Claimed | None = None,
    max_retries: int = 2,
    paused: Container[str] = frozenset({"down"}),
) -> Attempts:
    job = of or claimed("j")
    return Attempts(
        models, job, max_retries=max_retries, clock=lambda: 1000.0, chance=lambda: 1.0, paused=paused
    )


def fail(run: Attempts, error: PalaverError, *, begun: bool = False, left: float = 3600) -> float:
    return run.after(error, begun=begun, seconds_left=left)


def taken_over(run: Attempts, *models: ModelRef) -> Attempts:
    return attempts(*models, of=replace(claimed("j"), failures=run.retries, tries=run.note()))


def test_free_moves_are_not_charged_after_a_takeover() -> None:
    run = attempts(A, B, C)
    fail(run, AuthenticationError())
    fail(run, ServerError())
    again = taken_over(run, A, B, C)
    assert (again.ref, again.retries) == (C, 0)
    asked = []
    for _ in range(2):
        fail(again, ServerError())
        asked.append(again.ref)
    with pytest.raises(ServerError):
        fail(again, ServerError())
    assert asked == [B, C]  # two retries, none of them of the model that refused


def test_retries_are_charged_over_a_takeover() -> None:
    run = attempts(A)
    fail(run, ServerError())
    again = taken_over(run, A)
    fail(again, ServerError())
    with pytest.raises(ServerError):
        fail(again, ServerError())


def test_another_list_keeps_what_is_known_of_its_models() -> None:
    run = attempts(A, B)
    fail(run, AuthenticationError())
    assert taken_over(run, B, C).ref == B
    assert taken_over(run, C).ref == C


@pytest.mark.parametrize("note", [b"", b"{}", b"[]", b"1", b'{"current": "p/a", "tried": 1}', b"no JSON"])
def test_a_note_that_cannot_be_read_is_none(note: bytes) -> None:
    assert attempts(A, B, of=replace(claimed("j"), tries=note)).ref == A


def test_a_job_ends_with_what_a_provider_said() -> None:
    run = attempts(A)
    fail(run, ServerError("the provider's own"))
    with pytest.raises(ServerError, match="own"):
        fail(run, CircuitOpenError(retry_after=50), left=20)


def test_a_job_that_never_asked_ends_with_the_breakers_word() -> None:
    with pytest.raises(CircuitOpenError) as caught:
        fail(attempts(A, max_retries=0), CircuitOpenError(retry_after=50))
    assert (caught.value.retryable, caught.value.retry_after) == (True, 50)


def test_a_paused_model_makes_way_and_nothing_is_spent() -> None:
    run = attempts(DOWN, DOWN_TOO, UP)
    run.pass_over()
    assert (run.ref, run.retries) == (UP, 0)


def test_with_all_models_paused_the_job_stays_where_it_is() -> None:
    run = attempts(DOWN, DOWN_TOO)
    run.pass_over()
    assert run.ref == DOWN


def test_a_model_that_goes_on_costs_its_retries_before_a_paused_one_is_waited_for() -> None:
    run = attempts(DOWN, UP)
    run.pass_over()
    asked = []
    for _ in range(3):
        fail(run, ServerError())
        run.pass_over()
        asked.append(run.ref)
    assert asked == [UP, UP, DOWN]
    assert run.retries == 2


def test_a_fallback_that_is_paused_is_come_to_once_for_free() -> None:
    paused = {"down"}
    run = attempts(UP, DOWN, max_retries=0, paused=paused)
    fail(run, AuthenticationError())
    assert run.ref == DOWN
    paused.clear()
    with pytest.raises(ServerError):
        fail(run, ServerError())


def test_there_is_another_model_to_ask_at_once() -> None:
    other = ModelRef("q", "a")
    assert not attempts(A).elsewhere
    assert not attempts(A, B).elsewhere, "of the same profile, behind the same gate"
    run = attempts(A, other)
    assert run.elsewhere
    fail(run, CircuitOpenError(retry_after=9))
    assert run.ref == other
    assert not run.elsewhere, "the first is closed"
    run = attempts(A, other)
    fail(run, AuthenticationError())
    assert not run.elsewhere, "the first has refused"
