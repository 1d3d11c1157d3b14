"""`make bench`: measures everything in alternating rounds and writes RESULTS.md and results.png.

    python -m tests.benchmarks [--quick] [--rounds 5] [--only SCENARIO] [--report]

After the rounds the worker is profiled. `--quick` runs a smaller load once, in about two minutes, and
`--only` the scenarios whose names contain a text; both write their files into `.palaver/bench` instead.
`--report` measures nothing and writes the files from the last full run.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from tests.benchmarks import plan, report, rounds, tables
from tests.benchmarks.contenders import RIVAL_PYTHON, RIVALS
from tests.benchmarks.machine import described
from tests.benchmarks.profile import profiles
from tests.benchmarks.results import Results
from tests.processes import ROOT

FOLDER = Path(__file__).parent
KEPT = ROOT / ".palaver" / "bench"
RESULTS = "results.json"


def main() -> int:
    options = rounds.options("python -m tests.benchmarks", __doc__, rounds=5)
    whole = not (options.quick or options.only)
    kept = KEPT / (RESULTS if whole else f"partly-{RESULTS}")
    results = Results.read(kept) if options.report else _measured(options, kept)
    for target in report.targets(results):
        print(target.row())
    print(report.side_by_side(results))
    folder = FOLDER if whole else KEPT
    tables.write(report.page(results), folder / "RESULTS.md")
    plot = (RIVAL_PYTHON, RIVALS / "plot.py", kept, folder / "results.png")
    subprocess.run(plot, check=True, timeout=120)
    return 0


def _measured(options: argparse.Namespace, kept: Path) -> Results:
    """The figures of all rounds, and where the worker's time went."""
    rows = [
        row for row in plan.rows(quick=options.quick) if options.only in f"{row.scenario} {row.contender}"
    ]
    results = Results()
    results.machine = described()
    rounds.measured(rows, results, rounds=1 if options.quick else options.rounds, kept=kept)
    if not options.only:
        results.profiles = list(profiles())
        results.save(kept)
    return results


if __name__ == "__main__":
    sys.exit(main())
