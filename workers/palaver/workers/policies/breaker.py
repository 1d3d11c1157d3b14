"""Whether a profile's provider is asked at all: a circuit breaker. Pure, the time is given in.

Closed, every request is let through. After so many failures in succession, or when too large a part of a
window's requests failed, it opens: for a pause no request is let through. Then it is half open: one request
finds out, the others still wait. When that one is answered the breaker closes; when it fails, the pause
begins anew and is twice as long.

A request has one verdict, which falls when the provider begins to answer or fails to. What becomes of an
answer that has begun is `resume`'s worry: one broken proxy that cuts two hundred streams says little about
the next request, and a probe must not be waited for until its answer is whole.

The state is one worker process's: each finds out by itself, and nothing is shared or stored.

`purgatory` and `pybreaker` were looked at. Both read the clock themselves, know no failure rate, count a call
that outlived its breaker's state as one of the new state, and let any number of requests through half open
(purgatory) or hold a lock around the call and know no async generator (pybreaker).
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from palaver.shared import profiles

__all__ = ["LONGEST_PAUSE", "Admitted", "Breaker", "Refused", "State", "Verdict"]

LONGEST_PAUSE: Final = 60.0
"""Seconds up to which a pause is doubled."""

_SLICES: Final = 10  # of a window: what is counted together is forgotten together


class State(StrEnum):
    """Whether requests are let through: all, none, or one."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Verdict(StrEnum):
    """What a request said about its provider."""

    ANSWERED = "answered"
    FAILED = "failed"
    NOTHING = "nothing"  # it was cancelled, or failed for a reason of its own


@dataclass(frozen=True, slots=True)
class Admitted:
    """The request may be made; its verdict is told with this."""

    era: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The request is not made; another one makes sense after so many seconds."""

    seconds: float


@dataclass(slots=True)
class _Slice:
    """A part of the window."""

    begins: float
    requests: int = 0
    failures: int = 0


class Breaker:
    """One profile's breaker. Times are seconds of any clock that never goes back."""

    def __init__(self, options: profiles.Breaker) -> None:
        self.options = options
        self.state = State.CLOSED
        self._era = 0  # counts changes of state: a verdict on a request of an earlier one is no news
        self._in_succession = 0
        self._window: deque[_Slice] = deque()
        self._opened = 0  # times in succession
        self._until = 0.0  # when open: the end of the pause
        self._probing = False

    def refusal(self, now: float) -> Refused | None:
        """Whether a request would be refused now; to ask that changes nothing."""
        if self.state is State.OPEN and now < self._until:
            return Refused(self._until - now)
        if self.state is State.HALF_OPEN and self._probing:
            return Refused(self.options.pause / 2)  # nobody knows how long the probe will take
        return None

    def admit(self, now: float) -> Admitted | Refused:
        """Decide about a request that is about to be made; each that is admitted gets a verdict, once."""
        refused = self.refusal(now)
        if refused is not None:
            return refused
        if self.state is State.OPEN:
            self._change(State.HALF_OPEN)
        self._probing = self.state is State.HALF_OPEN
        return Admitted(self._era)

    def judge(self, admitted: Admitted, verdict: Verdict, now: float) -> None:
        """Take the verdict on a request."""
        if admitted.era != self._era:
            return
        if self.state is State.HALF_OPEN:
            self._probing = False
        if verdict is Verdict.NOTHING:
            return
        if self.state is State.HALF_OPEN:
            self._end_probe(verdict, now)
        else:
            self._count(verdict, now)

    def _end_probe(self, verdict: Verdict, now: float) -> None:
        if verdict is Verdict.FAILED:
            self._open(now)
        else:
            self._opened = 0
            self._change(State.CLOSED)

    def _count(self, verdict: Verdict, now: float) -> None:
        failed = verdict is Verdict.FAILED
        self._in_succession = self._in_succession + 1 if failed else 0
        part = self._slice(now)
        part.requests += 1
        part.failures += failed
        if failed and (self._in_succession >= self.options.failures or self._too_many()):
            self._open(now)

    def _too_many(self) -> bool:
        requests = sum(part.requests for part in self._window)
        failures = sum(part.failures for part in self._window)
        return requests >= self.options.requests and failures >= self.options.rate * requests

    def _slice(self, now: float) -> _Slice:
        """The part of the window that `now` is in; those that have left the window are dropped."""
        window, seconds = self._window, self.options.window
        while window and window[0].begins <= now - seconds:
            window.popleft()
        if not window or window[-1].begins <= now - seconds / _SLICES:
            window.append(_Slice(now))
        return window[-1]

    def _open(self, now: float) -> None:
        pause = self.options.pause
        longest = max(LONGEST_PAUSE, pause)
        self._until = now + min(longest, pause * 2.0 ** min(self._opened, 32))
        self._opened += 1
        self._change(State.OPEN)

    def _change(self, state: State) -> None:
        self.state = state
        self._era += 1
        self._in_succession, self._probing = 0, False
        self._window.clear()
