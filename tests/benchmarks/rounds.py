"""Rows of measurements in alternating rounds, by whichever command."""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.machine import idle
from tests.benchmarks.results import Figures, Results
from tests.benchmarks.stage import Stuck
from tests.processes import ROOT, ProcessEnded

OPEN_FILES = 20_000
KEPT = ROOT / ".palaver" / "bench"


@dataclass(frozen=True)
class Row:
    """One measurement: of what, of whom, and how."""

    scenario: str
    contender: str
    run: Callable[[], Figures]
    once: bool = False  # in the first round alone: it takes minutes


def options(program: str, description: str | None, *, rounds: int) -> argparse.Namespace:
    """What a command was asked for: quick, rounds, only, report."""
    parser = argparse.ArgumentParser(
        prog=program, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--only", default="")
    parser.add_argument("--report", action="store_true")
    return parser.parse_args()


def need(path: Path, made_by: str) -> None:
    """End with a sentence where something is not there that a command makes."""
    if not path.exists():
        raise SystemExit(f"{path.relative_to(ROOT)} is not there; first: {made_by}")


def folder(asked: argparse.Namespace, whole: Path) -> Path:
    """Where the page goes: what is smaller than the whole does not overwrite it."""
    return KEPT if asked.quick or asked.only else whole


def chosen(rows: Sequence[Row], asked: argparse.Namespace) -> list[Row]:
    """Those that were asked for by `--only`."""
    return [row for row in rows if asked.only in f"{row.scenario} {row.contender}"]


def read(kept: Path) -> Results:
    """What was measured, now or before."""
    need(kept, "the same without --report")
    return Results.read(kept)


def measured(rows: Sequence[Row], results: Results, asked: argparse.Namespace) -> None:
    """Measure all rows in each round; kept after each, so that a run that is broken off loses one only."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, OPEN_FILES)), hard))
    for round_ in range(1 if asked.quick else asked.rounds):
        results.idle.append(idle())
        due = [row for row in rows if not (row.once and round_)]
        if round_ % 2:  # nobody always comes first
            due.reverse()
        for place, row in enumerate(due):
            told = f"round {round_ + 1}, {place + 1}/{len(due)}: {row.scenario}, {row.contender} …"
            print(told, end=" ", flush=True)
            began = time.monotonic()
            try:
                figures = row.run()
            except (ProcessEnded, Stuck) as failure:
                print(f"left out: {failure}", flush=True)
                continue
            results.add(row.scenario, row.contender, round_, figures)
            told = ", ".join(f"{name} {value:,.1f}" for name, value in figures.items())
            print(f"{time.monotonic() - began:.0f} s: {told}", flush=True)
            results.save(KEPT / "unfinished.json")
