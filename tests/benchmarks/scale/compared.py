"""Real runs beside what the model says of them: how far apart they are, and the table of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tests.benchmarks.provider import TICK
from tests.benchmarks.scale.model import Costs, Outcome, Scene, simulate
from tests.benchmarks.scale.observe import Observed

BOUND: Final = 0.10
"""Model and run may differ by so much, in CPU of a worker's chunk and of Redis's."""
HEAD: Final = (
    "| workers | streams x rate | pace | worker, us a chunk: model, run | Redis, us a chunk: model, run "
    "| streams a batch: model, run |\n|---|---|---|---|---|---|\n"
)


@dataclass(frozen=True)
class Pair:
    """A run, and the model's word on it."""

    run: Observed
    told: Outcome

    @property
    def pace(self) -> float:
        """What a chunk took the provider, which does the same whoever reads, by what it was to take: above 1
        the machine was slow meanwhile.
        """
        return self.run.provider / self.run.chunks / self.told.provider_cpu

    @property
    def costs(self) -> list[tuple[float, float]]:
        """Seconds of CPU of a chunk, as told and as seen: of all workers, of Redis."""
        chunks = self.run.chunks
        return [
            (self.told.worker_cpu, self.run.worker / chunks),
            (self.told.redis_cpu, self.run.redis / chunks),
        ]

    @property
    def errors(self) -> list[float]:
        """How far the model is off, as a share of what was seen, at the pace of the machine."""
        return [told * self.pace / seen - 1 for told, seen in self.costs]

    @property
    def errors_by_clock(self) -> list[float]:
        """The same whatever the pace."""
        return [told / seen - 1 for told, seen in self.costs]

    @property
    def row(self) -> str:
        """Of the table."""
        shown = [
            f"{told * self.pace * 1e6:.1f}, {seen * 1e6:.1f} ({error:+.0%})"
            for (told, seen), error in zip(self.costs, self.errors, strict=True)
        ]
        batches = f"{self.told.streams_a_batch:.1f}, {self.run.appends / self.run.batches:.1f}"
        load = f"{self.run.streams} x {self.run.rate:g}"
        return f"| {self.run.workers} | {load} | {self.pace:.2f} | {' | '.join(shown)} | {batches} |\n"


def scene_of(run: Observed, *, cores: int, seconds: float) -> Scene:
    """What was run, on so many cores that all processes shared."""
    return Scene(
        streams=run.streams, rate=run.rate, workers=run.workers, cores=cores, tick=TICK, seconds=seconds
    )


def beside(run: Observed, costs: Costs, *, cores: int, seconds: float = 3.0) -> Pair:
    """Simulate what was run."""
    return Pair(run, simulate(scene_of(run, cores=cores, seconds=seconds), costs))


def pooled(runs: Iterable[Observed]) -> list[Observed]:
    """One run of each scene, as if all of it had been run at a time, in the order of their first."""
    found: dict[tuple[int, float, int], Observed] = {}
    for run in runs:
        scene = (run.streams, run.rate, run.workers)
        found[scene] = _joined(found[scene], run) if scene in found else run
    return list(found.values())


def worst(pairs: Sequence[Pair]) -> float:
    """The largest error of all, without its sign."""
    return max(abs(error) for pair in pairs for error in pair.errors)


def worst_by_clock(pairs: Sequence[Pair]) -> float:
    """The same whatever the pace of the machine."""
    return max(abs(error) for pair in pairs for error in pair.errors_by_clock)


def _joined(one: Observed, other: Observed) -> Observed:
    return replace(
        one,
        seconds=one.seconds + other.seconds,
        chunks=one.chunks + other.chunks,
        batches=one.batches + other.batches,
        appends=one.appends + other.appends,
        worker=one.worker + other.worker,
        redis=one.redis + other.redis,
        provider=one.provider + other.provider,
        others=one.others + other.others,
    )
