"""What follows a failed request to a provider."""

from hypothesis import given
from hypothesis import strategies as st

from palaver.shared.errors import AuthenticationError, PalaverError, RateLimitError, ServerError
from palaver.workers.policies import Again, Failure, GiveUp, Tries, after_failure


def failure(error: PalaverError, *, begun: bool = False, max_retries: int = 2, left: float = 3600) -> Failure:
    return Failure(error=error, begun=begun, max_retries=max_retries, seconds_left=left)


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
    assert decision.delay == 7.5


def test_nobody_waits_beyond_the_deadline() -> None:
    assert after_failure(Tries(), failure(RateLimitError(retry_after=60), left=30)) == GiveUp()


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


@given(
    models=st.integers(1, 4),
    budget=st.integers(0, 5),
    errors=st.lists(
        st.tuples(st.sampled_from([ServerError, AuthenticationError]), st.booleans()), max_size=40
    ),
)
def test_a_job_asks_no_more_than_its_models_and_its_budget_allow(
    models: int, budget: int, errors: list[tuple[type[PalaverError], bool]]
) -> None:
    tries, requests = Tries(models=models), 1
    for kind, begun in errors:
        decision = after_failure(tries, failure(kind(), begun=begun, max_retries=budget))
        if isinstance(decision, GiveUp):
            break
        tries, requests = decision.tries, requests + 1
        assert 0 <= tries.current < models
        assert decision.delay >= 0
    assert requests <= models + budget
