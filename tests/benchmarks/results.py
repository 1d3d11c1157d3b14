"""Figures of all runs, by scenario, contender and round, and the medians and ratios that are told of them."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

Figures = dict[str, float]
ByRound = dict[int, float]
"""One figure in each round that measured it."""


class Results:
    """`runs[scenario][contender][round]`; a run that was left out is not there, and moves no other."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, dict[int, Figures]]] = {}
        self.machine: dict[str, str] = {}
        self.idle: list[float] = []  # share of the machine that nobody used, before each round
        self.profiles: list[str] = []  # where the worker's time went, as tables

    def add(self, scenario: str, contender: str, round_: int, figures: Figures) -> None:
        self.runs.setdefault(scenario, {}).setdefault(contender, {})[round_] = figures

    def by_round(self, scenario: str, contender: str, figure: str) -> ByRound:
        """The figure in each round; empty if it was not measured."""
        runs = self.runs.get(scenario, {}).get(contender, {})
        return {round_: run[figure] for round_, run in runs.items() if figure in run}

    def values(self, scenario: str, contender: str, figure: str) -> list[float]:
        """The figure in each run; empty if it was not measured."""
        return list(self.by_round(scenario, contender, figure).values())

    def median(self, scenario: str, contender: str, figure: str) -> float | None:
        values = self.values(scenario, contender, figure)
        return median(values) if values else None

    def ratio(self, figure: str, above: tuple[str, str], below: tuple[str, str]) -> float | None:
        """The median of the ratios of each round, for two (scenario, contender)."""
        found = ratios(self.by_round(*above, figure), self.by_round(*below, figure))
        return median(found.values()) if found else None

    def save(self, path: Path) -> None:
        """As JSON, a line for each contender of a scenario."""
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(vars(self), ensure_ascii=False, separators=(",", ":"))
        path.write_text(text.replace("}},", "}},\n") + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Results:
        results = cls()
        document = json.loads(path.read_text(encoding="utf-8"))
        vars(results).update(document)
        for contenders in results.runs.values():
            for who, runs in contenders.items():
                contenders[who] = {int(round_): figures for round_, figures in runs.items()}
        return results


def ratios(above: ByRound, below: ByRound) -> ByRound:
    """Of each round that has both."""
    return {round_: over / below[round_] for round_, over in above.items() if below.get(round_)}


def differences(larger: ByRound, smaller: ByRound) -> ByRound:
    """By how much they differ in each round that has both."""
    return {round_: more - smaller[round_] for round_, more in larger.items() if round_ in smaller}
