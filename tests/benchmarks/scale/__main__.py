"""How many workers and Redis servers carry so many streams.

    python -m tests.benchmarks.scale measure             real runs; what each step costs here, into costs.json
    python -m tests.benchmarks.scale compare             real runs at 1, 2 and 4 workers beside the model
    python -m tests.benchmarks.scale plan [--rate 20]    the table of sizes; needs only costs.json

`measure` and `compare` want an otherwise idle machine, and take two minutes each.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from tests.benchmarks.machine import idle
from tests.benchmarks.provider import TICK
from tests.benchmarks.scale.fit import costs_of
from tests.benchmarks.scale.model import Costs, Outcome, Scene, simulate
from tests.benchmarks.scale.observe import Observed, cores, observe

COSTS: Final = Path(__file__).with_name("costs.json")
MEASURED: Final = ((100, 5), (300, 10), (1000, 10), (1000, 20), (100, 0))
"""Streams and their rate, with one worker: chunks that travel alone, in company, merged."""
COMPARED: Final = ((1, 600, 10), (2, 600, 10), (4, 600, 10), (1, 1000, 20), (2, 1000, 20), (4, 1000, 20))
BOUND: Final = 0.10
QUIET: Final = 0.95
FULL: Final = 0.7  # of a core: what a process is filled to, so that there is room for a burst
STEP: Final = 250
SIZES: Final = (100, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=("measure", "compare", "plan"))
    parser.add_argument("--rate", type=float, default=20, help="chunks a second of a stream")
    options = parser.parse_args(words)
    if options.what == "measure":
        return measure()
    kept = json.loads(COSTS.read_text(encoding="utf-8"))
    costs = Costs(**kept["seconds"])
    print("costs of", ", ".join(f"{name} {value}" for name, value in kept["measured"].items()))
    return compare(costs) if options.what == "compare" else plan(costs, options.rate)


def measure() -> int:
    """Run, fit, keep."""
    share, runs = warned(), []
    for streams, rate in MEASURED:
        runs.append(observe(streams, rate, 1))
        print(_line(runs[-1]), flush=True)
    costs = costs_of(runs)
    kept = {
        "measured": _circumstances(share),
        "seconds": asdict(costs),
        "runs": [asdict(run) for run in runs],
    }
    COSTS.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print({name: f"{value * 1e6:.1f} us" for name, value in asdict(costs).items()})
    return 0


def compare(costs: Costs) -> int:
    """Model beside run; 1 if a cost differs by more than a tenth."""
    warned()
    worst = 0.0
    print(
        "workers  streams x rate    worker us/chunk          Redis us/chunk         streams/batch     carried"
    )
    for workers, streams, rate in COMPARED:
        run = observe(streams, rate, workers)
        scene = Scene(
            streams=streams, rate=rate, workers=workers, cores=cores(), with_provider=True, tick=TICK
        )
        told = simulate(scene, replace(costs, provider=run.provider / run.chunks))
        pairs = [
            (told.worker_cpu * 1e6, run.worker / run.chunks * 1e6),
            (told.redis_cpu * 1e6, run.redis / run.chunks * 1e6),
        ]
        errors = [model / real - 1 for model, real in pairs]
        worst = max(worst, *map(abs, errors))
        shown = "".join(
            f"{model:8.1f} {real:7.1f} {error:+6.0%}"
            for (model, real), error in zip(pairs, errors, strict=True)
        )
        batches = f"{told.streams_a_batch:8.1f} {run.appends / run.batches:7.1f}"
        carried = f"{told.carried / told.offered:7.0%}"
        print(f"{workers:7}  {streams:6} x {rate:<6} {shown}   {batches}   {carried}", flush=True)
    print(f"worst of the costs: {worst:.0%} (bound {BOUND:.0%})")
    return int(worst > BOUND)


def plan(costs: Costs, rate: float) -> int:
    """What carries how many streams, with a core for every process; and where one Redis is full."""
    most = most_streams(costs, rate)
    print(f"{rate:g} chunks a second of each stream; each process filled to {FULL:.0%} of a core at most")
    print(f"one Redis carries {most} streams; beyond, several systems share the sessions\n")
    print("| streams | Redis servers | workers | busiest worker | busiest Redis | lag p50, p99 |")
    print("|---|---|---|---|---|---|")
    for streams in SIZES:
        servers = math.ceil(streams / most)
        workers, told = fewest_workers(costs, math.ceil(streams / servers), rate)
        busy = f"{told.worker_busy:.0%} | {told.redis_busy:.0%}"
        lag = f"{told.median * 1e3:.1f} ms, {told.p99 * 1e3:.1f} ms"
        print(f"| {streams:,} | {servers} | {workers * servers} | {busy} | {lag} |", flush=True)
    return 0


def most_streams(costs: Costs, rate: float) -> int:
    """Of one Redis, to a step."""
    streams = STEP
    while True:
        _, told = fewest_workers(costs, streams + STEP, rate)
        if told.redis_busy > FULL or not told.keeps_up:
            return streams
        streams += STEP


def fewest_workers(costs: Costs, streams: int, rate: float) -> tuple[int, Outcome]:
    """So many that the busiest is filled to `FULL` and has no more than 1,000 streams."""
    workers = math.ceil(streams / 1000)
    while True:
        told = simulate(Scene(streams=streams, rate=rate, workers=workers, seconds=1.0), costs)
        if told.worker_busy <= FULL or told.redis_busy > FULL:
            return workers, told
        workers += 1


def warned() -> float:
    """How idle the machine is; said, where that is too little for figures that mean something."""
    share = idle()
    if share < QUIET:
        print(f"this machine is only {share:.0%} idle: what follows says little", file=sys.stderr)
    return share


def _circumstances(share: float) -> dict[str, str]:
    system = f"{cores()} cores, {platform.machine()}, Python {platform.python_version()}"
    return {"date": time.strftime("%Y-%m-%d"), "machine": system, "idle before": f"{share:.0%}"}


def _line(run: Observed) -> str:
    parts = f"worker {run.worker / run.chunks * 1e6:.1f}, Redis {run.redis / run.chunks * 1e6:.1f} us a chunk"
    return f"{run.streams} x {run.rate:g}: {parts}, {run.appends / run.batches:.1f} streams a batch"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
