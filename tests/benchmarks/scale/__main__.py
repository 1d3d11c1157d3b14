"""How many workers and Redis servers carry so many streams.

    python -m tests.benchmarks.scale measure             real runs; what each step costs here, into costs.json
    python -m tests.benchmarks.scale compare             real runs at 1, 2, 4 workers, into runs.json, RUNS.md
    python -m tests.benchmarks.scale plan [--rate 20]    the table of sizes; needs only costs.json

`measure` and `compare` take two minutes each, and keep what they find only where little else runs.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.machine import idle
from tests.benchmarks.scale.compared import BOUND, HEAD, beside, worst
from tests.benchmarks.scale.fit import costs_of, with_latency
from tests.benchmarks.scale.model import Costs, Outcome, Scene, simulate
from tests.benchmarks.scale.observe import Observed, cores, observe

HERE: Final = Path(__file__).parent
COSTS: Final = HERE / "costs.json"
RUNS: Final = HERE / "runs.json"
TABLE: Final = HERE / "RUNS.md"
TITLE: Final = "# Real runs beside the model, made by `python -m tests.benchmarks.scale compare`\n"
MEASURED: Final = ((100, 5), (300, 10), (1000, 10), (1000, 20), (100, 0))
"""Streams and their rate, with one worker: chunks that travel alone, in company, merged."""
COMPARED: Final = ((1, 600, 10), (2, 600, 10), (4, 600, 10), (1, 1000, 20), (2, 1000, 20), (4, 1000, 20))
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
    if not COSTS.exists():
        parser.error(
            f"there is no {COSTS.name}: `measure` makes it, on a machine that is at least {QUIET:.0%} idle"
        )
    kept = json.loads(COSTS.read_text(encoding="utf-8"))
    costs = Costs(**kept["seconds"])
    print("costs of", ", ".join(f"{name} {value}" for name, value in kept["measured"].items()))
    return compare(costs) if options.what == "compare" else plan(costs, options.rate)


def measure() -> int:
    """Run, fit, keep; 2 if nothing is kept."""
    before, runs = idle_share(), []
    for streams, rate in MEASURED:
        runs.append(observe(streams, rate, 1))
        print(_line(runs[-1]), flush=True)
    costs = with_latency(costs_of(runs), runs, cores=cores())
    print({name: f"{value * 1e6:.1f} us" for name, value in asdict(costs).items()})
    return keep(COSTS, before, {"seconds": asdict(costs), "runs": [asdict(run) for run in runs]})


def compare(costs: Costs) -> int:
    """Model beside run; 1 if a cost differs by more than a tenth, 2 if nothing is kept."""
    before, pairs = idle_share(), []
    print(HEAD, end="", flush=True)
    for workers, streams, rate in COMPARED:
        pairs.append(beside(observe(streams, rate, workers), costs, cores=cores()))
        print(pairs[-1].row, end="", flush=True)
    print(f"worst of the costs: {worst(pairs):.0%} (bound {BOUND:.0%})")
    unkept = keep(RUNS, before, {"runs": [asdict(pair.run) for pair in pairs]})
    if not unkept:
        circumstances = json.loads(RUNS.read_text(encoding="utf-8"))["measured"]
        about = ", ".join(f"{name} {value}" for name, value in circumstances.items())
        rows = "".join(pair.row for pair in pairs)
        TABLE.write_text(f"{TITLE}\n{about}. Worst: {worst(pairs):.0%}.\n\n{HEAD}{rows}", encoding="utf-8")
    return unkept or int(worst(pairs) > BOUND)


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


def idle_share() -> float:
    """How idle the machine is; said, where that is too little for figures that mean something."""
    share = idle()
    if share < QUIET:
        print(f"this machine is only {share:.0%} idle: what follows says little", file=sys.stderr)
    return share


def keep(path: Path, before: float, what: dict[str, Any]) -> int:
    """Write it, with its circumstances, if the machine was quiet before and is so now; else 2."""
    after = idle()
    if min(before, after) < QUIET:
        told = f"the machine was {before:.0%} idle before and is {after:.0%} now, {QUIET:.0%} is needed"
        print(f"{path.name} is left as it was: {told}", file=sys.stderr)
        return 2
    system = f"{platform.machine()}, Python {platform.python_version()}"
    circumstances = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": system,
        "cores": cores(),
        "idle before": f"{before:.0%}",
        "idle after": f"{after:.0%}",
    }
    path.write_text(json.dumps({"measured": circumstances, **what}, indent=1) + "\n", encoding="utf-8")
    print(f"kept in {path.name}")
    return 0


def _line(run: Observed) -> str:
    parts = f"worker {run.worker / run.chunks * 1e6:.1f}, Redis {run.redis / run.chunks * 1e6:.1f} us a chunk"
    return f"{run.streams} x {run.rate:g}: {parts}, {run.appends / run.batches:.1f} streams a batch"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
