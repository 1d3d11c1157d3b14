"""Holds the requests of all workers to the limits of their profiles: a policy, and the places that this
process has at the gates. The gates themselves are the ledger's.

A request that has no place waits a moment. If that would not do, its job is parked: it keeps its place in the
line, and is sent by whoever has a place for it.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any, Final

from palaver.shared.errors import RateLimitError
from palaver.shared.ids import new_token
from palaver.shared.ledger import Dispatch, HandedOut, Keys, Operation, Visited, operations
from palaver.shared.ledger.subscriptions import Subscriptions
from palaver.shared.profiles import Profile
from palaver.shared.responses import Usage
from palaver.workers.event_log import event_logger
from palaver.workers.link import Link
from palaver.workers.metrics import Counts
from palaver.workers.policies import Ask, tokens_of
from palaver.workers.providers import Asker, GenerationRequest, Part, Provider, Sink, UsagePart
from palaver.workers.stop import Park

__all__ = ["Gates"]

logger = event_logger("palaver.workers.gates")

MOMENT_SECONDS: Final = 1.0
"""Waited for in the worker; who is to wait longer waits in the ledger, and holds no slot."""
LOST_SECONDS: Final = (30.0, 300.0)
"""A parked job of which nobody has heard comes again after a time between these."""
LINGER_SECONDS: Final = 60.0
"""So long after it was closed the gate of a profile without limits is still asked: some may wait there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Visit:
    """One request's, at its profile's gate."""

    profile: Profile
    asker: Asker
    token: str
    prompt_tokens: int
    answer_tokens: int | None

    @classmethod
    def of(cls, profile: Profile, request: GenerationRequest, asker: Asker) -> _Visit:
        prompt, answer = 0, None
        if profile.limits.tokens_per_minute is not None:
            prompt = tokens_of(request.messages, request.tools or ())
            most = request.params.max_tokens
            answer = most and most * (request.params.n or 1)
        return cls(
            profile=profile,
            asker=asker,
            token=new_token(),
            prompt_tokens=prompt,
            answer_tokens=answer,
        )

    @property
    def place(self) -> tuple[str, str]:
        """Of a job that may be parked one: its next run goes on with it. Others may make several requests."""
        asker = self.asker
        return asker.session_id, asker.job_id if asker.may_park else f"{asker.job_id}.{self.token}"


class Gates:
    """See the module; a `Policy`, the one next to the provider. A place that is held ends `lease` seconds
    after it was renewed last.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys,
        subscriptions: Subscriptions,
        *,
        lease: float,
        counts: Counts,
        paused: Container[str] = frozenset(),
    ) -> None:
        self._link = link
        self._counts = counts
        self._keys = keys
        self._subscriptions = subscriptions
        self._lease = lease
        self._paused = paused  # profiles that an operator has paused: all are asked in turn, and have to wait
        self._held: defaultdict[str, dict[tuple[str, str], str]] = defaultdict(dict)
        self._closed: dict[str, float] = {}  # profiles that were closed lately, until a monotonic time
        self.send: Callable[[Sequence[Dispatch]], object] = len
        """Has the messages of jobs that were given a place sent. What nobody sends is found again."""

    async def __call__(self, ask: Ask, provider: Provider, request: GenerationRequest, sink: Sink) -> None:
        """See `Policy`. Raises Park for a job that is to wait for longer than a moment."""
        profile, asker = provider.profile, request.asker
        try:
            if asker is None or (profile.limits.none and not self._is_guarded(profile.name)):
                await ask(provider, request, sink)
            else:
                await self._ask_in_turn(ask, provider, request, asker, sink)
        except RateLimitError as error:
            if error.retry_after:
                self._close(profile.name, error.retry_after)
            raise

    def renewals(self) -> list[Operation[Any]]:
        """What renews the places that are held, to be sent with the leases of their jobs."""
        return [
            operations.keep_places(self._keys, profile, held, lease=self._lease)
            for profile, held in self._held.items()
            if held
        ]

    def heed(self, profile: str, seconds: float) -> None:
        """The profile was closed, by any worker."""
        until = time.monotonic() + seconds + LINGER_SECONDS
        self._closed[profile] = max(until, self._closed.get(profile, until))

    def resumed(self, profile: str) -> None:
        """The profile's pause is over: who waits for it goes on."""
        self.heed(profile, 0)
        self._link.post(operations.pump_gate(self._keys, profile), self._handed_out)

    def ended(self, profile: str, session_id: str, job_id: str) -> None:
        """A job for which there is a place has ended while it waited: the place is the next one's."""
        pumping = operations.pump_gate(self._keys, profile, ended=(session_id, job_id))
        self._link.post(pumping, self._handed_out)

    async def _ask_in_turn(
        self, ask: Ask, provider: Provider, request: GenerationRequest, asker: Asker, sink: Sink
    ) -> None:
        visit = _Visit.of(provider.profile, request, asker)
        held, counting = self._held[visit.profile.name], _Counting(sink)
        came = time.monotonic()
        try:
            await self._enter(visit)
            self._counts.passed_gate(visit.profile.name, time.monotonic() - came)
            held[visit.place] = visit.token
            await ask(provider, request, counting if provider.profile.limits.tokens_per_minute else sink)
        except AtGate:
            self._counts.parked_at_gate(visit.profile.name)
            raise  # it stays in the line
        except BaseException:
            self._leave(visit, None)
            raise
        else:
            self._leave(visit, counting.usage)
        finally:
            held.pop(visit.place, None)

    async def _enter(self, visit: _Visit) -> None:
        """Return with a place, or raise `AtGate`."""
        visited = await self.visit(visit)
        if visited.has_place:
            return
        gives_up = time.monotonic() + MOMENT_SECONDS
        self._park_for_long(visit, visited, gives_up)
        channel = self._keys.gate_channel(visit.profile.name, *visit.place)
        async with self._subscriptions.listen(channel) as inbox:
            while not visited.has_place:
                self._park_for_long(visit, visited, gives_up)
                await inbox.receive(min(max(visited.prospect.seconds, 0.05), MOMENT_SECONDS))
                visited = await self.visit(visit)

    def _park_for_long(self, visit: _Visit, visited: Visited, gives_up: float) -> None:
        seconds = visited.prospect.seconds
        if visit.asker.may_park and time.monotonic() + seconds >= gives_up:
            shortest, longest = LOST_SECONDS
            raise AtGate(self, visit, min(max(shortest, 2 * seconds), longest))

    async def visit(self, visit: _Visit, *, parked: bool = False) -> Visited:
        """Ask how it stands with a request. A `parked` one has nobody who could take its place now."""
        entering = operations.enter_gate(
            self._keys,
            visit.profile.name,
            visit.place,
            token=visit.token,
            tenant=visit.asker.tenant,
            limits=visit.profile.limits,
            lease=self._lease,
            parked=parked,
            prompt_tokens=visit.prompt_tokens,
            answer_tokens=visit.answer_tokens,
        )
        visited = await self._link.run(entering)
        self._send(visited.dispatches)
        return visited

    def _leave(self, visit: _Visit, usage: Usage | None) -> None:
        asked, answered = (usage.input_tokens, usage.output_tokens) if usage is not None else (None, None)
        leaving = operations.leave_gate(
            self._keys,
            visit.profile.name,
            visit.place,
            token=visit.token,
            tokens=None if asked is None or answered is None else asked + answered,
            answer_tokens=answered,
        )
        self._link.post(leaving, self._handed_out)

    def _handed_out(self, handed: HandedOut) -> None:
        self._send(handed.dispatches)

    def _send(self, dispatches: Sequence[Dispatch]) -> None:
        if dispatches:
            self.send(dispatches)

    def _close(self, profile: str, seconds: float) -> None:
        logger.warning("gate.closed", profile=profile, seconds=seconds)
        self.heed(profile, seconds)
        self._link.post(operations.close_gate(self._keys, profile, seconds))

    def _is_guarded(self, profile: str) -> bool:
        """Whether a profile without limits is asked in turn all the same."""
        until = self._closed.get(profile)
        if until is not None and until <= time.monotonic():
            del self._closed[profile]
        return profile in self._closed or profile in self._paused


class AtGate(Park):
    """The job waits at the gate, parked."""

    def __init__(self, gates: Gates, visit: _Visit, seconds: float) -> None:
        super().__init__(seconds, gate=visit.profile.name)
        self._gates = gates
        self._visit = visit

    async def parked(self) -> bool:
        """See `Park.parked`: from now on who has a place for the job sends its message."""
        return (await self._gates.visit(self._visit, parked=True)).has_place


class _Counting:
    """A sink that sees how many tokens were used."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.usage: Usage | None = None
        self.room = sink.room

    def take(self, parts: list[Part]) -> bool:
        """See `Sink.take`."""
        for part in parts:
            if type(part) is UsagePart:
                self.usage = part.usage
        return self._sink.take(parts)
