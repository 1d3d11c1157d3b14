"""Whether a failed request to a provider is followed by another one: to which model, and how long from now.

Pure: a failure and what was tried so far go in, a decision comes out, and the runner carries it out. Nothing
below the runner retries.

- A model of the fallback list that was not asked yet is asked at once; that costs no retry.
- Otherwise a retryable error is followed by another request while the job's `max_retries` last: after the
  longer of `Retry-After` and an exponential pause with full jitter.
- An error that is not retryable takes its model out of the list.
- Once something of the answer was written, only its own model goes on with it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from palaver.shared.errors import PalaverError

__all__ = ["Again", "Failure", "GiveUp", "Tries", "after_failure"]

FIRST_PAUSE = 0.1  # seconds; the bound of the first pause, doubled with each retry
LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """What a job has asked of its models so far."""

    models: int = 1  # length of the fallback list
    current: int = 0  # position of the model that is being asked
    asked: frozenset[int] = frozenset({0})
    refused: frozenset[int] = frozenset()  # models whose error will not pass
    retries: int = 0  # spent of `max_retries`, earlier attempts included


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failed request."""

    error: PalaverError
    begun: bool  # something of the answer was already written
    max_retries: int
    seconds_left: float  # until the job's deadline


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
    if failure.begun:
        return _retry(tries, failure, chance) if failure.error.retryable else GiveUp()
    if not failure.error.retryable:
        tries = replace(tries, refused=tries.refused | {tries.current})
    fresh = [model for model in range(tries.models) if model not in tries.asked]
    if fresh:
        return Again(0.0, replace(tries, current=fresh[0], asked=tries.asked | {fresh[0]}))
    hopeful = [model for model in range(tries.models) if model not in tries.refused]
    if not hopeful:
        return GiveUp()
    following = next((model for model in hopeful if model > tries.current), hopeful[0])
    return _retry(replace(tries, current=following), failure, chance)


def _retry(tries: Tries, failure: Failure, chance: Callable[[], float]) -> Again | GiveUp:
    if tries.retries >= failure.max_retries:
        return GiveUp()
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(tries.retries, 16)) * chance()
    delay = max(pause, failure.error.retry_after or 0.0)
    if delay >= failure.seconds_left:
        return GiveUp()
    return Again(delay, replace(tries, retries=tries.retries + 1))
