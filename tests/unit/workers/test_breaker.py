"""When a provider is not asked."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.shared import profiles
from palaver.shared.errors import CircuitOpenError, ProviderError, ServerError, ValidationError
from palaver.shared.messages import Message, Role
from palaver.workers.policies import Ask, Breakers, wrapped
from palaver.workers.policies.breaker import LONGEST_PAUSE, Admitted, Breaker, Refused, State, Verdict
from palaver.workers.providers import GenerationRequest

ANSWERED, FAILED, NOTHING = Verdict.ANSWERED, Verdict.FAILED, Verdict.NOTHING
OPTIONS = profiles.Breaker(failures=3, rate=0.5, requests=10, window=30.0, pause=5.0)


def admitted(breaker: Breaker, now: float) -> Admitted:
    answer = breaker.admit(now)
    assert isinstance(answer, Admitted)
    return answer


def state_of(breaker: Breaker) -> State:
    return breaker.state  # read anew: a type checker takes it for constant between two reads


def ask(breaker: Breaker, verdict: Verdict, now: float = 0.0) -> None:
    breaker.judge(admitted(breaker, now), verdict, now)


def opened(options: profiles.Breaker = OPTIONS) -> Breaker:
    breaker = Breaker(options)
    for _ in range(options.failures):
        ask(breaker, FAILED)
    assert state_of(breaker) is State.OPEN
    return breaker


def test_failures_in_succession_open_it_and_an_answer_between_does_not() -> None:
    breaker = Breaker(OPTIONS)
    for verdict in (FAILED, FAILED, ANSWERED, FAILED, NOTHING, FAILED):
        ask(breaker, verdict)
    assert state_of(breaker) is State.CLOSED
    ask(breaker, FAILED)
    assert state_of(breaker) is State.OPEN
    assert breaker.admit(1.0) == Refused(4.0)


def test_a_window_with_too_many_failures_opens_it() -> None:
    breaker = Breaker(OPTIONS)
    for number in range(9):
        ask(breaker, FAILED if number % 2 else ANSWERED, float(number))
    assert state_of(breaker) is State.CLOSED
    ask(breaker, FAILED, 9.0)
    assert state_of(breaker) is State.OPEN


def test_failures_that_have_left_the_window_do_not_count() -> None:
    breaker = Breaker(OPTIONS)
    for number in range(100):
        ask(breaker, FAILED if number % 2 else ANSWERED, number * 4.0)
    assert state_of(breaker) is State.CLOSED


def test_one_probe_finds_out_and_an_answer_closes_it() -> None:
    breaker = opened()
    probe = admitted(breaker, 5.0)
    assert isinstance(breaker.admit(5.0), Refused)
    breaker.judge(probe, ANSWERED, 6.0)
    assert state_of(breaker) is State.CLOSED
    ask(breaker, FAILED, 6.0)
    assert state_of(breaker) is State.CLOSED  # the count began anew


def test_each_probe_that_fails_doubles_the_pause() -> None:
    breaker, now, pauses = opened(), 0.0, []
    for _ in range(6):
        answer = breaker.admit(now)
        assert isinstance(answer, Refused)
        pauses.append(answer.seconds)
        now += answer.seconds
        ask(breaker, FAILED, now)
    assert pauses == [5.0, 10.0, 20.0, 40.0, LONGEST_PAUSE, LONGEST_PAUSE]


def test_a_probe_that_found_nothing_makes_room_for_another() -> None:
    breaker = opened()
    ask(breaker, NOTHING, 5.0)
    assert isinstance(breaker.admit(5.0), Admitted)


def test_requests_of_an_earlier_state_are_no_news() -> None:
    breaker = Breaker(OPTIONS)
    old = [admitted(breaker, 0.0) for _ in range(20)]
    for request in old[:3]:
        breaker.judge(request, FAILED, 0.0)
    for request in old[3:10]:
        breaker.judge(request, FAILED, 4.0)
    assert breaker.admit(4.0) == Refused(1.0)
    probe = admitted(breaker, 5.0)
    breaker.judge(old[10], ANSWERED, 5.0)
    assert state_of(breaker) is State.HALF_OPEN
    breaker.judge(old[11], NOTHING, 5.0)
    assert isinstance(breaker.admit(5.0), Refused)  # the probe is still under way
    breaker.judge(probe, FAILED, 5.0)
    assert breaker.admit(5.0) == Refused(10.0)


STEPS = st.one_of(
    st.just("ask"),
    st.tuples(st.sampled_from(Verdict), st.integers(0, 50)),
    st.floats(0, 100),
)


@given(steps=st.lists(STEPS, max_size=200), failures=st.integers(1, 4))
def test_what_holds_of_every_sequence(steps: list[object], failures: int) -> None:
    breaker = Breaker(OPTIONS.model_copy(update={"failures": failures}))
    now, asked, probes = 0.0, list[Admitted](), list[Admitted]()
    for step in steps:
        if isinstance(step, float):
            now += step
        elif isinstance(step, tuple) and asked:
            verdict, which = step
            request = asked.pop(which % len(asked))
            breaker.judge(request, verdict, now)
            probes = [probe for probe in probes if probe is not request]
        elif step == "ask":
            was, refused, answer = breaker.state, breaker.refusal(now), breaker.admit(now)
            assert refused == (answer if isinstance(answer, Refused) else None)
            if isinstance(answer, Refused):
                assert was is not State.CLOSED
                assert 0 < answer.seconds <= LONGEST_PAUSE
                continue
            asked.append(answer)
            if state_of(breaker) is State.HALF_OPEN:
                probes.append(answer)
        assert len(probes) <= 1
    for request in asked:
        breaker.judge(request, NOTHING, now)
    assert isinstance(breaker.admit(now + LONGEST_PAUSE), Admitted)  # it never stays closed to everybody


def test_a_profile_says_how() -> None:
    table = {"kind": "scripted", "breaker": {"failures": 2, "pause": 0.5}}
    catalog = profiles.Catalog.of(
        {"a": table, "b": {"kind": "scripted", "breaker": False}, "c": {"kind": "scripted"}}
    )
    assert catalog.profile("a").breaker == profiles.Breaker(failures=2, pause=0.5)
    assert catalog.profile("b").breaker is None
    assert catalog.profile("c").breaker == profiles.Breaker()
    with pytest.raises(ValidationError, match="breaker"):
        profiles.Catalog.of({"a": {"kind": "scripted", "breaker": {"failures": 0}}})


class Refusing:
    """A provider that is never there."""

    def __init__(self, breaker: profiles.Breaker | None) -> None:
        self.profile = profiles.Profile(name="p", kind="scripted", breaker=breaker)

    def takes(self, *_: object) -> None:
        raise ServerError(provider="p")


async def asked(breakers: Breakers, options: profiles.Breaker | None) -> type[Exception]:
    """How a request fails while the profile has these options."""
    request = GenerationRequest(model="m", messages=[Message(role=Role.USER, content="Hi")])

    async def answer(ask: Ask, provider: Any, request: GenerationRequest, sink: Any) -> None:
        provider.takes()

    ask = wrapped([breakers.look, breakers.admit, answer])
    with pytest.raises(ProviderError) as failed:
        await ask(cast("Any", Refusing(options)), request, cast("Any", SimpleNamespace(room=None)))
    return failed.type


async def test_a_profile_is_held_to_the_options_that_it_has_now() -> None:
    breakers, hasty = Breakers(), profiles.Breaker(failures=1, pause=60.0)
    assert [await asked(breakers, hasty) for _ in range(2)] == [ServerError, CircuitOpenError]
    patient = profiles.Breaker(failures=2, pause=60.0)
    found = [await asked(breakers, patient) for _ in range(3)]
    assert found == [ServerError, ServerError, CircuitOpenError]
    assert [await asked(breakers, None) for _ in range(2)] == [ServerError, ServerError]
    assert breakers.states == {}
