"""The few of many names that have a label of their own: those with most, and no others for as long as that is
about so. A watcher keeps a name for weeks; one that is drawn by chance at one look must not get one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["Largest"]

FRESH: Final = 0.1
"""What one look counts for, against all before it."""
MUCH_MORE: Final = 3.0
MORE: Final = 1.0
"""Who takes another's place has so many times as much, and more by that: of a few, most is chance."""
FORGOTTEN: Final = 0.05


class Largest:
    """At most `most` names. Counts may be those of a random draw: they are averaged over looks."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._averages: dict[str, float] = {}
        self.names: set[str] = set()

    def look(self, counts: Mapping[str, int]) -> set[str]:
        """The names after one more look at how much each has. Once all places are taken, one of them at most
        is another than before.
        """
        averages = self._averages
        for name in averages.keys() | counts.keys():
            averages[name] = averages.get(name, 0.0) + FRESH * (counts.get(name, 0) - averages.get(name, 0.0))
        others = sorted(averages.keys() - self.names, key=lambda name: (-averages[name], name))
        free = self._most - len(self.names)
        self.names.update(others[:free])
        self._replace(others[free:])
        self._averages = {
            name: average for name, average in averages.items() if average > FORGOTTEN or name in self.names
        }
        return self.names

    def _replace(self, others: list[str]) -> None:
        if not others or not self.names:
            return
        smallest = min(self.names, key=lambda name: (self._averages[name], name))
        if self._averages[others[0]] > MUCH_MORE * self._averages[smallest] + MORE:
            self.names.remove(smallest)
            self.names.add(others[0])
