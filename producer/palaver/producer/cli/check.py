"""`palaver check`: is palaver.toml right, does each of its providers answer, and each of its servers of
tools?
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

from palaver.producer.cli.terminal import columns, one_line, write, write_json
from palaver.producer.cli.worker import require_worker

# Started, never imported, as the worker itself: only it knows the dialects.
CHECK: Final = (sys.executable, "-m", "palaver.workers.check")


def run(names: Sequence[str], *, as_json: bool) -> int:
    """Show what was found; 0 when all answered and have the models and tools that the configuration names."""
    require_worker()
    checked = subprocess.run([*CHECK, *names], stdout=subprocess.PIPE, check=False)  # noqa: S603 - our own interpreter
    results = [json.loads(line) for line in checked.stdout.splitlines()]
    if as_json:
        write_json(results)
    elif results:
        rows = [("NAME", "SERVER", ""), *map(_row, results)]
        write(columns(rows, indent=""))
    return checked.returncode


def _row(result: dict[str, Any]) -> tuple[str, str, str]:
    """A line of the table; the configuration's words may hold anything."""
    return one_line(result["name"]), one_line(result["url"] or result["kind"]), one_line(_told(result), 300)


def _told(result: dict[str, Any]) -> str:
    if problem := result["problem"]:
        return str(problem)
    models = "" if result["models"] is None else f", {result['models']} models"
    tools = "" if result["tools"] is None else f": {', '.join(result['tools']) or 'no tools'}"
    unpriced = f"; no price is known for {', '.join(result['unpriced'])}" if result["unpriced"] else ""
    return f"answered in {result['latency_ms']:g} ms{models}{tools}{unpriced}"
