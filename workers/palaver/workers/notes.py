"""What must not be forgotten of a run when its worker dies: the ledger keeps it for the next one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from palaver.shared.errors import PalaverError
from palaver.shared.ledger import Claimed, Keys, operations
from palaver.workers.link import Link
from palaver.workers.stop import asked_to_end

__all__ = ["LedgerNotes", "NoNotes", "Notes"]


class Notes(Protocol):
    """Where a run is noted. What cannot be noted raises the ledger's verdict."""

    async def entry(
        self, number: int, content: bytes, events: Sequence[bytes], spent: bytes
    ) -> PalaverError | None:
        """The journal's entry of this number is finished; readers are told `events` of it. The reason, if the
        run was told to end meanwhile.
        """
        ...

    async def failures(self, count: int, tries: bytes, spent: bytes) -> None:
        """So many retries are spent; `tries` is the place in the list of models."""


class LedgerNotes:
    """Those of a job, under its claim."""

    def __init__(self, link: Link, keys: Keys, claimed: Claimed, *, log_entries: int) -> None:
        self._link = link
        self._keys = keys
        self._job = (claimed.session_id, claimed.job_id)
        self._fence = claimed.fence
        self._log_entries = log_entries

    async def entry(
        self, number: int, content: bytes, events: Sequence[bytes], spent: bytes
    ) -> PalaverError | None:
        """See `Notes.entry`."""
        operation = operations.save_entry(
            self._keys,
            *self._job,
            fence=self._fence,
            number=number,
            content=content,
            events=events,
            spent=spent,
            log_entries=self._log_entries,
        )
        stored = await self._link.run(operation)
        return asked_to_end(stored.cancelled, self._job[1]) if stored.cancelled else None

    async def failures(self, count: int, tries: bytes, spent: bytes) -> None:
        """See `Notes.failures`."""
        await self._link.run(
            operations.note_failures(
                self._keys, *self._job, fence=self._fence, failures=count, tries=tries, spent=spent
            )
        )


class NoNotes:
    """Of a run that begins anew when its worker dies."""

    async def entry(
        self, number: int, content: bytes, events: Sequence[bytes], spent: bytes
    ) -> PalaverError | None:
        """See `Notes.entry`."""
        return None

    async def failures(self, count: int, tries: bytes, spent: bytes) -> None:
        """See `Notes.failures`."""
