"""What a gateway tells Prometheus: its requests, and how many it tells something now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from palaver.shared.metrics import Family, Histogram, Sample, Tally, catalogue

UNROUTED: Final = "unrouted"
"""Instead of a route: of what was refused before one had it."""
COUNTED: Final = "palaver.counted"
"""In a request's scope, once it is."""


class Counts:
    """Of one process."""

    def __init__(self) -> None:
        self._requests = Tally(catalogue.HTTP_REQUESTS)
        self._seconds = Histogram(catalogue.HTTP_SECONDS)
        self._unwatched = 0

    def add(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.add(route, str(status))
        self._seconds.observe(seconds, route)

    def add_unwatched(self) -> None:
        """Count that streams were not looked at."""
        self._unwatched += 1

    def families(self, *, streams: int, feeds: int) -> Iterator[Family]:
        """All metrics; how many streams are told and sessions followed is known elsewhere."""
        yield self._requests.metric, self._requests.samples()
        yield self._seconds.metric, self._seconds.samples()
        yield catalogue.HTTP_UNWATCHED, [Sample((), self._unwatched)]
        yield catalogue.HTTP_STREAMS, [Sample((), streams)]
        yield catalogue.HTTP_FEEDS, [Sample((), feeds)]
