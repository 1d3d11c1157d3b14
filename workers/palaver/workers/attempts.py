"""Which model a job asks next, and when: the fallback list and the decisions of `policies.retry` over all
runs of a job.

What must not be forgotten when a worker dies, hands over or parks the job is in `note`; the ledger keeps it.
"""

import random
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from typing import Any

import orjson

from palaver.shared.errors import CircuitOpenError, PalaverError
from palaver.shared.frames import forget_frames
from palaver.shared.ledger import Claimed
from palaver.shared.profiles import ModelRef
from palaver.workers.policies import PATIENCE, Failure, GiveUp, Tries, after_failure, pass_over

__all__ = ["Attempts"]


class Attempts:
    """One run's hand on the job's list of models. `clock` is wall time: it is compared over workers."""

    def __init__(
        self,
        models: Sequence[ModelRef],
        claimed: Claimed,
        *,
        max_retries: int,
        patience: float = PATIENCE,
        paused: Container[str] = frozenset(),
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._models = models
        self._max_retries = max_retries
        self._patience = patience
        self._paused = paused  # profiles that an operator has paused
        self._clock = clock
        self._chance = chance
        self._told: PalaverError | None = None  # the last error that a provider gave
        self._tries = _restored([str(model) for model in models], claimed.tries)
        self._tries = replace(self._tries, retries=claimed.failures)

    @property
    def ref(self) -> ModelRef:
        """The model to ask now."""
        return self._models[self._tries.current]

    @property
    def elsewhere(self) -> bool:
        """Whether there is a model of another profile that may be asked at once, and for nothing."""
        tries, now = self._tries, self._clock()
        passed_over = tries.refused | tries.asked | self._paused_models()
        return any(
            model.profile != self.ref.profile
            and place not in passed_over
            and tries.closed.get(place, now) <= now
            for place, model in enumerate(self._models)
        )

    @property
    def retries(self) -> int:
        """What is spent of `max_retries`: moves to a model that was not asked yet are free."""
        return self._tries.retries

    def pass_over(self) -> None:
        """Have a model whose profile is paused make way for one whose is not, if there is one."""
        self._tries = pass_over(self._tries, self._paused_models(), self._clock())

    def after(self, error: PalaverError, *, begun: bool, seconds_left: float) -> float:
        """How many seconds from now `ref`, another model perhaps, is asked again.

        Raises the error with which the job ends instead: what a provider said comes before a breaker's word.
        """
        forget_frames(error)  # it is kept, and they are those of the request, and of who keeps it
        if not isinstance(error, CircuitOpenError):
            self._told = error
        failure = Failure(
            error=error,
            begun=begun,
            max_retries=self._max_retries,
            seconds_left=seconds_left,
            now=self._clock(),
            patience=self._patience,
            paused=self._paused_models(),
        )
        decision = after_failure(self._tries, failure, self._chance)
        if isinstance(decision, GiveUp):
            raise self._told or error
        self._tries = decision.tries
        return decision.delay

    def _paused_models(self) -> frozenset[int]:
        return frozenset(place for place, model in enumerate(self._models) if model.profile in self._paused)

    def note(self) -> bytes:
        """The place in the list, for the next run; by name, as another worker's list may differ."""
        tries, names = self._tries, [str(model) for model in self._models]
        return orjson.dumps(
            {
                "current": names[tries.current],
                "tried": [names[model] for model in sorted(tries.tried)],
                "asked": [names[model] for model in sorted(tries.asked)],
                "refused": [names[model] for model in sorted(tries.refused)],
                "closed": {names[model]: until for model, until in tries.closed.items()},
                "credit": tries.credit,
                "waited": tries.waited,
            }
        )


def _restored(names: list[str], note: bytes) -> Tries:
    """The tries of a note; a note that another version wrote, or that fits no model, is none."""
    try:
        kept: dict[str, Any] = orjson.loads(note)
        places = {name: place for place, name in enumerate(names)}
        tried, asked, refused = (
            frozenset(places[name] for name in kept[group] if name in places)
            for group in ("tried", "asked", "refused")
        )
        current = places[kept["current"]]
        return Tries(
            models=len(names),
            current=current,
            tried=tried | {current},
            asked=asked,
            refused=refused - {current},
            closed={places[name]: float(until) for name, until in kept["closed"].items() if name in places},
            credit=bool(kept["credit"]),
            waited=float(kept["waited"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return Tries(models=len(names))
