"""The tables of a page of results: targets with what was measured, and all figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from tests.benchmarks.results import Results

BELOW: Final = "<!-- what stands below this line is kept by `make bench` -->\n"
"""What bounds a target, and profiles before and after a change, are written by hand."""


@dataclass(frozen=True)
class Target:
    """One line of the table: `bound` is a ceiling, or with `least` the smallest figure that is enough."""

    what: str
    bound: float
    value: float | None
    spread: str = ""
    unit: str = ""
    least: bool = False

    @property
    def met(self) -> bool:
        assert self.value is not None
        return self.value >= self.bound if self.least else self.value <= self.bound

    def row(self) -> str:
        sign = "≥" if self.least else "≤"
        value = f"{number(self.value)} {self.unit}".strip()
        wanted = f"{sign} {number(self.bound)} {self.unit}".strip()
        return f"| {self.what} | {wanted} | {value}{self.spread} | {'yes' if self.met else '**no**'} |"


def of_rounds(
    what: str, bound: float, values: Sequence[float], unit: str = "", *, least: bool = False
) -> Target:
    """The median of what each round has measured, with the smallest and the largest."""
    spread = f" ({number(min(values))}-{number(max(values))})" if len(values) > 1 else " (one run)"
    return Target(what, bound, median(values) if values else None, spread, unit, least)


def measured(targets: Iterable[Target]) -> Iterator[Target]:
    """The lines whose figures were measured."""
    return (target for target in targets if target.value is not None)


def all_targets(targets: Iterable[Target]) -> str:
    """The table of the targets."""
    head = "| what | target | measured | met |\n|---|---|---|---|\n"
    return head + "\n".join(target.row() for target in targets)


def side_by_side(
    results: Results, contenders: Iterable[str], columns: Sequence[tuple[str, str, str, str]]
) -> str:
    """A row for each contender; a column is its title, scenario, figure and unit."""
    titles = [f"{name}, {unit}" if unit else name for name, *_, unit in columns]
    lines = ["| | " + " | ".join(titles) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for who in contenders:
        cells = [number(results.median(scenario, who, figure)) for _, scenario, figure, _ in columns]
        if any(cells):
            lines.append(f"| {who} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def everything(results: Results) -> str:
    """Each scenario's medians, the smallest and the largest run."""
    lines = ["| scenario | who | figure | median | smallest | largest | runs |", "|---" * 7 + "|"]
    for scenario, contenders in results.runs.items():
        for who, runs in contenders.items():
            for figure in dict.fromkeys(name for run in runs.values() for name in run):
                values = results.values(scenario, who, figure)
                told = [number(value) for value in (median(values), min(values), max(values))]
                lines.append(f"| {scenario} | {who} | {figure} | {' | '.join(told)} | {len(values)} |")
    return "\n".join(lines)


def surroundings(results: Results) -> str:
    """On what it was measured, and how quiet that was."""
    quiet = ", ".join(f"{share:.0%}" for share in results.idle)
    lines = [f"- {name}: {value}" for name, value in results.machine.items()]
    return "\n".join([*lines, f"- idle before each round: {quiet}"])


def write(page: str, path: Path) -> None:
    """Write the page; what was written by hand below it stays."""
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(page + BELOW + old.partition(BELOW)[2], encoding="utf-8")


def number(value: float | None) -> str:
    """With the digits that matter."""
    if value is None:
        return ""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
