"""A profile's gate in an empty ledger, and short words for what is done at it."""

import json
from typing import Any

from palaver.shared.ledger import HandedOut, Operation, Visited, operations
from palaver.shared.profiles import Limits
from tests.integration.ledger.world import World

ONE = Limits(concurrent=1)
SHORT = Limits(requests_per_minute=100, window=3)  # five in three seconds
P = "openai"


class Gate:
    """Short words for a gate and those who come to it. A job `a1` is the tenant `a`'s."""

    def __init__(self, world: World, limits: Limits = ONE) -> None:
        self.world, self.limits, self.keys = world, limits, world.keys

    def enter(self, job: str, *, token: str = "", **options: Any) -> Visited:
        return self.world.ledger.run(self.entering(job, token=token, **options))

    def entering(self, job: str, *, token: str = "", **options: Any) -> Operation[Visited]:
        given: dict[str, Any] = {
            "line": operations.Line(name=job[0]),
            "limits": self.limits,
            "lease": 60.0,
        } | options
        return operations.enter_gate(self.keys, P, at(job), token=token or f"{job}-t", **given)

    def has_place(self, *jobs: str) -> list[bool]:
        return [self.enter(job).has_place for job in jobs]

    def park(self, *jobs: str) -> list[bool]:
        return [self.enter(job, parked=True).has_place for job in jobs]

    def leave(self, job: str, *, token: str = "", **options: Any) -> list[str]:
        leaving = operations.leave_gate(self.keys, P, at(job), token=token or f"{job}-t", **options)
        return sent(self.world.ledger.run(leaving))

    def pump(self, ended: str = "") -> list[str]:
        pumping = operations.pump_gate(self.keys, P, ended=at(ended) if ended else None)
        return sent(self.world.ledger.run(pumping))

    def keep(self, job: str, *, token: str = "") -> None:
        """Renew its place."""
        keeping = operations.keep_places(self.keys, P, {at(job): token or f"{job}-t"}, lease=30)
        self.world.ledger.run(keeping)

    def end_holds(self, kind: str, *jobs: str, at_ms: int = 1) -> None:
        """What these jobs hold, or were given, ends then (ms of Redis time): it has ended, unless told."""
        ends = {"/".join(at(job)): at_ms for job in jobs}
        self.world.raw.zadd(f"{self.keys.gate(P)}:{kind}", ends, xx=True)

    def ends(self, job: str) -> float:
        """When its place ends, in ms of Redis time."""
        found: Any = self.world.raw.zscore(f"{self.keys.gate(P)}:places", "/".join(at(job)))
        return float(found)

    def forget(self, job: str, field: str) -> None:
        """A field of what the gate has noted of it."""
        records, entry = f"{self.keys.gate(P)}:records", "/".join(at(job))
        record: Any = json.loads(self.world.raw.hget(records, entry))  # type: ignore[arg-type]
        del record[field]
        self.world.raw.hset(records, entry, json.dumps(record))

    def seen(self) -> int:
        """When the gate was called last, in ms of Redis time."""
        found: Any = self.world.raw.hget(self.keys.gate(P), "seen")
        return int(found)

    def stand_still(self, renewed_first: bool) -> None:
        """A minute nobody was heard; then perhaps the renewal of another worker comes before all else."""
        self.world.raw.hincrby(self.keys.gate(P), "seen", -60_000)
        if renewed_first:
            self.keep("of another worker")


def at(job: str) -> tuple[str, str]:
    return f"s-{job}", job


def sent(handed: HandedOut | Visited) -> list[str]:
    return [dispatch.job_id for dispatch in handed.dispatches]


def tokens(prompt: int, most: int | None = None, *, model: str = "m") -> operations.Size:
    return operations.Size(prompt=prompt, most=most, guess=400, model=model)
