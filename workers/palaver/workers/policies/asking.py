"""What stands between the runner and its providers: policies, each wrapped around the next, the providers
innermost. The runner asks; it knows none of them.

A policy is made once per worker process and is called once per request. It may refuse the request by raising,
and changes no part that passes.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial, reduce
from typing import Final, Protocol

from palaver.shared.errors import CircuitOpenError, PalaverError, RateLimitError, TimeoutError
from palaver.shared.profiles import SEALED
from palaver.workers.event_log import event_logger
from palaver.workers.policies.breaker import Admitted, Breaker, Refused, State, Verdict
from palaver.workers.providers import (
    FinishPart,
    GenerationRequest,
    Part,
    Provider,
    ReasoningDelta,
    Sink,
    TextDelta,
    ToolCallPart,
    guarded,
)

__all__ = ["Ask", "Breakers", "Policy", "verdict_on", "wrapped"]

logger = event_logger("palaver.workers.breaker")

KEPT: Final = 1_000
"""Breakers of sealed profiles."""

Ask = Callable[[Provider, GenerationRequest, Sink], Awaitable[None]]
"""One request to a provider, as `Provider.answer`."""

_ANSWERS = (TextDelta, ReasoningDelta, ToolCallPart, FinishPart)


class Policy(Protocol):
    """Middleware of requests."""

    def __call__(
        self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink
    ) -> Awaitable[None]:
        """Do what is to be done about one request, and ask."""
        ...


def wrapped(policies: Sequence[Policy]) -> Ask:
    """The policies around the providers, the first outermost."""
    innermost: Ask = _ask
    return reduce(lambda ask, policy: partial(policy, ask), reversed(policies), innermost)


async def _ask(provider: Provider, request: GenerationRequest, sink: Sink) -> None:
    with guarded(provider, "answer"):
        await provider.answer(request, sink)


class Breakers:
    """The breakers of this process's profiles: two policies, with whatever requests wait for between them.
    `look` refuses one that need not begin to wait, `admit` is asked when it is about to be made: so the one
    that finds out whether a provider answers again waits for nothing else. Both raise CircuitOpenError.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._breakers: dict[str, Breaker] = {}

    @property
    def states(self) -> dict[str, State]:
        """Of the profiles that were asked; any thread may look."""
        return {name: breaker.state for name, breaker in list(self._breakers.items())}

    def look(self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink) -> Awaitable[None]:
        """A policy, see `Policy`."""
        breaker = self._known(provider)
        refused = None if breaker is None else breaker.refusal(self._clock())
        if refused is not None:
            raise _error(provider, refused)
        return ask(provider, request, sink)

    async def admit(self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink) -> None:
        """A policy, see `Policy`."""
        admission = self._admission(provider)
        try:
            await ask(provider, request, _Watched(sink, admission))
        except PalaverError as error:
            admission.judge(verdict_on(error, request))
            raise
        finally:
            admission.judge(Verdict.NOTHING)

    def _admission(self, provider: Provider) -> "_Admission":
        name, options = provider.profile.name, provider.profile.breaker
        if options is None:
            self._breakers.pop(name, None)
            return _Admission(name, None, None, self._clock)
        breaker = self._known(provider)
        if breaker is None:
            breaker = self._breakers[name] = Breaker(options)
            self._forget_oldest()
        answer = breaker.admit(self._clock())
        if isinstance(answer, Refused):
            raise _error(provider, answer)
        return _Admission(name, breaker, answer, self._clock)

    def _known(self, provider: Provider) -> Breaker | None:
        """The profile's; none for one that has other options than when it was asked last."""
        profile = provider.profile
        breaker = self._breakers.get(profile.name)
        return breaker if breaker is not None and breaker.options == profile.breaker else None

    def _forget_oldest(self) -> None:
        """There may be a sealed profile for each of very many keys."""
        sealed = [name for name in self._breakers if name.startswith(SEALED)]
        for name in sealed[: max(0, len(sealed) - KEPT)]:
            del self._breakers[name]


def _error(provider: Provider, refused: Refused) -> CircuitOpenError:
    name, seconds = provider.profile.name, refused.seconds
    told = f"{name} failed too often; it is not asked for {seconds:.2g} s more"
    return CircuitOpenError(told, provider=name, retry_after=seconds)


class _Admission:
    """One request that was let through; the first verdict counts."""

    def __init__(
        self, name: str, breaker: Breaker | None, admitted: Admitted | None, clock: Callable[[], float]
    ) -> None:
        self._name, self._breaker, self._admitted, self._clock = name, breaker, admitted, clock
        self.judged = breaker is None

    def judge(self, verdict: Verdict) -> None:
        if self.judged or self._breaker is None or self._admitted is None:
            return
        self.judged = True
        before = self._breaker.state
        self._breaker.judge(self._admitted, verdict, self._clock())
        after = self._breaker.state
        if after is not before:
            log = logger.warning if after is State.OPEN else logger.info
            log(f"breaker.{after}", profile=self._name, before=str(before))


class _Watched:
    """A sink whose first part of an answer is a verdict."""

    def __init__(self, sink: Sink, admission: _Admission) -> None:
        self._sink = sink
        self._admission = admission
        self.room = sink.room

    def take(self, parts: list[Part]) -> bool:
        if not self._admission.judged and any(isinstance(part, _ANSWERS) for part in parts):
            self._admission.judge(Verdict.ANSWERED)
        return self._sink.take(parts)


def verdict_on(error: PalaverError, request: GenerationRequest) -> Verdict:
    """What a failed request says about the provider.

    Retryable errors are its failures, with three exceptions: a rate limit is kept by a provider that is well,
    at a closed gate it was not asked, and a job that brought its own timeouts may have been too impatient.
    Any other error with a status is an answer.
    """
    impatient = isinstance(error, TimeoutError) and request.timeouts is not None
    if isinstance(error, RateLimitError | CircuitOpenError) or impatient:
        return Verdict.NOTHING
    if error.retryable:
        return Verdict.FAILED
    return Verdict.NOTHING if error.status_code is None else Verdict.ANSWERED
