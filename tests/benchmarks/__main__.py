"""`make bench`: measures everything in alternating rounds and writes RESULTS.md and results.png.

    python -m tests.benchmarks [--quick] [--rounds 5] [--only SCENARIO] [--report]

After the rounds the worker is profiled. `--quick` runs a smaller load once, in about two minutes, and
`--only` the scenarios whose names contain a text; both write their files into `.palaver/bench` instead.
`--report` measures nothing and writes the files from the last full run.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

from tests.benchmarks import plan, report
from tests.benchmarks.contenders import RIVAL_PYTHON, RIVALS
from tests.benchmarks.machine import described, idle
from tests.benchmarks.profile import profiles
from tests.benchmarks.results import Results
from tests.benchmarks.stage import Stuck
from tests.processes import ROOT, ProcessEnded

FOLDER = Path(__file__).parent
KEPT = ROOT / ".palaver" / "bench"
RESULTS = "results.json"
OPEN_FILES = 20_000


def main() -> int:
    options = _options()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, OPEN_FILES)), hard))
    whole = not (options.quick or options.only)
    kept = KEPT / (RESULTS if whole else f"partly-{RESULTS}")
    results = Results.read(kept) if options.report else _measured(options, kept)
    for target in report.targets(results):
        print(target.row())
    print(report.side_by_side(results))
    folder = FOLDER if whole else KEPT
    report.write(results, folder / "RESULTS.md")
    plot = (RIVAL_PYTHON, RIVALS / "plot.py", kept, folder / "results.png")
    subprocess.run(plot, check=True, timeout=120)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--report", action="store_true")
    return parser.parse_args()


def _measured(options: argparse.Namespace, kept: Path) -> Results:
    """The figures of all rounds; kept after each, so that a run that is broken off loses one row only."""
    rows = [
        row for row in plan.rows(quick=options.quick) if options.only in f"{row.scenario} {row.contender}"
    ]
    results = Results()
    results.machine = described()
    for round_ in range(1 if options.quick else options.rounds):
        results.idle.append(idle())
        for place, row in enumerate(row for row in rows if not (row.once and round_)):
            print(
                f"round {round_ + 1}, {place + 1}/{len(rows)}: {row.scenario}, {row.contender} …",
                end=" ",
                flush=True,
            )
            began = time.monotonic()
            try:
                figures = row.run()
            except (ProcessEnded, Stuck) as failure:
                print(f"left out: {failure}")
                continue
            results.add(row.scenario, row.contender, figures)
            told = ", ".join(f"{name} {value:,.1f}" for name, value in figures.items())
            print(f"{time.monotonic() - began:.0f} s: {told}", flush=True)
            results.save(kept)
    if not options.only:
        results.profiles = list(profiles())
        results.save(kept)
    return results


if __name__ == "__main__":
    sys.exit(main())
