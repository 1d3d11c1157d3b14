"""Many jobs in two lanes: the commands of one are made while Redis carries out those of the other.

A session's jobs are all in one lane, and keep their order. A job that the ledger refuses holds up no other:
what is stored does not hang on how far a lane has come.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

from palaver.shared.errors import PalaverError
from palaver.shared.jobs import ChatJob

__all__ = ["CHUNK", "Bulk"]

LANES: Final = 2
CHUNK: Final = 500
"""Jobs that are stored in one round trip."""

H = TypeVar("H")


class Bulk(Generic[H]):
    """The handles of many jobs, as they come in. Whoever drives a lane stores each of its `chunks`, `within`,
    and `take`s what that gives; after a failure in any lane (the ledger is away) no lane has another chunk.
    """

    def __init__(self, jobs: Sequence[ChatJob]) -> None:
        from palaver.shared.ledger.operations.submitting import session_of

        self._jobs = jobs
        self._handles: dict[int, H] = {}
        self._refused: dict[int, PalaverError] = {}
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

    def take(self, places: Sequence[int], outcomes: Sequence[H | PalaverError]) -> None:
        """What storing a chunk has given."""
        for place, outcome in zip(places, outcomes, strict=True):
            if isinstance(outcome, PalaverError):
                self._refused[place] = outcome
            else:
                self._handles[place] = outcome

    def end(self, failures: Iterable[BaseException | None]) -> list[H]:
        """The handles of all jobs, in their order, once the lanes have ended, each with its failure or None.

        Raises the first failure; if there is none, the refusal of the first job, by its place, that has one.
        """
        error = next((failure for failure in failures if failure is not None), None) or self._refusal()
        if error is None:
            return [self._handles[place] for place in range(len(self._jobs))]
        if isinstance(error, PalaverError):
            error.handles = [self._handles.get(place) for place in range(len(self._jobs))]
        raise error

    def _refusal(self) -> PalaverError | None:
        if not self._refused:
            return None
        first = min(self._refused)
        error, place = self._refused[first], f"jobs[{first}]"
        count = f"{len(self._refused):,} of {len(self._jobs):,} jobs"
        error.args = (f"{place}: {error.message} Refused: {count}; the others are stored.",)
        error.param = f"{place}.{error.param}" if error.param else place
        return error
