"""What is kept of the scale model is what it says now, of what was measured."""

import json

from tests.benchmarks.scale.__main__ import (
    COMPARISON,
    FULL,
    ROUNDS,
    RUNS,
    SCENES,
    SIZES,
    TABLE,
    fewest_workers,
    kept_costs,
    kept_runs,
)
from tests.benchmarks.scale.compared import BOUND, beside


def test_all_scenes_were_measured() -> None:
    kept = [(run["workers"], run["streams"], run["rate"]) for run in json.loads(RUNS.read_text())["runs"]]
    assert kept == [*SCENES] * ROUNDS


def test_runs_are_within_the_bound_and_as_told() -> None:
    """Whoever changes the model runs `fit`, `compare` and `plan` again."""
    measured, _, runs = kept_runs()
    told, _, rest = COMPARISON.read_text().partition(f"(bound {BOUND:.0%})")
    assert int(told.rsplit(maxsplit=1)[1].removesuffix("%")) <= 100 * BOUND
    few = min(runs, key=lambda run: run.chunks)
    assert beside(few, kept_costs()[1], cores=measured["cores"]).row in rest
    assert rest.count("\n| ") == 1 + len(SCENES)


def test_the_table_is_of_these_costs() -> None:
    table = TABLE.read_text()
    workers, told = fewest_workers(kept_costs()[1], SIZES[1], 20)
    busy = f"{told.worker_busy:.0%} | {told.redis_busy:.0%}"
    assert told.worker_busy <= FULL
    assert f"| {SIZES[1]:,} | 1 | {workers} | {busy} |" in table
    assert table.count("\n| ") == 1 + len(SIZES)
