"""The model behind the table of sizes: what must be so whatever things cost."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.benchmarks.scale import __main__ as scale
from tests.benchmarks.scale.__main__ import FULL, fewest_workers, keep, main, most_streams
from tests.benchmarks.scale.compared import beside, pooled, scene_of, worst, worst_by_clock
from tests.benchmarks.scale.fit import costs_of, least_squares
from tests.benchmarks.scale.model import COOLING, Costs, Scene, simulate
from tests.benchmarks.scale.observe import Observed, Rest

COSTS = Costs(
    chunk=20e-6,
    batch=60e-6,
    wake=0.0,
    redis_append=14e-6,
    redis_batch=15e-6,
    redis_wake=0.0,
    provider_chunk=8e-6,
    idle=0.01,
    redis_idle=0.003,
)
WOKEN = replace(COSTS, wake=60e-6, redis_wake=90e-6, provider_wake=45e-6, rouse=8e-6, latency=100e-6)
REST = Rest(
    idle=COSTS.idle,
    redis_idle=COSTS.redis_idle,
    batch=COSTS.batch,
    redis_batch=COSTS.redis_batch,
    rouse=WOKEN.rouse,
)
SCENE = Scene(streams=200, rate=10, workers=1, seconds=1.0)


def test_a_chunk_that_travels_alone_costs_all_its_steps() -> None:
    told = simulate(replace(SCENE, streams=10), COSTS)
    worker, redis = COSTS.chunk + COSTS.batch, COSTS.redis_batch + COSTS.redis_append
    assert told.worker_cpu - COSTS.idle / told.carried == pytest.approx(worker, rel=0.01)
    assert told.redis_cpu - COSTS.redis_idle / told.carried == pytest.approx(redis, rel=0.01)
    assert told.median == pytest.approx(worker + redis, rel=0.05)
    assert told.keeps_up


def test_many_streams_travel_together_and_each_costs_less() -> None:
    few, many = (simulate(replace(SCENE, streams=streams), COSTS) for streams in (100, 1500))
    assert few.streams_a_batch < 1.1 < 1.8 < many.streams_a_batch
    assert many.worker_cpu < 0.8 * few.worker_cpu
    assert many.carried == pytest.approx(15_000, rel=0.02)


def test_the_same_streams_over_more_workers_cost_redis_more() -> None:
    one, four = (simulate(replace(SCENE, streams=800, workers=workers), COSTS) for workers in (1, 4))
    assert four.worker_busy < one.worker_busy / 2
    assert four.redis_cpu > one.redis_cpu


def test_who_has_rested_pays_for_being_woken() -> None:
    """A chunk alone wakes Redis, and its worker for itself and, before all is cold again, for the reply."""
    scene, prompt = replace(SCENE, streams=50, rate=1), replace(WOKEN, latency=0.0)
    told = simulate(scene, prompt)
    trip = prompt.redis_wake + prompt.redis_batch + prompt.redis_append
    assert told.wakes.redis == pytest.approx(told.carried, rel=0.1)
    assert told.wakes.worker == pytest.approx(told.carried * (2 - math.exp(-trip / COOLING)), rel=0.1)
    dearer = told.redis_cpu - simulate(scene, COSTS).redis_cpu
    assert dearer == pytest.approx(prompt.redis_wake + prompt.rouse, rel=0.1)


def test_caches_are_each_workers_own() -> None:
    one, many = (
        simulate(replace(SCENE, streams=400, rate=10, workers=workers), replace(WOKEN, latency=0.0))
        for workers in (1, 400)
    )
    assert one.wakes.worker < one.carried
    assert many.wakes.worker > 1.25 * many.carried
    assert many.wakes.redis == pytest.approx(one.wakes.redis, rel=0.5)


def test_whoever_wakes_a_sleeper_pays_for_it() -> None:
    """The provider its worker, the worker Redis, Redis the worker for the reply; nobody who is awake."""
    scene = replace(SCENE, streams=20, rate=1, tick=1e-3)
    alone, together = (
        simulate(replace(scene, streams=streams), replace(COSTS, rouse=1e-5)) for streams in (20, 2000)
    )
    for roused in (alone.roused.worker, alone.roused.redis, alone.roused.provider):
        assert roused == pytest.approx(alone.carried, rel=0.1)
    assert alone.provider_cpu == pytest.approx(COSTS.provider_chunk + 1e-5, rel=0.05)
    assert together.roused.provider < 0.7 * together.carried


def test_a_busy_machine_has_nobody_to_wake() -> None:
    pause = 10 * COOLING
    rare, frequent = (
        simulate(replace(SCENE, streams=streams, rate=0.1 / pause), WOKEN) for streams in (1, 300)
    )
    assert rare.wakes.redis == pytest.approx(rare.carried, rel=0.1)
    assert frequent.wakes.redis < 0.1 * frequent.carried
    assert frequent.redis_cpu < 0.5 * rare.redis_cpu


def test_what_passes_until_a_sleeper_runs_lets_more_gather() -> None:
    near, far = (simulate(SCENE, replace(WOKEN, latency=latency)) for latency in (0.0, 1e-3))
    assert far.streams_a_batch > 1.5 * near.streams_a_batch
    assert far.median > near.median + 1e-3


def test_a_provider_beside_them_writes_once_a_tick() -> None:
    told = simulate(replace(SCENE, tick=0.01, cores=8), COSTS)
    assert told.carried == pytest.approx(2000, rel=0.02)
    assert told.streams_a_batch > 5
    assert told.provider_cpu == pytest.approx(COSTS.provider_chunk, rel=0.02)
    assert simulate(SCENE, COSTS).provider_cpu == 0.0


def test_a_full_redis_merges_chunks_late_and_says_so() -> None:
    slow = replace(COSTS, redis_append=1e-3)
    told = simulate(replace(SCENE, streams=500, workers=2, seconds=2.0), slow)
    assert told.redis_busy > 0.98
    assert told.streams_a_batch > 100
    assert not told.keeps_up


def test_too_few_cores_are_shared() -> None:
    scene = replace(SCENE, streams=1000, workers=4, tick=1e-3)
    alone, shared = simulate(scene, COSTS), simulate(replace(scene, cores=1), COSTS)
    assert shared.median > alone.median
    used = shared.worker_cpu + shared.redis_cpu + shared.provider_cpu
    assert used * shared.carried - 4 * COSTS.idle - COSTS.redis_idle <= 1.01


def test_a_seed_gives_the_same_run() -> None:
    assert simulate(SCENE, WOKEN) == simulate(SCENE, WOKEN)
    assert simulate(SCENE, WOKEN, seed=2) != simulate(SCENE, WOKEN)


def test_costs_are_found_again_in_what_they_have_come_to() -> None:
    runs = [observed(streams, rate) for streams, rate in ((50, 4), (100, 10), (300, 10), (300, 20))]
    found = asdict(costs_of(runs, REST, cores=2, seconds=0.4))
    for name, value in asdict(WOKEN).items():
        assert found[name] == pytest.approx(value, rel=0.2), name


def observed(streams: int, rate: float, workers: int = 1) -> Observed:
    """As many seconds of such a run as the model takes for true."""
    unused = dict.fromkeys(("chunks", "batches", "appends", "worker", "redis", "provider", "others"), 0)
    blank = Observed(streams=streams, rate=rate, workers=workers, seconds=2.0, **unused)
    told = simulate(scene_of(blank, cores=2, seconds=blank.seconds), WOKEN, seed=2)
    chunks = told.carried * blank.seconds
    return replace(
        blank,
        chunks=round(chunks),
        batches=chunks / told.streams_a_batch,
        appends=chunks,
        worker=told.worker_cpu * chunks,
        redis=told.redis_cpu * chunks,
        provider=told.provider_cpu * chunks,
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
    run = observed(300, 10)
    told = beside(run, WOKEN, cores=2, seconds=0.5).told
    seen = replace(
        run,
        worker=told.worker_cpu * run.chunks,
        redis=told.redis_cpu * run.chunks,
        provider=told.provider_cpu * run.chunks,
    )
    alike = beside(seen, WOKEN, cores=2, seconds=0.5)
    assert worst([alike]) == pytest.approx(0)
    dearer = beside(replace(seen, redis=seen.redis * 1.25), WOKEN, cores=2, seconds=0.5)
    assert [worst([alike, dearer]), worst_by_clock([alike, dearer])] == pytest.approx([0.2, 0.2])
    assert "(-20%)" in dearer.row


def test_a_slow_machine_is_no_error_of_the_model() -> None:
    """The provider does the same whoever reads: where it took longer, all did."""
    run = observed(300, 10)
    told = beside(run, WOKEN, cores=2, seconds=0.5).told
    worker, redis, provider = (
        1.3 * cpu * run.chunks for cpu in (told.worker_cpu, told.redis_cpu, told.provider_cpu)
    )
    slow = beside(replace(run, worker=worker, redis=redis, provider=provider), WOKEN, cores=2, seconds=0.5)
    assert slow.pace == pytest.approx(1.3)
    assert worst([slow]) == pytest.approx(0)
    assert worst_by_clock([slow]) == pytest.approx(0.3 / 1.3)


def test_rounds_of_a_scene_are_taken_together() -> None:
    one, other = observed(50, 4), observed(50, 4, workers=2)
    slower = replace(one, worker=one.worker * 2)
    joined, alone = pooled([one, other, slower])
    assert alone == other
    assert joined.worker / joined.chunks == pytest.approx(1.5 * one.worker / one.chunks)
    assert joined.seconds == 2 * one.seconds


def test_what_is_measured_once_makes_every_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RUNS", "COSTS", "COMPARISON", "TABLE"):
        monkeypatch.setattr(scale, name, tmp_path / name)
    monkeypatch.setattr(scale, "SCENES", ((1, 50, 4), (1, 200, 20), (2, 200, 20)))
    monkeypatch.setattr(scale, "SIZES", (100, 300))
    monkeypatch.setattr(scale, "ROUNDS", 2)
    monkeypatch.setattr(scale, "idle", lambda: 0.99)
    monkeypatch.setattr(scale, "cores", lambda: 2)
    monkeypatch.setattr(scale, "at_rest", lambda: REST)
    monkeypatch.setattr(scale, "observe", observed)
    assert [main([*words]) for words in (("measure",), ("compare",), ("plan", "--rate", "100"))] == [0, 0, 0]
    assert len(json.loads((tmp_path / "RUNS").read_text())["runs"]) == 6
    assert (tmp_path / "COMPARISON").read_text().count("| 200 x 20 |") == 2
    assert "| 300 |" in (tmp_path / "TABLE").read_text()
    kept = json.loads((tmp_path / "COSTS").read_text())
    kept["seconds"]["redis_wake"] *= 2
    (tmp_path / "COSTS").write_text(json.dumps(kept))
    assert main(["compare"]) == 1


def test_nothing_is_said_of_what_was_never_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "COSTS", tmp_path / "costs.json")
    with pytest.raises(SystemExit):
        main(["plan"])


@pytest.mark.parametrize(("before", "after", "others"), [(0.5, 1.0, 0.0), (1.0, 0.5, 0.0), (1.0, 1.0, 0.11)])
def test_a_busy_machine_leaves_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: float, after: float, others: float
) -> None:
    file = tmp_path / "runs.json"
    file.write_text("as it was")
    monkeypatch.setattr(scale, "idle", lambda: after)
    assert keep(file, before, {"runs": []}, others=others) == 2
    assert file.read_text() == "as it was"
    monkeypatch.setattr(scale, "idle", lambda: 1.0)
    assert keep(file, 0.99, {"runs": []}, others=0.04) == 0
    measured = json.loads(file.read_text())["measured"]
    assert (measured["idle before"], measured["others meanwhile"]) == ("99%", "4%")
