"""`make bench-gateway`: what the gateway adds and carries, beside LiteLLM's proxy; writes GATEWAY.md.

    python -m tests.benchmarks.gateway [--quick] [--rounds 3] [--only SCENARIO] [--report]

Eight minutes. `--quick` runs a smaller load once, in about a minute, and `--only` the scenarios whose names
contain a text; both write into `.palaver/bench` instead. `--report` makes the page again from gateway.json.
"""

import argparse
import sys
from pathlib import Path

from tests.benchmarks import rounds, tables
from tests.benchmarks.gateway import plan, report
from tests.benchmarks.gateway.servers import LITELLM_PYTHON
from tests.benchmarks.machine import described
from tests.benchmarks.results import Results
from tests.processes import ROOT

FOLDER = Path(__file__).parents[1]
OURS = ("fastapi", "starlette", "uvicorn", "httptools", "uvloop", "redis", "hiredis", "orjson")
THEIRS = ("litellm", "fastapi", "uvicorn", "uvloop", "openai", "httpx", "aiohttp")


def main() -> int:
    options = rounds.options("python -m tests.benchmarks.gateway", __doc__, rounds=3)
    rounds.need(ROOT / ".venv" / ".litellm", "make .venv/.litellm")
    folder = rounds.folder(options, FOLDER)
    kept = folder / "gateway.json"
    if not options.report:
        _measured(options).save(kept)
    results = rounds.read(kept)
    print(tables.all_targets(report.targets(results)))
    print(report.side_by_side(results))
    tables.write(report.page(results), folder / "GATEWAY.md")
    missing = [row for row in _rows(options) if not results.runs.get(row.scenario, {}).get(row.contender)]
    for row in missing:
        print(f"never measured: {row.scenario}, {row.contender}", file=sys.stderr)
    return 1 if missing else 0


def _rows(options: argparse.Namespace) -> list[rounds.Row]:
    return rounds.chosen(plan.rows(quick=options.quick), options)


def _measured(options: argparse.Namespace) -> Results:
    results = Results()
    results.machine = described(ours=OURS, python=LITELLM_PYTHON, theirs=THEIRS)
    rounds.measured(_rows(options), results, options)
    return results


if __name__ == "__main__":
    sys.exit(main())
