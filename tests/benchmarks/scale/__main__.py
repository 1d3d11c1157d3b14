"""How many workers and Redis servers carry so many streams.

    python -m tests.benchmarks.scale measure    real runs at 1, 2 and 4 workers, into runs.json; then `fit`
    python -m tests.benchmarks.scale fit        what each step costs, of the runs with one, into costs.json
    python -m tests.benchmarks.scale compare    all runs beside the model, into RUNS.md; 1: too far apart
    python -m tests.benchmarks.scale plan       the table of sizes, into SIZES.md [--rate 20]

`measure` takes ten minutes, and keeps what it found only where little else runs. The others need only what
is kept, and no quiet.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.machine import hardware, idle
from tests.benchmarks.scale.compared import BOUND, HEAD, beside, pooled, worst, worst_by_clock
from tests.benchmarks.scale.fit import costs_of
from tests.benchmarks.scale.model import Costs, Outcome, Scene, simulate
from tests.benchmarks.scale.observe import Observed, Rest, at_rest, cores, observe

HERE: Final = Path(__file__).parent
RUNS: Final = HERE / "runs.json"
COSTS: Final = HERE / "costs.json"
COMPARISON: Final = HERE / "RUNS.md"
TABLE: Final = HERE / "SIZES.md"
SCENES: Final = (
    (1, 100, 5), (1, 300, 10), (1, 600, 10), (1, 1000, 10), (1, 1000, 20),
    (2, 600, 10), (4, 600, 10), (2, 1000, 20), (4, 1000, 20),
)  # fmt: skip
"""Workers, streams and their rate: chunks that travel alone and in company, on cores that rest or do not."""
ROUNDS: Final = 6
"""A shared machine is a tenth or two faster at one time than at another: each scene is run at six times."""
QUIET: Final = 0.95
OTHERS: Final = 0.10  # of the machine, during any run; /proc counts its parts not quite alike
FULL: Final = 0.7  # of a core: what a process is filled to, so that there is room for a burst
STEP: Final = 250
SIZES: Final = (100, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)


def main(words: list[str]) -> int:
    doing: dict[str, Callable[[], int]] = {"measure": measure, "fit": fit, "compare": compare}
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.scale", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("what", choices=(*doing, "plan"))
    parser.add_argument("--rate", type=float, default=20, help="chunks a second of a stream")
    options = parser.parse_args(words)
    needed = {"fit": [RUNS], "compare": [RUNS, COSTS], "plan": [COSTS]}.get(options.what, [])
    if missing := [path.name for path in needed if not path.exists()]:
        parser.error(
            f"there is no {missing[0]}: `measure` makes it, on a machine that is at least {QUIET:.0%} idle"
        )
    return plan(options.rate) if options.what == "plan" else doing[options.what]()


def measure() -> int:
    """Run and keep, then fit; 2 if nothing is kept."""
    before, rest, runs = idle_share(), at_rest(), []
    print(_line(rest), flush=True)
    for _ in range(ROUNDS):
        for workers, streams, rate in SCENES:
            runs.append(observe(streams, rate, workers))
            print(_run_line(runs[-1]), flush=True)
    others = max(run.others / run.seconds / cores() for run in runs)
    what = {"rest": asdict(rest), "runs": [asdict(run) for run in runs]}
    return keep(RUNS, before, what, others=others) or fit()


def fit() -> int:
    """What each step costs."""
    measured, rest, runs = kept_runs()
    costs = costs_of([run for run in runs if run.workers == 1], rest, cores=measured["cores"])
    COSTS.write_text(_document({"measured": measured, "seconds": asdict(costs)}), encoding="utf-8")
    print(_line(costs))
    print(f"kept in {COSTS.name}")
    return 0


def compare() -> int:
    """Model beside run; 1 if a cost differs by more than the bound."""
    measured, _, runs = kept_runs()
    _, costs = kept_costs()
    pairs = [beside(run, costs, cores=measured["cores"]) for run in runs]
    said = (
        f"Worst of the workers' and Redis's: {worst(pairs):.0%} (bound {BOUND:.0%}). What the model says is\n"
        "times the pace: what a chunk took its provider, who does the same for all, by what it was to take.\n"
        f"Without the pace the worst is {worst_by_clock(pairs):.0%}."
    )
    rows = "".join(pair.row for pair in pairs)
    _write(COMPARISON, "Real runs beside the model", "compare", measured, f"{said}\n\n{HEAD}{rows}")
    return int(worst(pairs) > BOUND)


def plan(rate: float) -> int:
    """What carries how many streams, with a core for every process; and where one Redis is full."""
    measured, costs = kept_costs()
    most = most_streams(costs, rate)
    lines = [
        f"{rate:g} chunks a second of each stream; each process filled to {FULL:.0%} of a core at most.",
        f"One Redis carries {most:,} streams; beyond, several systems share the sessions.\n",
        "| streams | Redis servers | workers | busiest worker | busiest Redis | lag p50, p99 |",
        "|---|---|---|---|---|---|",
    ]
    for streams in SIZES:
        servers = math.ceil(streams / most)
        workers, told = fewest_workers(costs, math.ceil(streams / servers), rate)
        busy = f"{told.worker_busy:.0%} | {told.redis_busy:.0%}"
        lag = f"{told.median * 1e3:.1f} ms, {told.p99 * 1e3:.1f} ms"
        lines.append(f"| {streams:,} | {servers} | {workers * servers} | {busy} | {lag} |")
    _write(TABLE, "What carries how many streams", "plan", measured, "\n".join(lines) + "\n")
    return 0


def kept_runs() -> tuple[dict[str, Any], Rest, list[Observed]]:
    """When and where they were measured; what a worker costs at rest; each scene's runs as one."""
    kept = json.loads(RUNS.read_text(encoding="utf-8"))
    return kept["measured"], Rest(**kept["rest"]), pooled(Observed(**run) for run in kept["runs"])


def kept_costs() -> tuple[dict[str, Any], Costs]:
    """When and where they were measured, and they."""
    kept = json.loads(COSTS.read_text(encoding="utf-8"))
    return kept["measured"], Costs(**kept["seconds"])


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


def keep(path: Path, before: float, what: dict[str, Any], *, others: float) -> int:
    """Write it, with its circumstances, if the machine was quiet before, is so now, and `others` used little
    of it meanwhile; else 2.
    """
    after = idle()
    if min(before, after) < QUIET or others > OTHERS:
        told = f"the machine was {before:.0%} idle before and is {after:.0%} now, {QUIET:.0%} is needed"
        meanwhile = f"others used up to {others:.0%} meanwhile, {OTHERS:.0%} is allowed"
        print(f"{path.name} is left as it was: {told}; {meanwhile}", file=sys.stderr)
        return 2
    circumstances = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": hardware(),
        "python": platform.python_version(),
        "cores": cores(),
        "idle before": f"{before:.0%}",
        "idle after": f"{after:.0%}",
        "others meanwhile": f"{others:.0%}",
    }
    path.write_text(_document({"measured": circumstances, **what}), encoding="utf-8")
    print(f"kept in {path.name}")
    return 0


def _write(path: Path, title: str, command: str, measured: dict[str, Any], text: str) -> None:
    """Print it, and keep it as a page."""
    about = ", ".join(f"{name} {value}" for name, value in measured.items())
    made = (
        f"# {title}\n\nMade by `python -m tests.benchmarks.scale {command}` from what was measured: {about}."
    )
    print(text, end="")
    path.write_text(f"{made}\n\n{text}", encoding="utf-8")
    print(f"kept in {path.name}")


def _document(what: dict[str, Any]) -> str:
    return json.dumps(what, indent=1) + "\n"


def _line(seconds: Rest | Costs) -> str:
    return ", ".join(f"{name} {value * 1e6:.1f} us" for name, value in asdict(seconds).items())


def _run_line(run: Observed) -> str:
    used = {"worker": run.worker, "Redis": run.redis, "provider": run.provider}
    parts = ", ".join(f"{name} {seconds / run.chunks * 1e6:.1f}" for name, seconds in used.items())
    scene = f"{run.workers} x {run.streams} x {run.rate:g}"
    gathered = f"{run.appends / run.batches:.1f} streams a batch"
    return f"{scene}: {parts} us a chunk, {gathered}; others {run.others / run.seconds:.0%} of a core"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
