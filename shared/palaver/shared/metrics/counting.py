"""Counts that cost a dictionary's entry; a page of them is made when somebody asks.

One thread counts and any may read: a reader copies, and is at most one count behind.
"""

from bisect import bisect_left
from typing import Final, NamedTuple

from palaver.shared import profiles
from palaver.shared.metrics.catalogue import Metric

__all__ = ["OTHER", "SEALED", "Histogram", "Names", "ProfileNames", "Sample", "Spread", "Tally"]

OTHER: Final = "other"
SEALED: Final = "sealed"


class Spread(NamedTuple):
    """A histogram at one moment: how many values each bucket has, the last is above all; and their sum."""

    counts: tuple[int, ...]
    total: float


class Sample(NamedTuple):
    """One value of a metric, with the values of its labels."""

    labels: tuple[str, ...]
    value: float | Spread


class Names:
    """Keeps a label small: the first `most` values stand for themselves, any other is `other`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, name: str) -> str:
        """The name, or `other`."""
        known = self._known
        if name not in known:
            if len(known) >= self._most:
                return OTHER
            known.add(name)
        return name


class ProfileNames(Names):
    """Those of profiles: all that are sealed, one for each customer's key, are `sealed` together."""

    def of(self, name: str) -> str:
        """The name, `sealed` or `other`."""
        return SEALED if name.startswith(profiles.SEALED) else super().of(name)


class Tally:
    """A counter: sums by the values of its labels."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._sums: dict[tuple[str, ...], float] = {}

    def add(self, *labels: str, by: float = 1) -> None:
        """Count one more, or so much more."""
        self._sums[labels] = self._sums.get(labels, 0) + by

    def samples(self) -> list[Sample]:
        """What was counted; a counter without labels begins at 0."""
        sums = self._sums if self._sums or self.metric.labels else {(): 0}
        return [Sample(labels, value) for labels, value in list(sums.items())]


class Histogram:
    """A histogram: by the values of its labels, how many values were up to each bound."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._rows: dict[tuple[str, ...], _Row] = {}

    def observe(self, value: float, *labels: str) -> None:
        """Count one more value."""
        row = self._rows.get(labels)
        if row is None:
            row = self._rows[labels] = _Row(len(self.metric.buckets) + 1)
        row.counts[bisect_left(self.metric.buckets, value)] += 1
        row.total += value

    def samples(self) -> list[Sample]:
        """What was counted; a histogram without labels begins empty."""
        rows = list(self._rows.items())
        if not rows and not self.metric.labels:
            rows = [((), _Row(len(self.metric.buckets) + 1))]
        return [Sample(labels, Spread(tuple(row.counts), row.total)) for labels, row in rows]


class _Row:
    __slots__ = ("counts", "total")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.total = 0.0
