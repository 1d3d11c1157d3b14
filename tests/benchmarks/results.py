"""Figures of all runs, by scenario and contender, and the medians and ratios that are told of them."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

Figures = dict[str, float]


class Results:
    """`runs[scenario][contender]` is a list of figures, one for each round."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, list[Figures]]] = {}
        self.machine: dict[str, str] = {}
        self.idle: list[float] = []  # share of the machine that nobody used, before each round
        self.profiles: list[str] = []  # where the worker's time went, as tables

    def add(self, scenario: str, contender: str, figures: Figures) -> None:
        self.runs.setdefault(scenario, {}).setdefault(contender, []).append(figures)

    def values(self, scenario: str, contender: str, figure: str) -> list[float]:
        """The figure in each run; empty if it was not measured."""
        return [run[figure] for run in self.runs.get(scenario, {}).get(contender, []) if figure in run]

    def median(self, scenario: str, contender: str, figure: str) -> float | None:
        values = self.values(scenario, contender, figure)
        return median(values) if values else None

    def ratio(self, figure: str, above: tuple[str, str], below: tuple[str, str]) -> float | None:
        """The median of the ratios of each round, for two (scenario, contender)."""
        pairs = zip(self.values(*above, figure), self.values(*below, figure), strict=False)
        ratios = [over / under for over, under in pairs if under]
        return median(ratios) if ratios else None

    def differences(self, figure: str, larger: tuple[str, str], smaller: tuple[str, str]) -> list[float]:
        """By how much the figure differs in each round, for two (scenario, contender)."""
        pairs = zip(self.values(*larger, figure), self.values(*smaller, figure), strict=False)
        return [more - less for more, less in pairs]

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        document = vars(self)
        path.write_text(json.dumps(document, indent=1), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Results:
        results = cls()
        document = json.loads(path.read_text(encoding="utf-8"))
        vars(results).update(document)
        return results
