"""`palaver check`: is palaver.toml right, and does each of its providers answer?"""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, Final

from palaver.producer.cli.terminal import columns, one_line, write, write_json
from palaver.producer.cli.worker import require_worker

# Started, never imported, as the worker itself: only it knows the dialects.
CHECK: Final = (sys.executable, "-m", "palaver.workers.check")


def run(profiles: Sequence[str], *, as_json: bool) -> int:
    """Show what was found; 0 when every provider answered and has the models that the configuration names."""
    require_worker()
    checked = subprocess.run([*CHECK, *profiles], stdout=subprocess.PIPE, check=False)  # noqa: S603
    results = [json.loads(line) for line in checked.stdout.splitlines()]
    if as_json:
        write_json(results)
    elif results:
        rows = [("PROFILE", "PROVIDER", ""), *map(_row, results)]
        write(columns(rows, indent=""))
    return checked.returncode


def _row(result: dict[str, Any]) -> tuple[str, str, str]:
    """A line of the table; the configuration's words may hold anything."""
    return one_line(result["name"]), one_line(result["url"] or result["kind"]), one_line(_told(result), 300)


def _told(result: dict[str, Any]) -> str:
    if problem := result["problem"]:
        return str(problem)
    models = "" if result["models"] is None else f", {result['models']} models"
    return f"answered in {result['latency_ms']:g} ms{models}"
