"""What the ledger answers about batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from palaver.shared.batches import BatchStatus
from palaver.shared.spending import Spent

BatchStop: TypeAlias = Literal["", "cancel", "fail_fast", "expired"]
"""Why no line of a batch is asked any more; empty: they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedBatch:
    """The batch is stored. `cursor` is the seq before its first event."""

    batch_id: str
    cursor: int
    status: BatchStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedLines:
    """Lines of a batch for a driver: their indexes, and how many drivers in succession have died with each.

    `state`: `more` lines are left that nobody has, ask again; `none` is left; all are `over`, and no result
    will come any more.
    """

    stop: BatchStop
    state: Literal["more", "none", "over"]
    lines: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LineResult:
    """What a driver has of a line: the stored form of its result, and what it adds to the batch's sums.
    `error` is an ErrorInfo as JSON, empty for an answer; `cost` in US dollars, None: it is not known.
    """

    index: int
    line: bytes = field(repr=False)
    error: bytes = field(default=b"", repr=False)
    tokens: int = 0
    cost: float | None = 0.0
    spent: Sequence[Spent] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedResults:
    """The results are in the ledger; so many, of so many bytes, wait there to be stored in a part."""

    stop: BatchStop
    waiting: int
    waiting_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Results to be stored in a part; `flushed` results were stored before them. `over`: no more will
    come.
    """

    flushed: int
    over: bool
    results: Sequence[bytes] = field(repr=False)

    @property
    def first(self) -> int:
        """The number of the first of them, counted from 1."""
        return self.flushed + 1

    @property
    def last(self) -> int:
        """The number of the last of them."""
        return self.flushed + len(self.results)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPage:
    """What follows a result in order of completion: the `part` (first and last) that holds the next one, or
    `lines`, in their stored form, of those that are in no part yet. Neither: there is none so far.
    """

    status: BatchStatus
    results: int
    flushed: int
    part: tuple[int, int] | None
    lines: Sequence[bytes] = field(repr=False)
