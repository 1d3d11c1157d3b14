"""The model behind the table of sizes: what must be so whatever things cost."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks.scale import __main__ as scale
from tests.benchmarks.scale.__main__ import COSTS as KEPT_COSTS
from tests.benchmarks.scale.__main__ import FULL, RUNS, fewest_workers, keep, most_streams
from tests.benchmarks.scale.compared import BOUND, beside, worst
from tests.benchmarks.scale.fit import costs_of, least_squares, with_latency
from tests.benchmarks.scale.model import Costs, Scene, simulate
from tests.benchmarks.scale.observe import Observed

COSTS = Costs(
    chunk=10e-6, batch=60e-6, append=10e-6, redis_batch=15e-6, redis_append=14e-6, provider=10e-6, idle=0.01
)
SCENE = Scene(streams=200, rate=10, workers=1, seconds=1.0)


def test_a_chunk_that_travels_alone_costs_all_its_steps() -> None:
    told = simulate(replace(SCENE, streams=10), COSTS)
    alone = COSTS.chunk + COSTS.batch + COSTS.append
    assert told.worker_cpu - COSTS.idle / told.carried == pytest.approx(alone, rel=0.01)
    assert told.redis_cpu == pytest.approx(COSTS.redis_batch + COSTS.redis_append, rel=0.01)
    assert told.median == pytest.approx(
        told.worker_cpu - COSTS.idle / told.carried + told.redis_cpu, rel=0.05
    )
    assert told.keeps_up


def test_many_streams_travel_together_and_each_costs_less() -> None:
    few, many = (simulate(replace(SCENE, streams=streams), COSTS) for streams in (100, 1500))
    assert few.streams_a_batch < 1.5 < 2 < many.streams_a_batch
    assert many.worker_cpu < 0.8 * few.worker_cpu
    assert many.carried == pytest.approx(15_000, rel=0.02)


def test_the_same_streams_over_more_workers_cost_redis_more() -> None:
    one, four = (simulate(replace(SCENE, streams=1500, workers=workers), COSTS) for workers in (1, 4))
    assert four.worker_busy < one.worker_busy / 2
    assert four.redis_cpu > one.redis_cpu


def test_a_full_redis_merges_chunks_late_and_says_so() -> None:
    slow = replace(COSTS, redis_append=1e-3)
    told = simulate(replace(SCENE, streams=500, workers=2, seconds=2.0), slow)
    assert told.redis_busy > 0.98
    assert told.streams_a_batch > 100
    assert not told.keeps_up


def test_too_few_cores_are_shared() -> None:
    alone = simulate(replace(SCENE, streams=1000, workers=4, with_provider=True), COSTS)
    shared = simulate(replace(SCENE, streams=1000, workers=4, with_provider=True, cores=1), COSTS)
    assert shared.median > alone.median
    used = (shared.worker_cpu + shared.redis_cpu + COSTS.provider) * shared.carried - 4 * COSTS.idle
    assert used <= 1.01


def test_a_seed_gives_the_same_run() -> None:
    assert simulate(SCENE, COSTS) == simulate(SCENE, COSTS)
    assert simulate(SCENE, COSTS, seed=2) != simulate(SCENE, COSTS)


def test_costs_are_found_again_in_what_they_have_come_to() -> None:
    dear = replace(COSTS, redis_append=1e-4)  # full at ten thousand a second: chunks are merged
    runs = [observed(streams, rate, dear) for streams, rate in ((50, 4), (300, 10), (600, 30), (700, 40))]
    found = costs_of(runs)
    for name in ("chunk", "batch", "append", "redis_batch", "redis_append"):
        assert getattr(found, name) == pytest.approx(getattr(dear, name), rel=0.1), name


def test_the_time_on_the_way_is_found_again_in_how_many_gather() -> None:
    run = observed(200, 10, COSTS)
    far = beside(run, replace(COSTS, latency=4e-4), cores=2, seconds=0.5).told
    alike = replace(run, appends=far.streams_a_batch * run.batches)
    assert with_latency(COSTS, [alike], cores=2, seconds=0.5).latency == pytest.approx(4e-4, rel=0.1)
    alone = replace(run, appends=run.batches)
    assert with_latency(COSTS, [alone], cores=2, seconds=0.5) == COSTS


def observed(streams: int, rate: float, costs: Costs) -> Observed:
    told = simulate(Scene(streams=streams, rate=rate, workers=1, seconds=1.0), costs)
    chunks = told.carried
    appends = (told.redis_cpu * chunks) / (costs.redis_append + costs.redis_batch / told.streams_a_batch)
    return Observed(
        streams=streams,
        rate=rate,
        workers=1,
        seconds=1.0,
        chunks=round(chunks),
        batches=appends / told.streams_a_batch,
        appends=appends,
        worker=told.worker_cpu * chunks,
        busiest=told.worker_cpu * chunks,
        redis=told.redis_cpu * chunks,
        provider=COSTS.provider * chunks,
        idle=COSTS.idle,
    )


def test_nothing_costs_less_than_nothing() -> None:
    assert least_squares([[1, 1], [2, 1], [3, 1]], [3.0, 5.0, 7.0]) == pytest.approx([2.0, 1.0])
    assert least_squares([[1, 1], [2, 1], [3, 1]], [1.0, 3.0, 5.0])[1] == 0.0


def test_the_plan_fills_nobody_beyond_its_bound() -> None:
    dear = replace(COSTS, redis_batch=15e-5, redis_append=14e-5)
    workers, told = fewest_workers(dear, 300, 10)
    assert (workers, told.worker_busy <= FULL) == (1, True)
    most = most_streams(dear, 10)
    assert (
        simulate(Scene(streams=most, rate=10, workers=workers, seconds=1.0), dear).redis_busy <= FULL + 0.02
    )


def test_a_run_is_beside_what_the_model_says_of_it() -> None:
    run = observed(300, 10, COSTS)
    told = beside(run, COSTS, cores=64, seconds=0.5).told
    seen = replace(run, worker=told.worker_cpu * run.chunks, redis=told.redis_cpu * run.chunks)
    alike = beside(seen, COSTS, cores=64, seconds=0.5)
    assert worst([alike]) == pytest.approx(0)
    dearer = beside(replace(seen, redis=seen.redis * 1.25), COSTS, cores=64, seconds=0.5)
    assert worst([alike, dearer]) == pytest.approx(0.2)
    assert "(-20%)" in dearer.row


def test_kept_runs_are_within_a_tenth_of_the_model() -> None:
    """On whatever machine they were made; nothing is run here. Where none are kept nothing is held."""
    if not RUNS.exists():
        return
    costs, runs = (json.loads(path.read_text(encoding="utf-8")) for path in (KEPT_COSTS, RUNS))
    for kept in (costs, runs):
        assert min(_share(kept["measured"][f"idle {when}"]) for when in ("before", "after")) >= scale.QUIET
    pairs = [
        beside(Observed(**run), Costs(**costs["seconds"]), cores=runs["measured"]["cores"], seconds=0.5)
        for run in runs["runs"]
    ]
    assert {pair.run.workers for pair in pairs} == {1, 2, 4}
    assert worst(pairs) <= BOUND, "".join(pair.row for pair in pairs)


def _share(percent: str) -> float:
    return float(percent.rstrip("%")) / 100


@pytest.mark.parametrize(("before", "after"), [(0.5, 1.0), (1.0, 0.5)])
def test_a_busy_machine_leaves_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: float, after: float
) -> None:
    file = tmp_path / "costs.json"
    file.write_text("as it was")
    monkeypatch.setattr(scale, "idle", lambda: after)
    assert keep(file, before, {"seconds": {}}) == 2
    assert file.read_text() == "as it was"
    monkeypatch.setattr(scale, "idle", lambda: 1.0)
    assert keep(file, 0.99, {"seconds": {}}) == 0
    assert json.loads(file.read_text())["measured"]["idle before"] == "99%"
