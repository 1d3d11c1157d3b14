"""Real runs beside what the model says of them: how far apart they are, and the table of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from tests.benchmarks.provider import TICK
from tests.benchmarks.scale.model import Costs, Outcome, Scene, simulate
from tests.benchmarks.scale.observe import Observed

BOUND: Final = 0.10
"""Model and run may differ by so much, in CPU of a worker's chunk and of Redis's."""
HEAD: Final = (
    "| workers | streams x rate | worker, us a chunk: model, run | Redis, us a chunk: model, run "
    "| streams a batch: model, run |\n|---|---|---|---|---|\n"
)


@dataclass(frozen=True)
class Pair:
    """A run, and the model's word on it."""

    run: Observed
    told: Outcome

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
        """How far the model is off, as a share of what was seen."""
        return [told / seen - 1 for told, seen in self.costs]

    @property
    def row(self) -> str:
        """Of the table."""
        shown = [
            f"{told * 1e6:.1f}, {seen * 1e6:.1f} ({error:+.0%})"
            for (told, seen), error in zip(self.costs, self.errors, strict=True)
        ]
        batches = f"{self.told.streams_a_batch:.1f}, {self.run.appends / self.run.batches:.1f}"
        load = f"{self.run.streams} x {self.run.rate:g}"
        return f"| {self.run.workers} | {load} | {shown[0]} | {shown[1]} | {batches} |\n"


def beside(run: Observed, costs: Costs, *, cores: int, seconds: float = 3.0) -> Pair:
    """Simulate what was run, on so many cores that all processes shared."""
    scene = Scene(
        streams=run.streams,
        rate=run.rate,
        workers=run.workers,
        cores=cores,
        with_provider=True,
        tick=TICK,
        seconds=seconds,
    )
    return Pair(run, simulate(scene, replace(costs, provider=run.provider / run.chunks)))


def worst(pairs: Sequence[Pair]) -> float:
    """The largest error of all, without its sign."""
    return max(abs(error) for pair in pairs for error in pair.errors)
