"""Costs of single steps, from runs in which they occur in different proportions: least squares. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tests.benchmarks.scale.compared import beside
from tests.benchmarks.scale.model import Costs
from tests.benchmarks.scale.observe import Observed

LONGEST: Final = 4e-3
PRECISION: Final = 20e-6
"""Seconds of latency."""


def costs_of(runs: Sequence[Observed]) -> Costs:
    """What a chunk, a batch and an append cost, so that all runs are explained as well as can be."""
    idle = sum(run.idle for run in runs) / len(runs)
    chunk, batch, append = least_squares(
        [[run.chunks, run.batches, run.appends] for run in runs],
        [run.worker - idle * run.seconds * run.workers for run in runs],
    )
    redis_batch, redis_append = least_squares(
        [[run.batches, run.appends] for run in runs], [run.redis for run in runs]
    )
    busiest = max(runs, key=lambda run: run.chunks / run.seconds)
    return Costs(
        chunk=chunk,
        batch=batch,
        append=append,
        redis_batch=redis_batch,
        redis_append=redis_append,
        provider=busiest.provider / busiest.chunks,
        idle=idle,
    )


def with_latency(costs: Costs, runs: Sequence[Observed], *, cores: int, seconds: float = 1.0) -> Costs:
    """The costs, and the latency with which as many streams gather for a batch as in these runs: bisection,
    each guess being simulated for so many seconds. 0 if even without any as many do.
    """
    paced = [run for run in runs if run.rate]

    def excess(latency: float) -> float:
        tried = replace(costs, latency=latency)
        told = [beside(run, tried, cores=cores, seconds=seconds).told.streams_a_batch for run in paced]
        return sum(math.log(each * run.batches / run.appends) for each, run in zip(told, paced, strict=True))

    low, high = 0.0, LONGEST
    if excess(low) >= 0:
        return costs
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return replace(costs, latency=high)


def least_squares(rows: Sequence[Sequence[float]], sums: Sequence[float]) -> list[float]:
    """The factors, none below 0, with which each row gives about its sum; a row's error counts relatively."""
    weighted = [[value / total for value in row] for row, total in zip(rows, sums, strict=True)]
    used = list(range(len(rows[0])))
    while used:
        matrix = [[sum(row[i] * row[j] for row in weighted) for j in used] for i in used]
        factors = _solved(matrix, [sum(row[i] for row in weighted) for i in used])
        if min(factors) >= 0:
            break
        del used[factors.index(min(factors))]  # what costs less than nothing costs nothing
    found = dict(zip(used, factors, strict=True)) if used else {}
    return [found.get(place, 0.0) for place in range(len(rows[0]))]


def _solved(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Gauss, with the largest pivot of each column."""
    size = len(right)
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda place: abs(rows[place][column]))
        rows[column], rows[pivot] = rows[pivot], rows[column]
        for place in range(size):
            if place != column:
                factor = rows[place][column] / rows[column][column]
                rows[place] = [a - factor * b for a, b in zip(rows[place], rows[column], strict=True)]
    return [rows[place][size] / rows[place][place] for place in range(size)]
