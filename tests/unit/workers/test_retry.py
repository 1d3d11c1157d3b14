"""What follows a failed request to a provider."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.shared.errors import (
    AuthenticationError,
    CircuitOpenError,
    PalaverError,
    RateLimitError,
    ServerError,
    SpendLimitError,
)
from palaver.workers.policies import Again, Failure, GiveUp, Tries, after_failure
from palaver.workers.policies.retry import PATIENCE


def failure(
    error: PalaverError, *, begun: bool = False, max_retries: int = 2, left: float = 3600, now: float = 0
) -> Failure:
    return Failure(error=error, begun=begun, max_retries=max_retries, seconds_left=left, now=now)


def test_a_retryable_error_is_retried_until_the_budget_is_spent() -> None:
    tries, requests = Tries(), 1
    while isinstance(decision := after_failure(tries, failure(ServerError())), Again):
        tries, requests = decision.tries, requests + 1
    assert requests == 3


def test_the_pause_doubles_and_has_full_jitter() -> None:
    longest = [
        after_failure(Tries(retries=n), failure(ServerError(), max_retries=99), lambda: 1.0)
        for n in range(12)
    ]
    delays = [decision.delay for decision in longest if isinstance(decision, Again)]
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == 30.0
    shortest = after_failure(Tries(retries=5), failure(ServerError(), max_retries=99), lambda: 0.0)
    assert isinstance(shortest, Again)
    assert shortest.delay == 0.0


def test_retry_after_is_honoured() -> None:
    decision = after_failure(Tries(), failure(RateLimitError(retry_after=7.5)), lambda: 1.0)
    assert isinstance(decision, Again)
    assert decision.delay == pytest.approx(7.6)  # and the jitter


def test_nobody_waits_beyond_the_deadline() -> None:
    assert after_failure(Tries(), failure(RateLimitError(retry_after=60), left=30)) == GiveUp()


def test_a_model_that_is_too_dear_makes_way_for_the_next_until_all_is_spent() -> None:
    too_dear = SpendLimitError(spent=9.5, limit=10, resets_at=1.0)
    unpriced, all_spent = SpendLimitError(), SpendLimitError(spent=10, limit=10, resets_at=1.0)
    for error in (too_dear, unpriced):
        decision = after_failure(Tries(models=2), failure(error))
        assert isinstance(decision, Again)
        assert (decision.delay, decision.tries.current, decision.tries.retries) == (0, 1, 0)
        assert after_failure(decision.tries, failure(error)) == GiveUp(), "none of them is asked again"
    assert after_failure(Tries(models=2), failure(all_spent)) == GiveUp()


def test_an_error_that_will_not_pass_is_not_retried() -> None:
    assert after_failure(Tries(), failure(AuthenticationError())) == GiveUp()


def test_the_next_model_is_asked_at_once_and_without_budget() -> None:
    for error in (AuthenticationError(), ServerError()):
        decision = after_failure(Tries(models=2), failure(error, max_retries=0))
        assert isinstance(decision, Again)
        assert (decision.delay, decision.tries.current, decision.tries.retries) == (0.0, 1, 0)


def test_a_refusing_model_is_not_asked_again() -> None:
    asked = []
    decision = after_failure(Tries(models=2), failure(AuthenticationError()))
    while isinstance(decision, Again):
        asked.append(decision.tries.current)
        decision = after_failure(decision.tries, failure(ServerError()))
    assert asked == [1, 1, 1]


def test_all_models_take_turns_while_the_budget_lasts() -> None:
    asked, tries = [0], Tries(models=3)
    while isinstance(decision := after_failure(tries, failure(ServerError(), max_retries=4)), Again):
        tries = decision.tries
        asked.append(tries.current)
    assert asked == [0, 1, 2, 0, 1, 2, 0]


def test_once_begun_the_same_model_goes_on() -> None:
    decision = after_failure(Tries(models=2), failure(ServerError(), begun=True))
    assert isinstance(decision, Again)
    assert (decision.tries.current, decision.tries.retries) == (0, 1)
    assert after_failure(Tries(models=2), failure(AuthenticationError(), begun=True)) == GiveUp()


def again(tries: Tries, failed: Failure) -> Again:
    decision = after_failure(tries, failed, lambda: 1.0)
    assert isinstance(decision, Again)
    return decision


def test_retry_after_closes_the_model_that_said_it_and_no_other() -> None:
    first = again(Tries(models=2), failure(RateLimitError(retry_after=20), now=100))
    second = again(first.tries, failure(ServerError(), now=101))
    assert second.tries.current == 1
    assert second.delay == pytest.approx(0.1)  # not the one that is closed
    third = again(second.tries, failure(RateLimitError(retry_after=60), now=102))
    assert third.tries.current == 0
    assert third.delay == pytest.approx(18.2)


def test_an_open_breaker_makes_the_tries_skip_to_the_next_model_at_once() -> None:
    skipped = again(Tries(models=2), failure(CircuitOpenError(retry_after=5), max_retries=0))
    assert (skipped.delay, skipped.tries.current, skipped.tries.retries) == (0.0, 1, 0)


def test_an_open_breaker_is_waited_for_without_spending_a_retry() -> None:
    waited = again(Tries(), failure(CircuitOpenError(retry_after=5), max_retries=1))
    assert waited.delay == pytest.approx(5.1)
    assert waited.tries.retries == 0


def test_a_job_without_retries_or_time_does_not_wait_for_a_breaker() -> None:
    opened = CircuitOpenError(retry_after=5)
    assert after_failure(Tries(), failure(opened, max_retries=0)) == GiveUp()
    assert after_failure(Tries(), failure(opened, left=4)) == GiveUp()
    assert after_failure(Tries(waited=PATIENCE - 1), failure(opened)) == GiveUp()
    patient = replace(failure(opened), patience=math.inf)
    assert isinstance(after_failure(Tries(waited=PATIENCE), patient), Again), "a line of a batch"


def test_a_breaker_gives_no_request_away() -> None:
    """The model before it has failed: asking that one again is a retry, with its pause."""
    second = again(Tries(models=2), failure(ServerError()))
    third = again(second.tries, failure(CircuitOpenError(retry_after=5)))
    assert (third.tries.current, third.tries.retries) == (0, 1)
    assert third.delay == pytest.approx(0.1)


def test_a_retry_that_a_breaker_stopped_is_not_lost() -> None:
    paid = again(Tries(), failure(ServerError(), max_retries=1))
    stopped = again(paid.tries, failure(CircuitOpenError(retry_after=5), max_retries=1))
    assert (stopped.tries.current, stopped.tries.retries) == (0, 1)
    assert stopped.delay == pytest.approx(5.1)
    assert after_failure(stopped.tries, failure(ServerError(), max_retries=1)) == GiveUp()


ERRORS = st.sampled_from(
    [ServerError(), AuthenticationError(), RateLimitError(retry_after=7.0), CircuitOpenError(retry_after=4.0)]
)


@given(
    models=st.integers(1, 4),
    budget=st.integers(0, 5),
    outcomes=st.lists(st.tuples(ERRORS, st.booleans(), st.floats(0, 30)), min_size=1, max_size=200),
    chance=st.floats(0, 1),
)
def test_what_holds_of_every_sequence_of_failures(
    models: int, budget: int, outcomes: list[tuple[PalaverError, bool, float]], chance: float
) -> None:
    tries, now, requests, waited = Tries(models=models), 0.0, 0, 0.0
    refused: set[int] = set()
    closed: dict[int, float] = {}
    for step in range(2000):
        error, begun, seconds = outcomes[step % len(outcomes)]
        unasked = isinstance(error, CircuitOpenError)
        begun, asked = begun and not unasked, tries.current
        assert asked not in refused
        assert unasked or now >= closed.get(asked, 0.0) - 1e-6
        requests += not unasked
        now += seconds
        if error.retry_after and not unasked:
            closed[asked] = now + error.retry_after
        if not error.retryable and not begun:
            refused.add(asked)
        decision = after_failure(
            tries, failure(error, begun=begun, max_retries=budget, now=now), lambda: chance
        )
        if isinstance(decision, GiveUp):
            break
        if decision.tries.retries == tries.retries:
            waited += decision.delay
        assert not begun or decision.tries.current == asked
        tries, now = decision.tries, now + decision.delay
    else:
        raise AssertionError("it never gave up")
    assert requests <= models + budget
    assert waited <= PATIENCE
