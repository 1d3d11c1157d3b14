"""Whether a failed request to a provider is followed by another one: to which model, and how long from now.

Pure: a failure and what was tried so far go in, a decision comes out, and the runner carries it out. Nothing
below the runner retries.

- A model of the fallback list that was not asked yet is asked at once; that costs no retry.
- Otherwise a retryable error is followed by another request while the job's `max_retries` last: after an
  exponential pause with full jitter, to the next model of the list that may be asked by then.
- `Retry-After` closes the model that said it, and no other, until that time; the jitter comes on top, so that
  those who were told the same time do not come together.
- An error that is not retryable takes its model out of the list.
- A model that may cost more than its tenant has left, or whose price nobody knows, is out of it too; when all
  is spent, no other is asked.
- A request that has written something of the answer is followed by one to its own model only.
- A model that a circuit breaker refuses was not asked: the next one is tried at once, and no retry is spent.
  When every model is closed, a job that may be retried waits for the first of them, up to `PATIENCE` in all
  (a line of a batch, which has hours, until its deadline); a job with `max_retries` 0 fails at once.
- A model whose profile an operator has paused is left out as long as another one may be asked; if there is
  none it is waited for, which costs nothing.
- Nobody waits beyond the job's deadline.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from palaver.shared.errors import CircuitOpenError, PalaverError, SpendLimitError

__all__ = ["PATIENCE", "Again", "Failure", "GiveUp", "Tries", "after_failure", "pass_over"]

FIRST_PAUSE: Final = 0.1  # seconds; the bound of the first pause, doubled with each retry
LONGEST_PAUSE: Final = 30.0
PATIENCE: Final = 60.0
"""Seconds that a job waits for providers that nobody may ask, in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """What a job has asked of its models so far."""

    models: int = 1  # length of the fallback list
    current: int = 0  # position of the model that is being asked
    tried: frozenset[int] = frozenset({0})  # models that the job came to, also if a breaker refused them
    asked: frozenset[int] = frozenset()  # those that failed a request
    refused: frozenset[int] = frozenset()  # those whose error will not pass
    closed: Mapping[int, float] = field(default_factory=dict)  # when one may be asked again, by Failure.now
    retries: int = 0  # spent of `max_retries`, earlier attempts included
    credit: bool = False  # one was spent, and no request made for it so far
    waited: float = 0.0  # seconds of `PATIENCE`


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failed request."""

    error: PalaverError
    begun: bool  # it has written something of the answer
    max_retries: int
    seconds_left: float  # until the job's deadline
    now: float = 0.0  # seconds of any clock
    patience: float = PATIENCE
    paused: frozenset[int] = frozenset()  # models that are not to be asked now


@dataclass(frozen=True, slots=True)
class Again:
    """Ask `tries.current`, `delay` seconds from now."""

    delay: float
    tries: Tries


@dataclass(frozen=True, slots=True)
class GiveUp:
    """End the job with the error."""


def after_failure(
    tries: Tries, failure: Failure, chance: Callable[[], float] = random.random
) -> Again | GiveUp:
    """Decide what follows a failure; `chance` gives numbers from 0 to 1 for the jitter."""
    error = failure.error
    if isinstance(error, SpendLimitError) and error.is_final:
        return GiveUp()
    unasked = isinstance(error, CircuitOpenError)
    closed_for = error.retry_after or (FIRST_PAUSE if unasked else 0.0)
    if closed_for:
        tries = replace(tries, closed={**tries.closed, tries.current: failure.now + closed_for})
    if not unasked:
        tries = replace(tries, asked=tries.asked | {tries.current}, credit=False)
    if failure.begun:
        return _retry(tries, failure, chance) if error.retryable else GiveUp()
    if not error.retryable:
        tries = replace(tries, refused=tries.refused | {tries.current})
    fresh = [model for model in range(tries.models) if model not in tries.tried | failure.paused]
    if fresh:
        return Again(0.0, _come_to(tries, fresh[0]))
    return _move(tries, failure, chance)


def pass_over(tries: Tries, paused: frozenset[int], now: float) -> Tries:
    """Before a request: from a paused model to one that is not, and may be asked without spending a retry, if
    there is such a one.
    """
    if tries.current not in paused:
        return tries
    left_out = tries.refused | paused | (frozenset() if tries.credit else tries.asked)
    free = [model for model in range(tries.models) if model not in left_out]
    return _come_to(tries, _next(tries, free, now)) if free else tries


def _come_to(tries: Tries, model: int) -> Tries:
    return replace(tries, current=model, tried=tries.tried | {model})


def _move(tries: Tries, failure: Failure, chance: Callable[[], float]) -> Again | GiveUp:
    """Go on to a model that the job has come to before."""
    payable = tries.credit or tries.retries < failure.max_retries
    hopeful = [
        model
        for model in range(tries.models)
        if model not in tries.refused and (payable or model not in tries.asked)
    ]
    if not hopeful:
        return GiveUp()
    open_now = [model for model in hopeful if model not in failure.paused]
    following = _come_to(tries, _next(tries, open_now or hopeful, failure.now))
    if following.current in tries.asked and not tries.credit:
        return _retry(following, failure, chance)
    return _wait(following, failure, chance)


def _next(tries: Tries, hopeful: list[int], now: float) -> int:
    """The first that opens; of those that are open, the next in the list."""

    def order(model: int) -> tuple[float, int]:
        return _closed_for(tries, model, now), (model - tries.current - 1) % tries.models

    return min(hopeful, key=order)


def _closed_for(tries: Tries, model: int, now: float) -> float:
    return max(0.0, tries.closed.get(model, now) - now)


def _retry(tries: Tries, failure: Failure, chance: Callable[[], float]) -> Again | GiveUp:
    if tries.retries >= failure.max_retries:
        return GiveUp()
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(tries.retries, 16)) * chance()
    delay = _closed_for(tries, tries.current, failure.now) + pause
    if delay >= failure.seconds_left:
        return GiveUp()
    return Again(delay, replace(tries, retries=tries.retries + 1, credit=True))


def _wait(tries: Tries, failure: Failure, chance: Callable[[], float]) -> Again | GiveUp:
    """Go on without spending a retry: no request was made for the last one, or none to this model ever."""
    closed = _closed_for(tries, tries.current, failure.now)
    delay = closed + FIRST_PAUSE * chance() if closed else 0.0
    # Each move counts, be the wait ever so short: a job does not knock without end.
    waited = tries.waited + max(delay, FIRST_PAUSE)
    if waited > failure.patience or delay >= failure.seconds_left or (closed and failure.max_retries == 0):
        return GiveUp()
    return Again(delay, replace(tries, waited=waited))
