"""What a worker's process counts: per job and per request, never per chunk. Each count is an entry of a
dictionary; what they look like to Prometheus is made when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from palaver.shared.errors import PalaverError
from palaver.shared.jobs import Status
from palaver.shared.ledger import Swept
from palaver.shared.metrics import OTHER, Family, Histogram, Names, ProfileNames, Tally
from palaver.shared.metrics import catalogue as metrics
from palaver.shared.names import QUEUES
from palaver.shared.profiles import ModelRef
from palaver.shared.responses import Usage

if TYPE_CHECKING:  # it counts for whatever makes one
    from palaver.workers.ending import Outcome

__all__ = ["Counts"]

MOST_NAMES: Final = 100
"""Profiles, and models, that are told apart: a job may name any model."""

_QUEUES: Final = frozenset(queue.rpartition(".")[2] for queue in QUEUES)
_LEFT: Final = ("parked", "released")


class Counts:
    """One per process. Belongs to the loop of the streams; `families` may be asked from any thread."""

    def __init__(self) -> None:
        self._profiles = ProfileNames(MOST_NAMES)
        self._models = Names(MOST_NAMES)
        self._attempts = Tally(metrics.ATTEMPTS)
        self._queue_wait = Histogram(metrics.QUEUE_WAIT)
        self._jobs = Tally(metrics.JOBS)
        self._requests = Tally(metrics.REQUESTS)
        self._errors = Tally(metrics.ERRORS)
        self._refused = Tally(metrics.REFUSED)
        self._retries = Tally(metrics.RETRIES)
        self._first_token = Histogram(metrics.FIRST_TOKEN)
        self._request = Histogram(metrics.REQUEST)
        self._speed = Histogram(metrics.SPEED)
        self._tokens = Tally(metrics.TOKENS)
        self._cost = Tally(metrics.COST)
        self._gate_wait = Histogram(metrics.GATE_WAIT)
        self._gate_parked = Tally(metrics.GATE_PARKED)
        self._sweeps = Tally(metrics.SWEEPS)
        self._swept = Tally(metrics.SWEPT)
        self._takeovers = Tally(metrics.TAKEOVERS)
        self._renewals = Tally(metrics.RENEWALS)
        self._lag = Histogram(metrics.LAG)

    def profile(self, name: str) -> str:
        """What stands for a profile in a label."""
        return self._profiles.of(name)

    def claimed(self, queue: str, waited: float | None) -> None:
        """A job of this broker queue, whose message was there for so many seconds, if that is known."""
        name = queue.rpartition(".")[2]
        name = name if name in _QUEUES else OTHER
        self._attempts.add(name)
        if waited is not None:
            self._queue_wait.observe(waited, name)

    def ended(self, outcome: Outcome) -> None:
        """An attempt."""
        if outcome.status is Status.FAILED and outcome.refused:
            self._jobs.add("refused", outcome.code or "")
        elif outcome.status is not None:
            self._jobs.add(str(outcome.status), outcome.code or "")
        elif outcome.reason in _LEFT:
            self._jobs.add(str(outcome.reason), "")
        else:
            self._jobs.add("lost", outcome.reason or "")

    def requested(self, ref: ModelRef, seconds: float, first: float | None) -> None:
        """A provider, for so many seconds; the first token came after `first`, if one came."""
        profile = self.profile(ref.profile)
        self._requests.add(profile, self._models.of(ref.model))
        self._request.observe(seconds, profile)
        if first is not None:
            self._first_token.observe(first, profile)

    def failed(self, profile: str, error: PalaverError) -> None:
        """A request: the provider, or what was asked of it."""
        counted = self._refused if error.callers_fault else self._errors
        counted.add(self.profile(profile), error.code)

    def retried(self, profile: str) -> None:
        """A job goes on after a failure."""
        self._retries.add(self.profile(profile))

    def answered(self, profile: str, tokens: int | None, seconds: float) -> None:
        """A whole answer of so many tokens came in so many seconds from its first."""
        if tokens and seconds > 0:
            self._speed.observe(tokens / seconds, self.profile(profile))

    def spent(self, _tenant: str | None, ref: ModelRef, usage: Usage) -> None:
        """On one request."""
        profile, model = self.profile(ref.profile), self._models.of(ref.model)
        self._tokens.add(profile, model, "input", by=usage.input_tokens or 0)
        self._tokens.add(profile, model, "output", by=usage.output_tokens or 0)
        if usage.cost:
            self._cost.add(profile, model, by=usage.cost)

    def passed_gate(self, profile: str, seconds: float) -> None:
        """A request has its place, after so many seconds."""
        self._gate_wait.observe(seconds, self.profile(profile))

    def parked_at_gate(self, profile: str) -> None:
        """A job waits in the ledger."""
        self._gate_parked.add(self.profile(profile))

    def swept(self, swept: Swept | None) -> None:
        """A sweep; None: it failed."""
        self._sweeps.add("failed" if swept is None else "done")
        if swept is not None:
            self._takeovers.add(by=swept.freed)
            for action, jobs in (
                ("looked", swept.looked),
                ("sent", len(swept.dispatches)),
                ("ended", swept.ended),
            ):
                self._swept.add(action, by=jobs)

    def renewed(self, result: str) -> None:
        """A lease: `renewed`, `late`, `lost`, `failed`."""
        self._renewals.add(result)

    def published(self, seconds: float) -> None:
        """So old was the oldest word of a batch when a subscriber had the batch."""
        self._lag.observe(seconds)

    def families(self) -> Iterator[Family]:
        """All that was counted."""
        for counted in vars(self).values():
            if isinstance(counted, Tally | Histogram):
                yield counted.metric, counted.samples()
