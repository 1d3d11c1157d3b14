"""Costs of single steps, from runs in which they occur in different proportions. Pure.

How many chunks, batches and appends there were is counted in a run; how often a process began with cold
caches, or woke another, is not, so it is simulated, with costs that are then found again by least squares,
until they stay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tests.benchmarks.scale.compared import scene_of
from tests.benchmarks.scale.model import Costs, Outcome, simulate
from tests.benchmarks.scale.observe import Observed, Rest

GUESS: Final = 50e-6
"""Seconds of every wake, and of the latency, to begin with."""
ROUNDS: Final = 12
"""After eight nothing moves by more than a hundredth."""
FIRMNESS: Final = 2.0  # how far the latency follows what gathers for a batch, which depends on it but weakly
LATENCIES: Final = (1e-6, 4e-3)


def costs_of(runs: Sequence[Observed], rest: Rest, *, cores: int, seconds: float = 1.0) -> Costs:
    """The costs, and the latency, with which all runs are explained as well as can be. What is known from
    elsewhere is taken from there; each guess is simulated for so many seconds.
    """
    costs = Costs(
        chunk=0.0,
        batch=rest.batch,
        wake=GUESS,
        redis_append=0.0,
        redis_batch=rest.redis_batch,
        redis_wake=GUESS,
        provider_wake=GUESS,
        rouse=rest.rouse,
        idle=rest.idle,
        redis_idle=rest.redis_idle,
        latency=GUESS,
    )
    for _ in range(ROUNDS):
        told = [simulate(scene_of(run, cores=cores, seconds=seconds), costs) for run in runs]
        costs = _nearer(costs, runs, told)
    return costs


def _nearer(costs: Costs, runs: Sequence[Observed], told: Sequence[Outcome]) -> Costs:
    """What the steps cost if each run had as many wakes as were told."""
    pairs = list(zip(runs, told, strict=True))
    chunk, wake = least_squares(
        [[run.chunks, out.wakes.worker * run.seconds] for run, out in pairs],
        [
            run.worker
            - (costs.idle * run.workers + costs.rouse * out.roused.worker) * run.seconds
            - costs.batch * run.batches
            for run, out in pairs
        ],
    )
    redis_append, redis_wake = least_squares(
        [[run.appends, out.wakes.redis * run.seconds] for run, out in pairs],
        [
            run.redis
            - (costs.redis_idle + costs.rouse * out.roused.redis) * run.seconds
            - costs.redis_batch * run.batches
            for run, out in pairs
        ],
    )
    provider_chunk, provider_wake = least_squares(
        [[run.chunks, out.wakes.provider * run.seconds] for run, out in pairs],
        [run.provider - costs.rouse * out.roused.provider * run.seconds for run, out in pairs],
    )
    excess = sum(math.log(out.streams_a_batch * run.batches / run.appends) for run, out in pairs)
    latency = costs.latency * math.exp(-FIRMNESS * excess / len(runs))
    return replace(
        costs,
        chunk=chunk,
        wake=wake,
        redis_append=redis_append,
        redis_wake=redis_wake,
        provider_chunk=provider_chunk,
        provider_wake=provider_wake,
        latency=min(max(latency, LATENCIES[0]), LATENCIES[1]),
    )


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
