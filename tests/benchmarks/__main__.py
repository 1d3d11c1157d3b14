"""`make bench`: measures everything in alternating rounds and writes RESULTS.md and results.png.

    python -m tests.benchmarks [--quick] [--rounds 5] [--only SCENARIO] [--report]

After the rounds the worker is profiled. `--quick` runs a smaller load once, in about two minutes, and
`--only` the scenarios whose names contain a text; both write their files into `.palaver/bench` instead.
The figures of each run are beside the page, in results.json; `--report` measures nothing and writes the page
and the plot from them.
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


def main() -> int:
    options = rounds.options("python -m tests.benchmarks", __doc__, rounds=5)
    rounds.need(ROOT / ".venv" / ".rivals", "make .venv/.rivals")
    folder = rounds.folder(options, FOLDER)
    kept = folder / "results.json"
    if not options.report:
        _measured(options).save(kept)
    results = rounds.read(kept)
    for target in report.targets(results):
        print(target.row())
    print(report.side_by_side(results))
    tables.write(report.page(results), folder / "RESULTS.md")
    plot = (RIVAL_PYTHON, RIVALS / "plot.py", kept, folder / "results.png")
    subprocess.run(plot, check=True, timeout=120)
    return 0


def _measured(options: argparse.Namespace) -> Results:
    """The figures of all rounds, and where the worker's time went."""
    results = Results()
    results.machine = described()
    rounds.measured(rounds.chosen(plan.rows(quick=options.quick), options), results, options)
    if not options.only:
        results.profiles = list(profiles())
    return results


if __name__ == "__main__":
    sys.exit(main())
