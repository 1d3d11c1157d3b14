"""Many jobs in two lanes: the commands of one are made while Redis carries out those of the other.

A session's jobs are all in one lane, and keep their order.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

from palaver.shared.jobs import ChatJob

__all__ = ["CHUNK", "Lanes"]

LANES: Final = 2
CHUNK: Final = 500
"""Jobs that are stored in one round trip."""

H = TypeVar("H")


class Lanes(Generic[H]):
    """The handles of many jobs, as they come in. Whoever drives a lane stores each of its `chunks`, `within`,
    and `take`s what that gives; after a failure in any lane no lane has another chunk.
    """

    def __init__(self, jobs: Sequence[ChatJob]) -> None:
        from palaver.shared.ledger.operations.submitting import session_of

        self._jobs = jobs
        self._handles: dict[int, H] = {}
        self._failed = False
        self.lanes: list[list[int]] = [[] for _ in range(LANES if len(jobs) > CHUNK else 1)]
        for place, job in enumerate(jobs):
            self.lanes[zlib.crc32(session_of(job).encode()) % len(self.lanes)].append(place)

    def chunks(self, lane: Sequence[int]) -> Iterator[tuple[Sequence[int], list[ChatJob]]]:
        """The places and jobs of one lane, so many at a time."""
        for start in range(0, len(lane), CHUNK):
            if self._failed:
                return
            places = lane[start : start + CHUNK]
            yield places, [self._jobs[place] for place in places]

    @contextmanager
    def within(self) -> Iterator[None]:
        """The block that drives a lane: a failure there is one of all lanes."""
        try:
            yield
        except BaseException:  # a cancelled caller wants no more of them either
            self._failed = True
            raise

    def take(self, places: Sequence[int], handles: Sequence[H]) -> None:
        """What storing a chunk has given."""
        self._handles.update(zip(places, handles, strict=True))

    @property
    def handles(self) -> list[H]:
        """Those of all jobs, in their order."""
        return [self._handles[place] for place in range(len(self._jobs))]
